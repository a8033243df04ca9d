"""The look of the report: light and dark, narrow and wide, on paper."""

STYLE = """
:root {
  color-scheme: light dark;
  --ground: #ffffff; --ink: #1d2430; --quiet: #5b6573; --line: #d9dee5; --soft: #f4f6f8; --warn: #fff4e0; --warn-line: #c77700;
  --accent: #31688e;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14181e; --ink: #e6e9ee; --quiet: #a2acb9; --line: #343c48; --soft: #1c222a; --warn: #33270f;
    --warn-line: #e0a03a; --accent: #7fb5d8;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--ground); color: var(--ink);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
}
main, header, footer { max-width: 1080px; margin: 0 auto; padding: 0 24px; }
header { padding-top: 34px; }
h1 { font-size: 27px; line-height: 1.25; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 19px; margin: 42px 0 10px; padding-top: 12px; border-top: 1px solid var(--line); }
h3 { font-size: 15px; margin: 24px 0 6px; }
p { margin: 6px 0; max-width: 75ch; }
.lead { color: var(--quiet); }
nav { margin: 14px 0 0; display: flex; flex-wrap: wrap; gap: 4px 18px; font-size: 14px; }
a { color: var(--accent); }
.notice { background: var(--warn); border-left: 4px solid var(--warn-line); padding: 8px 16px; margin: 22px 0 0; border-radius: 4px; }
.notice h2, .notes h2 { border: 0; padding: 0; margin: 4px 0; font-size: 16px; }
.notes { background: var(--soft); padding: 8px 16px; margin: 22px 0 0; border-radius: 4px; }
ul { margin: 4px 0 8px; padding-left: 20px; }
li { overflow-wrap: anywhere; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(128px, 1fr)); gap: 10px; margin: 20px 0 0; padding: 0; }
.facts div { background: var(--soft); border-radius: 6px; padding: 8px 14px; }
.facts dt { color: var(--quiet); font-size: 13px; }
.facts dd { margin: 0; font-size: 19px; font-weight: 600; font-variant-numeric: tabular-nums; }
figure { margin: 16px 0; break-inside: avoid; }
figure svg { display: block; width: 100%; height: auto; }
figcaption { color: var(--quiet); font-size: 13.5px; margin-top: 6px; max-width: 80ch; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(430px, 100%), 1fr)); gap: 0 36px; align-items: start; }
.scroll { overflow-x: auto; margin: 10px 0; }
table { border-collapse: collapse; font-size: 13.5px; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--quiet); font-size: 13.5px; padding-bottom: 4px; }
th, td { padding: 4px 12px 4px 0; text-align: right; vertical-align: top; border-bottom: 1px solid var(--line); }
thead th { font-weight: 600; vertical-align: bottom; }
tbody th, td:not(.text) { white-space: nowrap; }
tbody th { font-weight: 600; }
.text { text-align: left; overflow-wrap: break-word; }
td.text { max-width: 46ch; }
.swatch {
  display: inline-block; width: 11px; height: 11px; border-radius: 3px; margin-right: 6px; print-color-adjust: exact;
  -webkit-print-color-adjust: exact;
}
footer { color: var(--quiet); font-size: 13px; margin-top: 40px; padding-bottom: 40px; }
code { font: 13px ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
@media print {
  @page { margin: 16mm 14mm; }
  body { font-size: 10.5pt; }
  main, header, footer { max-width: none; padding: 0; }
  nav { display: none; }
  h2, h3 { break-after: avoid; }
  thead { display: table-header-group; }
  tr { break-inside: avoid; }
  .scroll { overflow: visible; }
  table { font-size: 8pt; }
  th, td, td:not(.text) { padding: 2px 6px 2px 0; white-space: normal; }
  .facts { grid-template-columns: repeat(6, 1fr); }
  .facts dd { font-size: 12pt; }
  .pair { grid-template-columns: 1fr 1fr; }
  a { color: inherit; text-decoration: none; }
}
"""
