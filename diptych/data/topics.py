"""The English reference text of Python's `help()`, embedded in CPython: no file is needed.

Files: none; the text is the module `pydoc_data.topics` of the running Python.
Layout: some 80 pages, joined in the order of their titles. Pages quote each other at length, so a
paragraph that occurred before is left out; otherwise training would see much of the held-out text.
Size: depends on the version of Python, which the summary names: do not compare numbers between
versions.
Origin: Python Software Foundation, "The Python Language Reference" (PSF licence).
"""

from __future__ import annotations

import platform

from diptych.data.corpus import Corpus, Unit
from diptych.data.dataset import Root
from diptych.data.text import from_text


def load(root: Root = None) -> Corpus:
    """Load the text by words, with the tokens and splits of `text.load`. `root` is not used.

    Raises: ValueError if this Python has no `pydoc_data.topics`.
    """
    return _load("topics", "words")


def load_characters(root: Root = None) -> Corpus:
    """Load the text by characters."""
    return _load("topics/characters", "characters")


def _load(name: str, unit: Unit) -> Corpus:
    try:
        from pydoc_data.topics import topics  # noqa: PLC0415  # some Pythons come without it
    except ImportError:
        raise ValueError(
            f"{name}: found no pydoc_data.topics in Python {platform.python_version()}, "
            "expected the one of CPython"
        ) from None
    pages = "\n\n".join(topics[title] for title in sorted(topics))
    paragraphs = dict.fromkeys(pages.split("\n\n"))  # without repetitions, in order
    text = "\n\n".join(paragraphs)
    origin = f"from the {len(topics)} topics of Python {platform.python_version()}"
    return from_text(name, text, unit, "pydoc_data.topics", origin)
