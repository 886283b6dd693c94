r"""Rules that cut text into tokens, the same for a corpus and for a prompt.

    marks:   each match of <unk>|<eos>|\w+(?:'\w+)*|[^\w\s] in the lower-case line
    blanks:  each stretch of a line between blanks, as it is

A newline is the token <eos>, unless the line already ends with one. With the rule marks an empty
line has no <eos>; with the rule blanks every line has one, as in word_language_model and awd-lstm.
"""

from __future__ import annotations

import re
from collections.abc import Container
from itertools import chain
from typing import Literal

Unit = Literal["words", "characters"]
Rule = Literal["marks", "blanks"]

EOS, UNK = "<eos>", "<unk>"
LOOK = 2**22

_WORD = re.compile(rf"{EOS}|{UNK}|\w+(?:'\w+)*|[^\w\s]", re.IGNORECASE)
_NEWLINE_FIRST = re.compile(r"\s*\n")
_SEPARATE = re.compile(r"(?:^|\s)[.,](?=\s|$)", re.MULTILINE)
_ATTACHED = re.compile(r"\w[.,](?=\s|$)", re.MULTILINE)
_TOKENISED = re.compile(rf"(?:^|\s)(?:{UNK}|{EOS}|@[-,.]@|-[lr]rb-)(?=\s|$)", re.IGNORECASE)


def cut_words(text: str) -> list[str]:
    r"""Split `text` into lower-case words and punctuation marks; <eos> and <unk> stay whole.

    A token is a match of <eos>|<unk>|\w+(?:'\w+)*|[^\w\s]: "Don't go, he said" -> don't go , he
    said
    """
    return _WORD.findall(text.lower())


def cut_line(line: str, rule: Rule) -> list[str]:
    """Split a whole line without its newline, and append its <eos>."""
    return _with_eos(line.split() if rule == "blanks" else cut_words(line), rule)


def cut_prompt(text: str, rule: Rule, known: Container[str]) -> list[str]:
    """Split the beginning of a text, whose last line goes on, as `cut_line` splits a corpus.

    A chunk between blanks that is not `known` is split into words and marks in lower case; with the
    rule blanks, those that are known keep their case. With the rule marks, newlines in front are
    one <eos>, so that a prompt can begin with a new line.
    """
    *lines, last = (_known_words(line, rule, known) for line in text.split("\n"))
    begins = [EOS] if rule == "marks" and _NEWLINE_FIRST.match(text) else []
    return [*begins, *chain.from_iterable(_with_eos(line, rule) for line in lines), *last]


def is_tokenised(text: str) -> bool:
    """Return True if a tokeniser seems to have written `text`, by its first `LOOK` characters.

    Its signs: <unk>, <eos>, @-@ or -LRB- between blanks, or at least 20 commas and full stops
    between blanks that are 95 % or more of those at the end of a word.
    """
    text = text[:LOOK]
    if _TOKENISED.search(text):
        return True
    separate, attached = len(_SEPARATE.findall(text)), len(_ATTACHED.findall(text))
    return separate >= 20 and separate >= 0.95 * (separate + attached)


def _with_eos(words: list[str], rule: Rule) -> list[str]:
    needed = (words or rule == "blanks") and words[-1:] != [EOS]
    return [*words, EOS] if needed else words


def _known_words(line: str, rule: Rule, known: Container[str]) -> list[str]:
    tokens: list[str] = []
    for chunk in line.split():
        if chunk in known:
            tokens.append(chunk)
        elif rule == "marks":
            tokens += cut_words(chunk)
        else:
            pieces = _WORD.findall(chunk)
            tokens += [piece if piece in known else piece.lower() for piece in pieces]
    return tokens
