"""Looking at the workbench from outside: figures by name, data to screen coordinates, what the page says."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from playwright.sync_api import TimeoutError as Late
from playwright.sync_api import expect

_VIEW = "name => Bokeh.index.query_one(v => v.model.type === 'Figure' && v.model.name === name)"
_FIGURE = f"name => ({_VIEW})(name)?.model"
POSITION = f"""([name, x, y]) => {{
  const view = ({_VIEW})(name); if (!view) return null
  const box = (view.canvas_view ?? view.canvas).el.getBoundingClientRect()
  return [box.left + view.frame.x_scale.compute(x), box.top + view.frame.y_scale.compute(y)] }}"""
RANGES = f"""name => {{ const f = ({_FIGURE})(name); return [f.x_range.start, f.x_range.end, f.y_range.start, f.y_range.end] }}"""
# a checksum of everything that a figure draws
DATA = f"""name => {{
  const fig = ({_FIGURE})(name); if (!fig) return null
  let sum = 0
  const add = v => {{
    if (typeof v === 'number') {{ if (isFinite(v)) sum = (sum * 31 + Math.round(v * 1e4)) % 1000000007 }}
    else if (typeof v === 'string') for (const c of v) sum = (sum * 31 + c.charCodeAt(0)) % 1000000007
    else if (v && v.length !== undefined) for (let i = 0; i < v.length; i++) add(v[i]) }}
  for (const r of fig.renderers) if (r.data_source) for (const [k, v] of [...r.data_source.data.entries?.() ?? Object.entries(r.data_source.data)]) add(v)
  return sum }}"""
LABELS = f"""name => {{
  for (const r of ({_FIGURE})(name).renderers) {{
    const d = r.data_source?.data, get = n => d?.get ? d.get(n) : d?.[n]
    if (get('text')) return Object.fromEntries(['x', 'y', 'text'].map(n => [n, [...get(n)]]))
  }} }}"""
CHOSEN = """([label, option]) => [...Bokeh.documents.at(-1)._all_models.values()].some(
  m => m.data?.label === label && m.data.value === option)"""
JUNCTION = f"""name => {{
  let best = [0, -1]
  for (const r of ({_FIGURE})(name).renderers) {{
    const d = r.data_source?.data, get = n => d?.get ? d.get(n) : d?.[n]
    if (!get('colour') || !get('y1')) continue
    const [x0, y0, x1, y1] = ['x0', 'y0', 'x1', 'y1'].map(n => [...get(n)])
    y0.forEach((y, i) => {{ if (y === y1[i] && y < 1 && y > best[1]) best = [(x0[i] + x1[i]) / 2, y] }})
  }}
  return best }}"""
LINE = f"""name => [...({_FIGURE})(name).center].find(m => m.type === 'Span').location"""
VIEWS = """() => [...Bokeh.index.query(v => v.model.type === 'Figure')].map(v => {
  const box = (v.canvas_view ?? v.canvas).el.getBoundingClientRect()
  return `${v.model.name} ${box.width} x ${box.height} at ${v.frame.x_scale.compute(0)}, ${v.frame.y_scale.compute(0)}` })"""
BARS = f"""name => [...({_FIGURE})(name).center].filter(m => m.type === 'ScaleBar').map(m => m.unit)"""
READOUT = f"""name => [...({_FIGURE})(name).center].find(m => m.name === 'readout')?.text"""
BOX = f"""name => {{
  const view = ({_VIEW})(name), {{left, top, width, height}} = (view.canvas_view ?? view.canvas).el.getBoundingClientRect()
  return {{x: Math.round(left), y: Math.round(top), width: Math.round(width), height: Math.round(height)}} }}"""
PAINTED = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done())))"
STEPS = ("data", "prepare", "factorise", "cluster")


class Screen:
    """The workbench in a page."""

    def __init__(self, page: Any) -> None:
        self.page = page

    def wait_ready(self, timeout: float = 90) -> None:
        """Until nothing runs and every step is up to date."""
        self.page.locator(".status").get_by_text("ready", exact=True).wait_for(timeout=timeout * 1000)
        for figure in ("maps", "patterns", "dendrogram", "gallery", "class-profile"):  # laid out, so that a tap lands
            try:
                self.page.wait_for_function(f"a => ({POSITION})(a)?.every(isFinite)", arg=[figure, 0, 0])
            except Late as error:
                raise AssertionError(f"{figure} is not laid out; the page holds {self.page.evaluate(VIEWS)}") from error
        self.page.locator("#shell").wait_for(state="hidden")  # it takes the clicks until the widgets are drawn

    def wait_status(self, text: str) -> None:
        self.page.locator(".status").get_by_text(text).first.wait_for()

    def wait_step(self, name: str, *states: str) -> None:
        self.page.wait_for_function(
            "([sel, states]) => { const find = root => { for (const e of root.querySelectorAll('*')) {"
            " if (e.matches(sel)) return e; if (e.shadowRoot) { const f = find(e.shadowRoot); if (f) return f } } };"
            " const e = find(document); const all = e => (e.shadowRoot ?? e).textContent;"
            " return e && states.some(s => all(e).includes(s)) }",
            arg=[f".step-{name}", list(states)],
        )

    def data(self, figure: str) -> int:
        """Checksum of what a figure draws."""
        return int(self.page.evaluate(DATA, figure))

    def wait_changed(self, figure: str, before: int) -> None:
        """Until a figure draws something else."""
        self.page.wait_for_function(f"([name, before]) => ({DATA})(name) !== before", arg=[figure, before])

    def wait_data(self, figure: str, wanted: int) -> None:
        """Until a figure draws what it drew once."""
        self.page.wait_for_function(f"([name, wanted]) => ({DATA})(name) === wanted", arg=[figure, wanted])

    def wait_ranges(self, figure: str, index: int, wanted: float) -> None:
        """Until one of a figure's :meth:`ranges` is `wanted`: a slider's steps on the way there may be drawn before."""
        self.page.wait_for_function(
            f"([name, i, wanted]) => Math.abs(({RANGES})(name)[i] - wanted) < 1e-4", arg=[figure, index, wanted]
        )

    def at(self, figure: str, x: float, y: float) -> tuple[float, float]:
        """Screen position of a point of a figure."""
        self.page.evaluate(f"name => ({_VIEW})(name).el.scrollIntoViewIfNeeded()", figure)
        px, py = self.page.evaluate(POSITION, [figure, x, y])
        return px, py

    def ranges(self, figure: str) -> list[float]:
        return list(self.page.evaluate(RANGES, figure))

    def tap(self, figure: str, x: float, y: float) -> None:
        self.page.mouse.click(*self.at(figure, x, y))

    def drag(self, figure: str, start: tuple[float, float], end: tuple[float, float], steps: int = 8) -> None:
        """Drag from one point of a figure to another and let go."""
        (x0, y0), (x1, y1) = self.at(figure, *start), self.at(figure, *end)
        self.page.mouse.move(x0, y0)
        self.page.mouse.down()
        for i in range(1, steps + 1):
            self.page.mouse.move(x0 + (x1 - x0) * i / steps, y0 + (y1 - y0) * i / steps)
        self.page.mouse.up()

    def draw(self, figure: str, corners: list[tuple[float, float]], steps: int = 4) -> None:
        """Drag from corner to corner, back to the first one, and let go."""
        places = [self.at(figure, *corner) for corner in [*corners, corners[0]]]
        self.page.mouse.move(*places[0])
        self.page.mouse.down()
        for (x0, y0), (x1, y1) in pairwise(places):
            for i in range(1, steps + 1):
                self.page.mouse.move(x0 + (x1 - x0) * i / steps, y0 + (y1 - y0) * i / steps)
        self.page.mouse.up()

    def wait_readout(self, figure: str, text: str) -> None:
        """Until a figure says `text` of what lies under the mouse."""
        self.page.wait_for_function(f"([name, text]) => ({READOUT})(name)?.includes(text)", arg=[figure, text])

    def choose(self, label: str, option: str, stays: bool = True) -> None:
        """Choose from a list by its label; whether it then shows what was chosen."""
        self.page.get_by_role("combobox", name=label, exact=True).click()
        self.page.get_by_role("menuitem", name=option, exact=True).click()
        expect(self.page.locator(".MuiModal-backdrop")).to_have_count(0)  # it covers the page while the list is open
        if stays:  # it is told to Python only once it has been drawn
            self.page.wait_for_function(CHOSEN, arg=[label, option])

    def gallery_labels(self) -> list[str]:
        """What stands above the thumbnails, in their order."""
        return list(self.page.evaluate(LABELS, "gallery")["text"])

    def tap_component(self, place: int) -> None:
        """Tap a thumbnail by its place in the gallery."""
        at = self.page.evaluate(LABELS, "gallery")
        self.tap("gallery", at["x"][place], at["y"][place] - 30)

    def junction(self, figure: str) -> tuple[float, float]:
        """Where the last merge that is not set apart is drawn: that of the greatest height below 1."""
        x, y = self.page.evaluate(JUNCTION, figure)
        return float(x), float(y)

    def threshold(self) -> float:
        """Where the line of the dendrogram stands."""
        return float(self.page.evaluate(LINE, "dendrogram"))

    def drag_threshold(self, to: float, off: float = 0.0) -> None:
        """Drag the line, taken hold of some pixels below it."""
        left, right, _, _ = self.ranges("dendrogram")
        x, y = self.at("dendrogram", (left + right) / 2, self.threshold())
        _, end = self.at("dendrogram", 0, to)
        y, end = y + off, end + off
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        for i in range(1, 11):
            self.page.mouse.move(x, y + (end - y) * i / 10)
        self.page.mouse.up()

    def picture(self, figure: str) -> bytes:
        """What a figure looks like, as a PNG, the mouse elsewhere."""
        self.page.mouse.move(2, 2)
        self.page.evaluate(f"name => ({_VIEW})(name).el.scrollIntoViewIfNeeded()", figure)
        self.page.evaluate(PAINTED)
        return bytes(self.page.screenshot(clip=self.page.evaluate(BOX, figure), animations="disabled"))

    def rows(self) -> int:
        """Classes in the table."""
        return int(self.page.locator(".class-table tr").count()) - 1

    def text(self, css: str) -> str:
        return str(self.page.locator(css).first.evaluate("e => (e.shadowRoot ?? e).textContent"))

    def scale_bars(self, figure: str) -> list[str]:
        return list(self.page.evaluate(BARS, figure))

    def set_slider(self, css: str, keys: str, times: int, thumb: int = 0) -> None:
        """Move a slider's thumb by keys."""
        handle = self.page.locator(f"{css} input[type=range]").nth(thumb)
        handle.focus()
        for _ in range(times):
            handle.press(keys)
