"""How `make docs` makes a site of the Markdown in this folder. Sphinx reads the names in lower case.

The source folder is the repository, so that links lead to the same places here and in the repository's own view.
"""

import re
from pathlib import Path
from typing import Final

from sphinx.application import Sphinx

project = "Tickcast"
author = "the Tickcast developers"
html_title = "Tickcast"

extensions = ["myst_parser"]
include_patterns = ["docs/*.md", "docs/**/*.md", "CHANGELOG.md", "clients/js/README.md", "clients/python/README.md"]
root_doc = "docs/README"
# As GitHub makes them, so that a link to a heading works in both.
myst_heading_anchors = 4
suppress_warnings = [
    # Pages begin where their first heading does; the changelog's sections repeat "Added", "Fixed".
    "myst.header",
]
# What is highlighted must be right, but for shells' prompts and JSON that is cut short on purpose.
highlight_language = "text"

html_theme = "furo"
html_extra_path = ["site/index.html"]
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
html_theme_options: dict[str, list[str]] = {"top_of_page_buttons": []}

ROOT: Final = Path(__file__).resolve().parents[1]
_SECTION: Final = re.compile(r"^## (.+)$", re.MULTILINE)
_PAGE: Final = re.compile(r"\[([^\]]+)\]\((?!https?:)([^)#]+\.md)\)")


def navigation(index: str) -> str:
    """The toctrees of the index, one for each of its sections: whatever pages that links to, as it calls them."""
    parts = _SECTION.split(index)[1:]
    trees = []
    for title, text in zip(parts[::2], parts[1::2], strict=True):
        entries = [f"{name} <{path}>" for name, path in _PAGE.findall(text)]
        trees.append("\n".join(["```{toctree}", ":hidden:", f":caption: {title}", "", *entries, "```"]))
    return "\n\n".join(trees)


def _add_navigation(_app: Sphinx, docname: str, content: list[str]) -> None:
    if docname == root_doc:
        content[0] += f"\n\n{navigation(content[0])}\n"


def setup(app: Sphinx) -> None:
    """Give the index its navigation, which Markdown has no words for."""
    app.connect("source-read", _add_navigation)
