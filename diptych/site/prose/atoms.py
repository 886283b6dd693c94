"""Atoms of a sentence: words, names of code, and what formulas are made of."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from diptych.site.prose.names import BIG, FUNCTIONS, GREEK, WORD_FUNCTIONS

CODE = re.compile(
    r"[A-Za-z]\w*(?:\.[A-Za-z]\w*)+(?:\(\))?"  # config.samples, torch.nn.Linear
    r"|(?:[A-Za-z_]\w*/)+\w+\.\w+"  # numpy_ref/lstm.py
    r"|\w+\(\)|\w+Error|[A-Za-z]{2,}\w*_\w+|__\w+__|[A-Za-z]\w+\[\d\]"
    r"|[A-Z][a-z]+\([\d\"]\S*"  # Key(0)
)
_GREEK = "|".join(GREEK)
_INDEXED = "logits|mean|token|error|state|baseline|weight(?=_t)|values"
"""words that have an index in formulas; elsewhere word_x is a name of code"""
_FUNCTIONS = "|".join([*FUNCTIONS, *WORD_FUNCTIONS])
_BASE = re.compile(
    rf"(?P<formula>d(?:[A-Za-z]|{_GREEK}|logdet|logvar|std)|d?log_sigma|(?:{_GREEK})\d*"
    rf"|[A-Za-z]\d+)(?![A-Za-z\d])|(?P<power>\d+(?=\^)|int(?=_\d)"
    rf"|(?:{'|'.join(BIG)}|{_INDEXED})(?=_[a-z]\b|_\{{|_[a-z]{{2,5}}  ?\w+\[))"
    r"|(?P<letter>[A-Za-z]|OH|OW|kH|kW)(?![A-Za-z\d])"
    rf"|(?P<function>{_FUNCTIONS}|sum|prod|sqrt)(?![A-Za-z\d])"
    r"|(?P<name>std|logvar|var|mask|logits|logdet)(?![A-Za-z\d])"
    r"|(?P<callee>KL|Beta|Bernoulli|mean|floor|ceil|round|digamma|cross_entropy)(?=[(\[])"
)
"""what a formula may begin with; without symbols beside it a function or name is a word"""
_ARGUED = re.compile(r"[a-z]{2,}(?=[(\[][^\d\s)\]])")
"""any other function of a formula: layer(x), kl[n, g]"""
_NUMBER = re.compile(r"\d+/\d+(?!\w)|\d+/(?=[a-zA-Z(])|\d+(?:\.\d+)?(?:e-?\d+)?(?![\w^])|\.\.\.")
_QUOTIENT = re.compile(rf"d [a-z]+ / d [a-z]+|d\w*/d(?:[a-z]|{_GREEK})(?:_\w+)?")
_WORD = re.compile(r"\S+?(?=[.,;:!?)\]]*(?:\s|$)|[()\[\]|])|\S")
_SIGN = re.compile(r"<-|->|<=|>=|!=|\+=|\|\||>>|[-+*/@=~<>×|](?=\s)|[-+*](?=[\w(|\[])")
_JOINS = re.compile(r"[-+*/=~<>](?=\s)|<-|[<>]=|>>")
_SCRIPT = re.compile(r"['ᵀ]|[_^]-?(?:\{[^}]*\}|<?=?\w+|\|[^|]*\||(?=\())")
_SIZED = re.compile(r" \((?:\.\.\.|\d* ?[A-Z])")
_PARTNERS = {"(": ")", "[": "]", "|": "|", "<": ">", "{": "}"}
_ENGLISH = {"do", "de", "the", "each", "its", "of", "and", "or"}
"""words that read like the gradient of a letter, or beside a sign like a name"""


@dataclass(frozen=True)
class Atom:
    """A part of a text; kind: formula, letter, number, function, name, operator, code or word."""

    start: int
    end: int
    kind: str
    text: str


def atoms(text: str, is_formula: Callable[[str], bool]) -> Iterator[Atom]:
    """The atoms of a text without the punctuation; `is_formula` judges what brackets hold."""
    position = 0
    while position < len(text):
        if text[position].isspace():
            position += 1
            continue
        end, kind = (
            _sign(text, position)
            or _bracket(text, position, is_formula)
            or _symbol(text, position, is_formula)
            or _word(text, position)
        )
        yield Atom(position, end, kind, text[position:end])
        position = end


def _sign(text: str, start: int) -> tuple[int, str] | None:
    """Dots, a quotient of differentials, a number, or a sign."""
    if match := _QUOTIENT.match(text, start):
        return match.end(), "formula"
    if match := _NUMBER.match(text, start):
        return match.end(), "number"
    if match := _SIGN.match(text, start):
        return match.end(), "operator"
    return None


def _bracket(text: str, start: int, is_formula: Callable[[str], bool]) -> tuple[int, str] | None:
    """A bracket with a formula in it: a tuple of sizes, an interval, a norm, a difference."""
    if text[start] not in _PARTNERS:
        return None
    end = _group_end(text, start)
    parts = [part.strip() for part in text[start + 1 : end - 1].removesuffix(",").split(",")]
    is_reference = text[start] == "(" and len(parts) == 1 and parts[0].isdigit()
    formulas = [bool(_NUMBER.fullmatch(part)) or is_formula(part) for part in parts]
    names = [part.isalpha() and part.islower() for part in parts]  # count in (count, H, W)
    is_tuple = any(formulas) and all(f or n for f, n in zip(formulas, names, strict=True))
    if not end or is_reference or not is_tuple:
        return start + 1, "word"
    return _scripts_end(text, end), "formula"


def _symbol(text: str, start: int, is_formula: Callable[[str], bool]) -> tuple[int, str] | None:
    """A symbol or function with its scripts and its arguments."""
    match = _BASE.match(text, start)
    if not match or match[0] in _ENGLISH:
        other = _ARGUED.match(text, start)
        argument = _bracket(text, other.end(), is_formula) if other else None
        return argument if argument and argument[1] == "formula" else None
    end = _scripts_end(text, match.end())
    if end < len(text) and text[end] in "([" and (group := _group_end(text, end)) > end + 2:
        return _scripts_end(text, group), "formula"
    if re.compile(r"[\w/(]|[.'][A-Za-z]").match(text, end):
        return None
    kind = match.lastgroup or ""
    if kind == "letter" and end == match.end() and _is_article(text, match[0], start, end):
        return end, "word"
    return end, "formula" if end > match.end() else kind


def _word(text: str, start: int) -> tuple[int, str]:
    """Any other word; beside a sign it is a name: error = ..., std^2 + var."""
    match = _WORD.match(text, start)
    assert match is not None
    end = match.end()
    if CODE.fullmatch(match[0]):
        return end, "code"
    after = text[end:].lstrip()
    before = text[:start].rstrip()
    joined = _JOINS.match(after) or (before and _JOINS.match(text[len(before) - 1 :]))
    is_name = match[0].isalpha() and match[0].islower() and match[0] not in _ENGLISH
    return end, "name" if is_name and joined else "word"


def _is_article(text: str, letter: str, start: int, end: int) -> bool:
    """True for a and A among words: "a mask", not "a + b", "a (B, H)"."""
    if letter not in ("a", "A") or letter == text.strip():
        return False
    before, after = text[:start].rstrip(), text[end:]
    beside = _JOINS.match(after.lstrip()) or (before and _JOINS.match(text[len(before) - 1 :]))
    return not beside and not _SIZED.match(after)


def _group_end(text: str, start: int) -> int:
    """The position after the partner of the bracket at `start`; 0 if it has none."""
    opening = text[start]
    if opening in "|<":
        end = text.find(_PARTNERS[opening], start + 1)
        return end + 1 if end > start + 1 and not text[start + 1].isspace() else 0
    depth = 0
    for position in range(start, len(text)):
        depth += (text[position] in "([{") - (text[position] in ")]}")
        if not depth:
            return position + 1
    return 0


def _scripts_end(text: str, end: int) -> int:
    """The position after the sub- and superscripts and primes at `end`."""
    while match := _SCRIPT.match(text, end):
        end = match.end()
        if match[0][-1] in "^-":
            end = _group_end(text, end) or end
            if text[end - 1] != ")":
                break
    return end
