"""Addresses of the code on the pages of the site."""

from __future__ import annotations

import inspect
from typing import Any


def link(function: Any, slug: str) -> str | None:
    """The address of a function's code from the page `slug`; None outside of the left panel."""
    function = inspect.unwrap(function)
    panel, _, module = function.__module__.partition(".")
    if panel != "numpy_ref":
        return None
    return f"{'' if module == slug else f'{module}.html'}#{function.__qualname__}"
