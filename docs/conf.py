"""How Sphinx builds the documentation: `make docs`. Nothing is fetched, and little imported."""

import json
import re
import sys
from pathlib import Path
from typing import Any

from docutils.nodes import document
from myst_parser.parsers.sphinx_ import MystParser
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

project = "ProRL"
author = copyright = "The ProRL authors"
extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build", "**.ipynb_checkpoints"]
html_theme = "furo"
html_title = "ProRL"
html_show_sphinx = False
html_copy_source = False

myst_heading_anchors = 3  # sections may be linked to, as on pages of a repository

# Docstrings are plain text, in which `this` is code.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
# What the documented modules import and the pages have no use for.
autodoc_mock_imports = [
    "accelerate",
    "dvclive",
    "fastapi",
    "prometheus_client",
    "recbole",
    "safetensors",
    "scipy",
    "sklearn",
    "transformers",
    "uvicorn",
]


class Notebook(MystParser):
    """A notebook as a page: its Markdown, its code, and what that printed."""

    supported = ("ipynb",)

    def parse(self, inputstring: str, document: document) -> None:
        """Parse the notebook's JSON `inputstring` into `document`."""
        super().parse(as_markdown(json.loads(inputstring)), document)


def as_markdown(notebook: dict[str, Any]) -> str:
    """The cells of `notebook`, one after another."""
    parts = []
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else fenced(text, "python"))
        parts += [fenced(printed, "text") for out in cell.get("outputs", []) if (printed := plain(out))]
    return "\n\n".join(parts)


def plain(output: dict[str, Any]) -> str:
    """What a cell's `output` says as plain text."""
    return "".join(output.get("text", output.get("data", {}).get("text/plain", ""))).rstrip()


def fenced(text: str, language: str) -> str:
    """`text` as a block of code; empty where there is none."""
    return f"````{language}\n{text}\n````" if text.strip() else ""


def with_files(app: Sphinx, docname: str, source: list[str]) -> None:
    """Let links of page `docname` to Markdown elsewhere in the repository lead to the files themselves."""
    page = Path(app.srcdir, docname)

    def named(link: re.Match[str]) -> str:
        inside = (page.parent / link[1]).resolve().is_relative_to(app.srcdir)
        return link[0] if inside else f"](path:{link[1]})"

    source[0] = re.sub(r"\]\((\.\./[^)#]+\.md)\)", named, source[0])


def setup(app: Sphinx) -> None:
    """Let notebooks be pages, and pages link to files."""
    app.connect("source-read", with_files)
    app.add_source_suffix(".ipynb", "ipynb")
    app.add_source_parser(Notebook)
