"""Atoms of a sentence: words, names of code, and what formulas are made of."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from diptych.site.prose.names import BIG, FUNCTIONS, GREEK, OPERATORS, RELATIONS, WORD_FUNCTIONS

CODE = re.compile(
    r"[A-Za-z]\w*(?:\.[A-Za-z]\w*)+(?:\(\))?"  # config.samples, torch.nn.Linear
    r"|(?:[A-Za-z_]\w*/)+\w+\.\w+"  # numpy_ref/lstm.py
    r"|\w+\(\)|\w+Error|[A-Za-z]{2,}\w*_\w+|__\w+__|[A-Za-z]\w+\[\d\]"
    r"|[A-Z][a-z]+\([\d\"]\S*"  # Key(0)
)
_CALLEES = {*FUNCTIONS, *GREEK, *WORD_FUNCTIONS, "KL", "Beta", "Bernoulli", "mean", "std", "sqrt"}
_CALLEES |= {"floor", "ceil", "round", "digamma", "forward", "inverse", "skip", "branch", "block"}
_WORDS = {*FUNCTIONS, *BIG, "std", "logvar", "var", "softmax", "logits", "sqrt"}
"""words that belong to a formula beside one of its symbols, and are words elsewhere"""
_SIZES = {"OH", "OW", "kH", "kW"}
_GREEK = "|".join(GREEK)
_SYMBOL = re.compile(
    rf"d?(?:[A-Za-z]|{_GREEK})\d*'?(?:_(?:\{{[^}}]*\}}|<?=?\w+))?(?:\^\S+)?'?ᵀ?"
    r"|\d+(?:\.\d+)?(?:e-?\d+)?\^\S+"
    rf"|(?:{'|'.join(FUNCTIONS)}|sigmoid|softmax|std|logits)(?:\^\S+|'|_\w)"
)
_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e-?\d+)?|\.\.\.")
_QUOTIENT = re.compile(rf"d [a-z]+ / d [a-z]+|d\w*/d(?:[a-z]|{_GREEK})(?:_\w+)?")
_CALL = re.compile(r"(?P<name>[A-Za-z][\w']*(?:\^\S+?)?)[(\[]")
_WORD = re.compile(r"\S+?(?=[.,;:!?)\]]*(?:\s|$)|[()\[\]|])|\S")
_SIGN = re.compile(r"<-|->|<=|>=|!=|\+=|\|\||>>|[-+*/@=~<>×|](?=\s)|-(?=[\w(|])")
_SCRIPTS = re.compile(r"'?(?:[_^](?:\{[^}]*\}|-?[\w<]+))*")
_PARTNERS = {"(": ")", "[": "]", "|": "|", "<": ">", "{": "}"}
_ENGLISH = {"do", "de"}
"""words that read like the gradient of a letter"""


@dataclass(frozen=True)
class Atom:
    """A part of a text; kind: formula, letter, number, function, operator, code or word."""

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
        end, kind = _known(text, position) or _bracketed(text, position, is_formula) or (0, "")
        if not end:
            match = _WORD.match(text, position)
            assert match is not None
            end, kind = match.end(), _kind(text, position, match[0])
        yield Atom(position, end, kind, text[position:end])
        position = end


def _known(text: str, start: int) -> tuple[int, str] | None:
    """Dots, a quotient of differentials, or a sign."""
    if text.startswith("...", start):
        return start + 3, "number"
    if match := _QUOTIENT.match(text, start):
        return match.end(), "formula"
    if match := _SIGN.match(text, start):
        return match.end(), "operator"
    return None


def _bracketed(text: str, start: int, is_formula: Callable[[str], bool]) -> tuple[int, str] | None:
    """A bracket with a formula in it, or a function with its argument."""
    if text[start] in _PARTNERS and (end := _group_end(text, start)):
        parts = text[start + 1 : end - 1].removesuffix(",").split(",")
        sizes = text[start] != "(" or len(parts) > 1 or not parts[0].strip().isdigit()
        if sizes and all(_NUMBER.fullmatch(p.strip()) or is_formula(p.strip()) for p in parts):
            return _scripts_end(text, end), "formula"
        return start + 1, "word"
    match = _CALL.match(text, start)
    end = _group_end(text, match.end() - 1) if match else 0
    if match and end - match.end() > 1:
        name = re.split(r"[_^']", match["name"])[0]
        if len(name) == 1 or name in _CALLEES or (name[0] == "d" and len(name) == 2):
            return _scripts_end(text, end), "formula"
    return None


def _kind(text: str, start: int, word: str) -> str:
    article = word in ("a", "A", "I") and word != text.strip()
    if article and not _is_beside_sign(text[:start], text[start + 1 :]):
        return "word"
    if word in _SIZES or re.fullmatch(r"[A-Za-z]", word):
        return "letter"
    if _NUMBER.fullmatch(word):
        return "number"
    if word in _WORDS:
        return "function"
    if _SYMBOL.fullmatch(word) and word not in _ENGLISH:
        return "formula"
    return "code" if CODE.fullmatch(word) else "word"


def _is_beside_sign(before: str, after: str) -> bool:
    """True if a sign of a formula stands before or after: "A + B", not "-> a"."""
    signs = tuple({*RELATIONS, *OPERATORS} - {":", "->"})
    return before.rstrip().endswith(signs) or after.lstrip().startswith(signs)


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
    match = _SCRIPTS.match(text, end)
    return match.end() if match else end
