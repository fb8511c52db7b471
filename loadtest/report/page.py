"""A report as one HTML file that needs no other. Pure."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

_STYLE: Final = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; font-size: 13px; }
th, td { padding: 0.2rem 0.6rem; border-bottom: 1px solid #8884; text-align: right; }
th:first-child, td:first-child, td.words { text-align: left; }
.missed { color: #c22; font-weight: 600; }
.held { color: #0b6e4f; font-weight: 600; }
svg { max-width: 48rem; width: 100%; display: block; margin: 1rem 0; }
.scroll { overflow-x: auto; }
@media (prefers-color-scheme: dark) { .held { color: #3cbf8f; } .missed { color: #f66; } }
"""


def document(title: str, heading: str, parts: Iterable[str]) -> str:
    """The whole page; `parts` are HTML."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><h1>{escape(heading)}</h1>{''.join(parts)}</body></html>\n"
    )


def heading(text: str) -> str:
    """The heading of a section."""
    return f"<h2>{escape(text)}</h2>"


def paragraph(text: str, mark: str = "") -> str:
    """One paragraph; `mark` is `held`, `missed` or nothing."""
    return f'<p class="{mark}">{escape(text)}</p>' if mark else f"<p>{escape(text)}</p>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; a row that is shorter than the head is a label and, over all other columns, words."""
    body = ""
    for row in rows:
        if len(row) == len(head):
            body += "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
        else:
            words, span = escape(" ".join(row[1:])), len(head) - 1
            body += f'<tr><td>{escape(row[0])}</td><td class="words" colspan="{span}">{words}</td></tr>'
    names = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    return f'<div class="scroll"><table><tr>{names}</tr>{body}</table></div>'
