"""Parts of an equation as LaTeX, and the space between them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

DIFFERENTIAL = r"\text{d}"


@dataclass(frozen=True)
class Node:
    """LaTeX of a factor; `inner` is that of a group without its parentheses."""

    latex: str
    inner: str = ""
    is_word: bool = False
    is_prefix: bool = False
    """a function or a sum, whose operand follows"""
    is_call: bool = False
    """a function of several letters with its argument, as tanh(c)"""

    @property
    def bare(self) -> str:
        """The factor as a numerator or a denominator, which needs no parentheses."""
        return self.inner or self.latex

    @property
    def is_letter(self) -> bool:
        """True for a symbol with its subscripts, false for numbers, words, groups, quotients."""
        excluded = (
            self.inner
            or self.is_word
            or self.is_prefix
            or self.is_call
            or self.latex in (r"\cdot", r"\dots")
        )
        return not excluded and bool(
            re.fullmatch(r"(?:\\text\{d\})?(?:[A-Za-z]|\\[a-z]+)(?:_\{[^{}]*\})?", self.latex)
        )


def number(text: str) -> str:
    """A number; 1e-8 as a power of ten.

    >>> print(number("1e-8"), number("2e5"), number("0.9"))
    10^{-8} 2\\cdot 10^{5} 0.9
    """
    digits, _, exponent = text.partition("e")
    if not exponent:
        return digits
    power = f"10^{{{exponent}}}"
    return power if digits == "1" else rf"{digits}\cdot {power}"


def fenced(opening: str, inner: str, closing: str) -> str:
    """An expression in brackets, which grow with what they hold."""
    opening, closing = (rf"\{b}" if b in "{}" else b for b in (opening, closing))
    tall = re.search(r"\\(frac|sum|prod|int)", inner)
    return rf"\left{opening} {inner} \right{closing}" if tall else f"{opening}{inner}{closing}"


def side_by_side(factors: Sequence[Node]) -> str:
    """Factors with the space between them that a reader expects: words apart, letters together."""
    result = ""
    words: list[str] = []
    previous: Node | None = None
    for node in _with_articles(factors):
        text = re.fullmatch(r"\\text\{([^{}]*)\}", node.latex) if node.is_word else None
        if text:
            words.append(text[1])
            if len(words) > 1:
                result = result[: result.rindex(r"\text{")] + rf"\text{{{' '.join(words)}}}"
                continue
        else:
            words = []
        result += _space(previous, node) + node.latex
        previous = node
    return result


def _with_articles(factors: Sequence[Node]) -> list[Node]:
    """The factors, in which an a between two words is a word: "without a skip"."""
    nodes = list(factors)
    for index in range(1, len(nodes) - 1):
        if nodes[index].latex == "a" and nodes[index - 1].is_word and nodes[index + 1].is_word:
            nodes[index] = Node(r"\text{a}", is_word=True)
    return nodes


def _space(previous: Node | None, node: Node) -> str:
    if previous is None:
        return ""
    if previous.is_word or (node.is_word and not previous.is_prefix):
        return r"\;"
    gradient = any(
        len(n.latex) > len(DIFFERENTIAL) and n.latex.startswith(DIFFERENTIAL)
        for n in (previous, node)
    )
    function = previous.is_prefix or node.is_prefix or previous.is_call or node.is_call
    apart = function or node.is_word or node.inner or gradient
    return r"\," if apart else " "
