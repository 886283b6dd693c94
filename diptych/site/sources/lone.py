"""Statements of one panel that no rule explains, and why the other panel has none.

An entry that no page uses is an error of the tests.
"""

from __future__ import annotations

from diptych.site.sources.page import SideName

LONE: dict[tuple[SideName, str, str, str], str] = {}
"""By side, file, definition and the statement's first line, as `ast.unparse` writes it."""
