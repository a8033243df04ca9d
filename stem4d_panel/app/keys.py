"""Keys of the whole screen, listened for in the browser, and what they do."""

from __future__ import annotations

KEYS = (
    ("← →", "the component before, the next one, as the gallery shows them"),
    ("+ −", "one component more, one less"),
    ("Space", "play through the ranks, or stop"),
    ("Esc", "choose nothing"),
    ("Ctrl Z", "undo a setting"),
    ("Ctrl Shift Z", "redo it"),
    ("?", "this list"),
)

# Acts before the page does, or the notebook around it; never while somebody types, nor on what uses the key itself.
# In a notebook only where the mouse or the focus is.
LISTEN = """
const action = (event, focus) => {
  const control = event.ctrlKey || event.metaKey
  if (event.altKey || event.isComposing) return null
  if (control) return event.key.toLowerCase() !== 'z' ? null : event.shiftKey ? 'redo' : 'undo'
  const slider = focus.type === 'range' || focus.getAttribute?.('role') === 'slider'
  switch (event.key) {
    case 'ArrowLeft': return slider ? null : 'previous'
    case 'ArrowRight': return slider ? null : 'next'
    case '+': return 'more'
    case '-': return 'fewer'
    case ' ': return focus.closest?.('button, a, summary, input, [role=button]') ? null : 'play'
    case 'Escape': return 'clear'
    case '?': return 'help'
  }
  return null
}
const typing = focus => {
  if (focus.isContentEditable || ['TEXTAREA', 'SELECT'].includes(focus.tagName)) return true
  if (focus.tagName === 'INPUT') return !['range', 'checkbox', 'radio', 'button'].includes(focus.type)
  return !!focus.closest?.('[role=menu], [role=listbox], [role=combobox], [role=dialog], dialog')
}
const listen = (everywhere, root, act) => {
  const heard = event => {
    const focus = event.composedPath()[0] ?? event.target
    if (!(focus instanceof Element) || typing(focus)) return
    if (!everywhere && !root()?.matches(':hover') && !root()?.contains(document.activeElement)) return
    const found = action(event, focus)
    if (found === null) return
    if (found !== 'clear') { event.preventDefault(); event.stopImmediatePropagation() }
    act(found)
  }
  window.addEventListener('keydown', heard, true)
  return () => window.removeEventListener('keydown', heard, true)
}
"""
