"""Topics: the English reference text of `help()`, which comes with CPython, so no file."""

from __future__ import annotations

import platform

from diptych.data.corpus import Corpus, Unit
from diptych.data.dataset import Root
from diptych.data.text import from_text


def load(root: Root = None) -> Corpus:
    """The topics of `pydoc_data`, by words: some 80 pages, joined in the order of their titles.

    Pages quote each other at length, so a paragraph that came before is left out: otherwise much
    of the held-out text would have been read in training.
    Cut, split and <unk> are those of `text.load`. The text changes with the version of Python,
    so `found` says which it was: compare no numbers between versions. `root` is not used.
    Raises: ValueError where this Python comes without them.
    Source: Python Software Foundation, "The Python Language Reference".
    """
    return _load("topics", "words")


def load_characters(root: Root = None) -> Corpus:
    """The same text by characters."""
    return _load("topics/characters", "characters")


def _load(name: str, unit: Unit) -> Corpus:
    try:
        from pydoc_data.topics import topics  # noqa: PLC0415  # some Pythons come without it
    except ImportError:
        raise ValueError(
            f"{name}: found no pydoc_data.topics in Python {platform.python_version()}, "
            "expected the one that CPython comes with"
        ) from None
    pages = "\n\n".join(topics[title] for title in sorted(topics))
    paragraphs = dict.fromkeys(pages.split("\n\n"))  # each once, where it stands first
    text = "\n\n".join(paragraphs)
    origin = f"from the {len(topics)} topics of Python {platform.python_version()}"
    return from_text(name, text, unit, "pydoc_data.topics", origin)
