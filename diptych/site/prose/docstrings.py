"""Docstrings as HTML: a summary, paragraphs, equations, terms and a derivation to fold."""

from __future__ import annotations

import re
from dataclasses import dataclass

from markupsafe import Markup

from diptych.site.prose.blocks import Item, items
from diptych.site.prose.displays import code, display, equation
from diptych.site.prose.equations import relation
from diptych.site.prose.inline import formulas, prose
from diptych.site.prose.tokens import NotationError

EMPTY = Markup()
LONG = 36
"""A formula of more signs, which begins a docstring, stands on a line of its own."""
_SENTENCE = re.compile(r"(?<=[.?])(?<! al\.)\s+(?=[A-Z`(]|torch)")

_REMARK = re.compile(r",\s+(?=(?:with|over|as|for) )")
"""the comma between a chain of arrows and a remark on it"""


@dataclass(frozen=True)
class Doc:
    """A docstring, in the docstring's order.

    body: (kind, HTML), kind one of p, equation, sketch, list, code, example; terms: (name, HTML);
    right: sentences of the right panel's docstring that the left one has not.
    """

    summary: Markup = EMPTY
    body: tuple[tuple[str, Markup], ...] = ()
    terms: tuple[tuple[str, Markup], ...] = ()
    derivation_title: Markup = EMPTY
    derivation: Markup = EMPTY
    right: Markup = EMPTY

    def __bool__(self) -> bool:
        return bool(self.summary or self.body or self.terms or self.right)


def document(text: str | None, right: str | None = None) -> Doc:
    """A docstring of the left panel, and what that of the right panel (`right`) says besides."""
    ours, theirs = items(text or ""), items(right or "")
    if not ours:
        ours, theirs = theirs, []
    shown = [item for item in ours if not item.in_derivation and not _is_pointer(item)]
    first = shown[0] if shown and shown[0].kind == "paragraph" else None
    summary, rest = _summary(first.text) if first else (Markup(), "")
    body = [_body(item) for item in shown if item.kind != "term" and item is not first]
    if rest:
        body.insert(0, ("p", prose(rest)))
    title, derivation = _derivation([item for item in ours if item.in_derivation])
    return Doc(summary, tuple(body), _terms(shown), title, derivation, _besides(ours, theirs))


def _is_pointer(item: Item) -> bool:
    """True for "Right panel: path", which the page shows."""
    return item.kind == "term" and item.name in ("Right panel", "Left panel")


def _summary(text: str) -> tuple[Markup, str]:
    """The first sentence, as an equation if it is one, and the rest of the paragraph."""
    first, *rest = _SENTENCE.split(text, maxsplit=1)
    try:
        return _as_equation(first) or prose(first), " ".join(rest)
    except NotationError:
        return prose(first), " ".join(rest)


def _as_equation(sentence: str) -> Markup | None:
    """The sentence as an equation with a remark, if most of it is a formula."""
    if sentence.count(" -> ") > 1:
        return equation(_REMARK.sub("   ", sentence))
    spans = formulas(sentence.partition("`")[0])
    if not spans or spans[0][0] or sum(b - a for a, b in spans) < 0.6 * len(sentence):
        return None
    if not relation(sentence[: spans[0][1]]) and spans[0][1] <= LONG:
        return None
    end = spans[-1][1]
    return equation(sentence[:end] + "   " + sentence[end:].strip(" .,;"))


def _terms(parts: list[Item]) -> tuple[tuple[str, Markup], ...]:
    """The terms; those of one name are one."""
    texts: dict[str, str] = {}
    for item in parts:
        if item.kind == "term":
            before = texts.get(item.name, "")
            texts[item.name] = f"{before.rstrip('.')}. {item.text}" if before else item.text
    return tuple((name, prose(text)) for name, text in texts.items())


def _body(item: Item) -> tuple[str, Markup]:
    if item.kind == "display":
        return display(item.text)
    if item.kind == "doctest":
        return "example", code(item.text)
    if item.kind == "list":
        entries = re.split(r"(?:^|\n)\* ", item.text)[1:]
        html = Markup().join(Markup("<li>{}</li>").format(prose(e)) for e in entries)
        return "list", Markup("<ul>{}</ul>").format(html)
    return "p", prose(item.text)


def _derivation(parts: list[Item]) -> tuple[Markup, Markup]:
    if not parts:
        return Markup(), Markup()
    title, *rest = re.split(r"(?<=[.])\s+", parts[0].text, maxsplit=1)
    html = Markup("<p>{}</p>").format(prose(rest[0])) if rest else Markup()
    for item in parts[1:]:
        kind, part = _body(item)
        html += Markup("<p>{}</p>").format(part) if kind == "p" else part
    return prose(title.rstrip(".")), html


def _besides(ours: list[Item], theirs: list[Item]) -> Markup:
    """Sentences and terms of the right docstring that the left one has not."""
    known = {_panel_free(sentence) for item in ours for sentence in _sentences(item)}
    result = []
    for item in theirs:
        if item.kind == "doctest" or _is_pointer(item):
            continue
        other = [
            sentence
            for sentence in _sentences(item)
            if not any(_panel_free(sentence).rstrip(".") in text for text in known)
        ]
        if other and item.kind == "display":
            result.append(display(item.text)[1])
        elif other:
            name = Markup("{}: ").format(item.name) if item.kind == "term" else ""
            result.append(Markup("{}{}").format(name, prose(" ".join(other))))
    return Markup(" ").join(result)


def _panel_free(sentence: str) -> str:
    """The sentence without the words that tell the panels apart."""
    return re.sub(r"vectorised|by hand|left panel|right panel", "", sentence)


def _sentences(item: Item) -> list[str]:
    if item.kind in ("display", "doctest"):
        return [item.text]
    return _SENTENCE.split(item.text)
