"""Sentences of a docstring: the formulas and the names of code within them.

A formula is a run of atoms that only mathematics has (a subscript, p(x|z), a Greek name, a tuple of
sizes) and of letters, numbers and signs between them. Whatever may be a word stays a word.
"""

from __future__ import annotations

import re

from markupsafe import Markup, escape

from diptych.site.prose.atoms import CODE, Atom, atoms
from diptych.site.prose.equations import latex
from diptych.site.prose.mathml import math_elements
from diptych.site.prose.tokens import NotationError

_TIMES = re.compile(r"(?<![\w^])(\d+|[A-Zk]|[Ok]H) x (\d+|[A-Zk]|[Ok]W)(?!\w)")
_SIGNS = (("->", "→"), ("<-", "←"), (">=", "≥"), ("<=", "≤"), (" - ", " − "))
_PUNCTUATION = re.compile(r"[.,;:)]*")
_LABELS = {"type", "types", "appendix", "estimator", "algorithm", "case"}
"""words before a letter that names a thing: mask type A, appendix C"""


def prose(text: str) -> Markup:
    """A text with `code` between backticks, names of code, and formulas as MathML."""
    result = Markup()
    for index, part in enumerate(re.split(r"(`+[^`]+`+)", " ".join(text.split()))):
        if index % 2:
            result += Markup("<code>{}</code>").format(part.strip("`"))
        elif part:
            result += _sentences(part)
    return result


def formulas(text: str) -> list[tuple[int, int]]:
    """Start and end of each formula of a text without backticks.

    >>> text = "Where l > 0, the mean of q(z|x) is a number."
    >>> [text[a:b] for a, b in formulas(text)]
    ['l > 0', 'q(z|x)']
    """
    result = []
    run: list[Atom] = []
    for atom in [*atoms(text, _is_formula), Atom(len(text), len(text), "word", "")]:
        is_word = atom.kind in ("word", "code")
        if is_word or (run and text[run[-1].end : atom.start].strip()):
            result += _accepted(text, run)
            run = []
        if not is_word:
            run.append(atom)
    return result


def _is_formula(text: str) -> bool:
    return bool(text) and formulas(text) == [(0, len(text))]


def _accepted(text: str, run: list[Atom]) -> list[tuple[int, int]]:
    """The run without signs and words at its ends, if the rest is a formula."""
    while run and (run[-1].kind in ("operator", "function") or _is_stray_name(run)):
        run = run[:-1]
    while run and run[0].kind == "operator" and not _is_sign_of_next(run):
        run = run[1:]
    kinds = {a.kind for a in run}
    if not kinds & {"formula", "letter"} and not kinds >= {"number", "operator", "name"}:
        return []
    start, end = run[0].start, run[-1].end
    before = text[:start].rsplit(maxsplit=1)[-1:]
    if len(run) == 1 and before and before[0] in _LABELS and run[0].text.isupper():
        return []
    try:
        latex(text[start:end], block=False)
    except NotationError:
        return []
    return [(start, end)]


def _is_stray_name(run: list[Atom]) -> bool:
    """True for a word at the end that no sign joins to the formula."""
    return run[-1].kind == "name" and (len(run) == 1 or run[-2].kind != "operator")


def _is_sign_of_next(run: list[Atom]) -> bool:
    return len(run) > 1 and run[0].end == run[1].start


def _sentences(text: str) -> Markup:
    text = _TIMES.sub(r"\1 × \2", text)
    result, position = Markup(), 0
    for start, end in formulas(text):
        result += _words(text[position:start])
        position = end + len(_PUNCTUATION.match(text, end)[0])  # type: ignore[index]
        *first, html = math_elements(latex(text[start:end], block=False))
        if position > end:  # no line may begin with the sign after a formula
            html = Markup('<span class="nobr">{}{}</span>').format(html, text[end:position])
        result += Markup().join(first) + html
    return result + _words(text[position:])


def _words(text: str) -> Markup:
    result, position = Markup(), 0
    for match in CODE.finditer(text):
        if match.start() and re.match(r"[\w./]", text[match.start() - 1]):
            continue
        result += _plain(text[position : match.start()])
        result += Markup("<code>{}</code>").format(match[0])
        position = match.end()
    return result + _plain(text[position:])


def _plain(text: str) -> Markup:
    for sign, symbol in _SIGNS:
        text = text.replace(sign, symbol)
    return escape(re.sub(r"(?<![\w.])-(?=\d)", "−", text))
