"""Equations of docstrings as MathML.

Plain text is parsed (`parser`) to LaTeX, which `mathml` turns into MathML. An equation that
the plain notation cannot write stands between dollar signs in a raw docstring, as LaTeX.
"""

from __future__ import annotations

import re
from functools import cache

from markupsafe import Markup

from diptych.site.prose.mathml import math_elements
from diptych.site.prose.parser import Parser


@cache
def latex(text: str, *, block: bool = True) -> str:
    """LaTeX of an equation in plain text; in a sentence (not `block`) quotients have a slash.

    Raises: NotationError for what the notation does not have.

    >>> print(latex("KL(q(z|x) || p(z))"))
    \\text{KL}(q(z \\mid x) \\parallel p(z))
    """
    text = " ".join(text.split())
    if text.startswith("$") and text.endswith("$"):
        return text[1:-1]
    return Parser(text, block=block).equation()


def mathml(text: str, block: bool) -> Markup:
    """An equation in plain text, or LaTeX between dollar signs, as MathML."""
    display = "block" if block else "inline"
    return Markup().join(math_elements(latex(text, block=block), display))


def relation(text: str) -> list[int]:
    """Positions of the relation signs of an equation that stand outside of brackets.

    >>> relation("f[a = b] = c"), relation("a + b")
    ([9], [])
    """
    return _outside(text, r"(?<=\s)(?:<-|->|<=|>=|\+=|[=~<>])(?=\s)|^=(?=\s)")


def equations(text: str) -> list[str]:
    """The equations between the semicolons, and commas, outside of brackets.

    >>> equations("log N(x; mu, v) = y; z = 1, w = 2")
    ['log N(x; mu, v) = y', 'z = 1', 'w = 2']
    >>> equations("i, f = tanh(a), tanh(b)")
    ['i, f = tanh(a), tanh(b)']
    """
    result: list[str] = []
    ends = [*_outside(text, r"[;,]\s"), len(text)]
    for start, end in zip([0, *(end + 1 for end in ends)], ends, strict=False):
        part = text[start:end].strip()
        goes_on = bool(result) and not (relation(result[-1]) and relation(part))
        if goes_on and text[start - 1] == ",":
            result[-1] += f", {part}"
        else:
            result.append(part)
    return result


def _outside(text: str, pattern: str) -> list[int]:
    """Positions outside of brackets; none in LaTeX, which is one equation."""
    if text.startswith("$"):
        return []
    result, depth = [], 0
    for match in re.finditer(rf"[(\[{{]|[)\]}}]|{pattern}", text):
        if match[0] in "([{":
            depth += 1
        elif match[0] in ")]}":
            depth -= 1
        elif not depth:
            result.append(match.start())
    return result
