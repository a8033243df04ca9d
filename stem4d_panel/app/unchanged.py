"""What has not changed is not laid out again: a cost of Bokeh's cut where it lies.

When anything in a page changes its size, Bokeh (3.9) lays out all figures of the page: it takes each toolbar apart and
measures its buttons one by one, and writes each style sheet anew though it is the same (models/tools/toolbar.ts,
core/dom.ts). The browser then works out its styles a hundred times. Here a toolbar of the same buttons and size stays, and
a style sheet is written when it says something else.
"""

from __future__ import annotations

# run once, when Bokeh is there; another Bokeh's parts are left as they are
MEND = """(() => {
  const sheet = window.Bokeh?.require?.('core/dom')?.InlineStyleSheet?.prototype, write = sheet?._update
  if (write && !sheet.stem4d_unchanged) {
    sheet.stem4d_unchanged = true
    sheet._update = function (css) { if (this.el.textContent !== css) write.call(this, css) }
  }
  const toolbar = window.Bokeh?.Models?.get?.('Toolbar')?.prototype.default_view?.prototype, lay = toolbar?._after_render
  if (lay && !toolbar.stem4d_unchanged) {
    toolbar.stem4d_unchanged = true
    toolbar._after_render = function () {
      const laid = this.stem4d_laid
      if (laid != null && laid.items === this._items) {
        this.update_bbox()
        if (this.bbox.width === laid.width && this.bbox.height === laid.height) return
      }
      lay.call(this)
      this.stem4d_laid = {items: this._items, width: this.bbox.width, height: this.bbox.height}
    }
  }
})()"""
