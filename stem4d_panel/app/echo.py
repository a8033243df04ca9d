"""A Material widget keeps what it was told last: a fault of Panel mended where it lies.

Panel's React components send every value that they have drawn back into their model. When a newer one has arrived
meanwhile, the older one undoes it, on the page and often without Python hearing of it: a badge then says "running" for
ever. And what arrives between its first drawing and the moment it listens is never drawn (models/react_component.ts of
version 1.9, `useState`). Here only what the component itself has set is sent back, and what came early is drawn.
"""

from __future__ import annotations

import json

# what stands in the code that Panel writes for each component, and what takes its place
_CHANGES = (
    (
        "const [value, setValue] = React.useState(targetModel.attributes[resolvedProp])\n",
        "const [value, setValue] = React.useState(targetModel.attributes[resolvedProp])\n"
        "const own = React.useRef(false), setOwn = React.useCallback(v => { own.current = true; setValue(v) }, [])\n",
    ),
    (
        "react_proxy.on(prop, cb, true)\n",
        "react_proxy.on(prop, cb, true)\n"
        "const early = targetModel.attributes[resolvedProp]\n"
        "if (early !== value && !target.model.events.includes(resolvedProp)) setValue(early)\n",
    ),
    ("&& initialized.current) {\n", "&& initialized.current && own.current) {\nown.current = false\n"),
    ("return [value, setValue]\n", "return [value, setOwn]\n"),
)

# run once, when Bokeh and Panel are there and no component has been drawn; another Panel's code is left as it is
MEND = f"""(() => {{
  const model = window.Bokeh?.Models?.get?.("panel.models.esm.ReactComponent")?.prototype, write = model?._render_code
  if (!write || model.stem4d_echo) return
  model.stem4d_echo = true
  model._render_code = function () {{
    const code = write.call(this), changes = {json.dumps(_CHANGES)}
    return changes.every(([old]) => code.split(old).length === 2)
      ? changes.reduce((code, [old, mended]) => code.replace(old, () => mended), code) : code
  }}
}})()"""
