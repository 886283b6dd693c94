"""The look of every page: the templates, the style and the script."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

FOLDER = Path(__file__).parent
SCRIPTS = (
    "site.js",
    "code.js",
    "definitions.js",
    "gutter.js",
    "values.js",
    "search.js",
    "pictures.js",
    "pictures_masks.js",
    "pictures_fields.js",
    "pictures_heat.js",
    "pictures_convolution.js",
    "pictures_optimisers.js",
    "break.js",
    "notebook.js",
)
STYLES = (
    "site.css",
    "code.css",
    "prose.css",
    "gutter.css",
    "values.css",
    "index.css",
    "pictures.css",
    "notebook.css",
    "break.css",
)


def jinja_environment(**variables: Any) -> Environment:
    """The templates of the site, with variables for all of them."""
    environment = Environment(
        loader=PackageLoader("diptych.site"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(variables)
    return environment


def stylesheet() -> str:
    """The style of every page."""
    return "\n".join((FOLDER / "static" / part).read_text() for part in STYLES)


def script() -> str:
    """The script of every page."""
    return "\n".join((FOLDER / "static" / part).read_text() for part in SCRIPTS)
