"""Pages that hold all they show: one HTML file without a script, which needs no network and prints."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence

from stem4d_panel import __version__
from stem4d_panel.results.colours import INK
from stem4d_panel.results.report_style import STYLE
from stem4d_panel.results.text import safe_text


def document(title: str, lead: str, first: str, sections: Mapping[str, tuple[str, str]], kind: str) -> str:
    """A page.

    Parameters
    ----------
    title, lead : str
        Text, not HTML.
    first : str
        HTML that stands before all sections.
    sections : mapping of str to (str, str)
        Heading and HTML of each, by a name for links.
    kind : str
        What the page is, after the title in the browser's tab.
    """
    title = safe_text(title)
    links = "".join(f'<a href="#{key}">{heading}</a>' for key, (heading, _) in sections.items())
    bodies = "\n".join(
        f'<section aria-labelledby="{key}"><h2 id="{key}">{heading}</h2>\n{body}</section>'
        for key, (heading, body) in sections.items()
    )
    return f"""<!DOCTYPE html>
<html lang="en-GB">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="stem4d_panel {__version__}">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{title} · {kind}</title>
<style>{STYLE}</style>
</head>
<body>
<header>
<h1>{title}</h1>
<p class="lead">{safe_text(lead)}</p>
<nav aria-label="Sections">{links}</nav>
</header>
<main>
{first}
{bodies}
</main>
<footer>Made by stem4d_panel {__version__}. Nothing in this page is loaded from elsewhere.</footer>
</body>
</html>
"""


def bullets(texts: Iterable[str]) -> str:
    """Texts as a list."""
    return "<ul>" + "".join(f"<li>{safe_text(text)}</li>" for text in texts) + "</ul>"


def swatch(colour: str) -> str:
    """A square in the colour of a class."""
    return f'<span class="swatch" style="background:{colour}"></span>'


def data_table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]], text: set[int]) -> str:
    """Cells are HTML already; columns in `text` are no numbers, and those that say nothing are left out."""
    kept = [i for i in range(len(heads)) if any(row[i] not in ("", "–", "no") for row in rows)]
    heads, rows = [heads[i] for i in kept], [[row[i] for i in kept] for row in rows]
    text = {kept.index(i) for i in text if i in kept}

    def style(i: int) -> str:
        return ' class="text"' if i in text or i == 0 else ""

    head = "".join(f'<th scope="col"{style(i)}>{html.escape(h)}</th>' for i, h in enumerate(heads))
    body = "".join(
        f'<tr><th scope="row" class="text">{row[0]}</th>'
        + "".join(f"<td{style(i)}>{cell}</td>" for i, cell in enumerate(row[1:], start=1))
        + "</tr>"
        for row in rows
    )
    caption = html.escape(caption[0].upper() + caption[1:])
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{caption}"><table><caption>{caption}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def notice(texts: Sequence[str]) -> str:
    """Warnings, or the word that there are none."""
    if not texts:
        return '<section class="notes"><h2>Warnings</h2><p>None.</p></section>'
    return f'<section class="notice"><h2>Warnings</h2>{bullets(texts)}</section>'


def facts(known: Mapping[str, str]) -> str:
    """Numbers in large letters, each with its name."""
    return '<dl class="facts">' + "".join(f"<div><dt>{k}</dt><dd>{v}</dd></div>" for k, v in known.items()) + "</dl>"


def figure(svg: str, name: str, alt: str, caption: str) -> str:
    """A figure as part of the page: its ink is the page's, its names are its own."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    svg = re.sub(re.escape(INK), "currentColor", svg, flags=re.IGNORECASE)
    width = re.search(r'width="([\d.]+)pt" height="[\d.]+pt"', svg)
    if width is not None:
        svg = svg.replace(width.group(0), f'style="max-width:{float(width.group(1)) * 1.8:.0f}px"', 1)
    svg = svg.replace("<svg ", f'<svg role="img" aria-label="{html.escape(alt, quote=True)}" ', 1)
    return f"<figure>{svg}<figcaption>{html.escape(caption)}</figcaption></figure>"
