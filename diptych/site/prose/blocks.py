"""A docstring as plain items: paragraphs, displays, doctests, lists and terms, in its order.

Conventions of the docstrings:

* a paragraph of lines indented by four is a display: equations, a picture of signs, or code;
* `Shapes:`, `Units:`, `Raises:`, `Source:`, `Where we differ:` begin a term, up to the next term or
  the end of the paragraph; three spaces and `x (N, D) -> y (N)` after a sentence are its shapes;
* a paragraph that begins with `Derivation` begins the derivation, up to the next term or doctest;
  its first sentence is the title.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal["paragraph", "display", "doctest", "list", "term"]

_TERM = re.compile(
    r"(?:^|(?<=[.:)])\s+|\n|[ ]{3,})(?P<name>Shapes|Units|Raises|Sources?|Args|Returns"
    r"|Where\s+we\s+differ[^:.]*|(?:Right|Left) panel):\s+"
    r"|[ ]{3,}(?P<column>[^\n]+)"
)
_SHAPES = re.compile(
    r"Any shape|(?!.* [=~] )(?=.*(?<!\w)\((?:\.\.\.|[A-Z\d]|n\)|count|[^()]*,)|\w+$)"
    r"(?:.*->|\w+ \(|All )"
)
"""sizes in brackets with an arrow, such as "x (N, D) -> (N)", or "x (N, D)", "All are (N, Z)" """
_ANY_SHAPE = re.compile(r"(?:^|(?<=\. ))(Any shape(?:, [^.]*)?\.)(?: |$)")


@dataclass(frozen=True)
class Item:
    """A part of a docstring as plain text; `name` is that of a term."""

    kind: Kind
    text: str
    name: str = ""
    in_derivation: bool = False


def items(docstring: str) -> list[Item]:
    """The items of a docstring without its indentation, as ast.get_docstring returns it.

    >>> for item in items("Sum of x.   x (N) -> ()" + chr(10) + "Units: those of x."):
    ...     print(item.kind, item.name, item.text)
    paragraph  Sum of x.
    term Shapes x (N) -> ()
    term Units those of x.
    """
    result: list[Item] = []
    derivation = False
    for block in _blocks(docstring.splitlines()):
        for item in _block_items(block):
            derivation |= item.kind == "paragraph" and item.text.startswith("Derivation")
            derivation &= item.kind not in ("doctest", "term")
            result.append(Item(item.kind, item.text, item.name, derivation))
    return result


def _blocks(lines: list[str]) -> Iterator[list[str]]:
    """Runs of lines between blank lines, and where a paragraph meets a display."""
    block: list[str] = []
    for line in [*lines, ""]:
        is_other = bool(block) and line.startswith("    ") != block[0].startswith("    ")
        if block and (not line.strip() or (is_other and not block[0].startswith((">>>", "* ")))):
            yield block
            block = []
        if line.strip():
            block.append(line)


def _block_items(block: list[str]) -> Iterator[Item]:
    text = "\n".join(block)
    if block[0].startswith(">>>"):
        yield Item("doctest", text)
    elif block[0].startswith("    "):
        yield Item("display", textwrap.dedent(text))
    elif block[0].startswith("* "):
        yield Item("list", text)
    else:
        yield from _paragraph(text)


def _paragraph(text: str) -> Iterator[Item]:
    """Sentences, and the terms that begin within them."""
    sentences, name, term, position = "", "", "", 0
    for match in _TERM.finditer(text):
        between = text[position : match.start()]
        position = match.end()
        if name:
            term += between
        else:
            sentences += between
        if match["column"] and not _SHAPES.match(match["column"]):
            sentences += " " + match["column"]
            continue
        yield from _term(name, term)
        yield from _sentences(sentences)
        sentences = name = term = ""
        if match["column"]:
            yield from _term("Shapes", match["column"])
        else:
            name = " ".join(match["name"].split())
    yield from _term(name, term + text[position:])
    yield from _sentences("" if name else sentences + text[position:])


def _term(name: str, text: str) -> Iterator[Item]:
    if name:
        yield Item("term", " ".join(text.split()), "Source" if name == "Sources" else name)


def _sentences(text: str) -> Iterator[Item]:
    """A paragraph; a sentence "Any shape." is a term."""
    text = " ".join(text.split())
    if match := _ANY_SHAPE.search(text):
        yield from _sentences(text[: match.start()] + text[match.end() :])
        yield Item("term", match[1], "Shapes")
    elif text:
        yield Item("paragraph", text)
