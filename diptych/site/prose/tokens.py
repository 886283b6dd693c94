"""Tokens of the docstrings' equations."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PATTERNS = (
    ("number", r"\d+(?:\.\d+)?(?:e-?\d+)?(?![A-Za-z])|\d+(?:\.\d+)?"),
    ("dots", r"\.\.\.|…"),
    ("name", r"d?log_(?:sigma|det)|[^\W\d_ᵀ]+(?:\.[^\W\d_ᵀ]+)*\d*"),
    ("script", r"\^(?!\s)|_(?=[\w{<(*])"),
    ("prime", r"['ᵀ]"),
    ("op", r"<-|->|<=|>=|!=|\+=|\|\||>>|[-+*/@=~<>|,;:.^!≤≥×?#%]"),
    ("open", r"[(\[{]"),
    ("close", r"[)\]}]"),
)
_TOKEN = re.compile(r"\s*(?:" + "|".join(f"(?P<{kind}>{p})" for kind, p in _PATTERNS) + ")")


class NotationError(ValueError):
    """Raised for a text that is no equation in the docstrings' notation."""


@dataclass(frozen=True)
class Token:
    """A token, its kind, and whether white space stands on either side of it."""

    kind: str
    text: str
    space_before: bool = True
    space_after: bool = True


def tokens(text: str) -> list[Token]:
    """Cut an equation into tokens, the last of which is the end.

    >>> [t.text for t in tokens("h_{t-1} = 2 x^2")]
    ['h', '_', '{', 't', '-', '1', '}', '=', '2', 'x', '^', '2', '']
    """
    result: list[Token] = []
    text = text.rstrip()
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            raise NotationError(f"equation: got {text!r}, with no token at {text[position:]!r}")
        start, position = match.start(match.lastgroup), match.end()
        before = start == 0 or text[start - 1].isspace()
        after = position == len(text) or text[position].isspace()
        result.append(Token(match.lastgroup, match[match.lastgroup], before, after))
    return [*result, Token("end", "")]


class Cursor:
    """A position in a list of tokens."""

    def __init__(self, text: str) -> None:
        self.tokens = tokens(text)
        self.position = 0

    @property
    def token(self) -> Token:
        """The next token."""
        return self.peek(0)

    def take(self) -> Token:
        """Return the next token, and move past it."""
        token = self.token
        self.position += 1
        return token

    def peek(self, ahead: int) -> Token:
        """The token `ahead` places after the next; -1 is the one that was taken last."""
        return self.tokens[max(0, min(self.position + ahead, len(self.tokens) - 1))]

    def expect(self, texts: str, opening: str) -> str:
        """Take a closing bracket.   Raises: NotationError for any other token."""
        token = self.take()
        if not token.text or token.text not in texts:
            raise NotationError(f"equation: got {opening!r} without its partner")
        return token.text
