"""Factors of an equation: a number, a name, a group or a norm, with its scripts and arguments."""

from __future__ import annotations

import re

from diptych.site.prose.names import (
    ACCENTS,
    BIG,
    BLACKBOARD,
    FENCES,
    FUNCTIONS,
    GREEK,
    QUANTITIES,
    RELATIONS,
    SYMBOLS,
    WORD_FUNCTIONS,
)
from diptych.site.prose.spacing import DIFFERENTIAL, Node, fenced, number
from diptych.site.prose.tokens import Cursor, NotationError

_CLOSING = {"(": ")]", "[": "])", "{": "}"}
_LETTER_AND_NUMBER = re.compile(r"([^\W\d]|hi|lo|" + "|".join(GREEK) + r")(\d+)")


class Factors(Cursor):
    """Parse one factor at the cursor."""

    def __init__(self, text: str, *, block: bool) -> None:
        super().__init__(text)
        self.block = block
        self.scripts = 0
        """depth of sub- and superscripts, in which quotients have a slash"""
        self.depth = 0
        """depth of brackets"""

    def expression(self, stop: str) -> str:
        """LaTeX of a list of products, up to a closing bracket or the token `stop`."""
        raise NotImplementedError

    def factor(self) -> Node:
        """An atom with what is attached to it."""
        token = self.token
        if token.kind == "open":
            return self._attach(self._group())
        if token.text in FENCES:
            return self._attach(self._between())
        if token.kind == "number":
            return self._attach(Node(number(self.take().text)))
        if token.kind == "dots":
            self.take()
            return Node(r"\dots")
        if token.kind == "name":
            return self._name()
        raise NotationError(f"equation: got {token.text!r} where a term should begin")

    def _group(self) -> Node:
        opening = self.take().text
        self.depth += 1
        inner = self.expression("")
        self.depth -= 1
        closing = self.expect(_CLOSING[opening], opening)
        return Node(fenced(opening, inner, closing), inner if opening + closing == "()" else "")

    def _between(self) -> Node:
        opening = self.take().text
        closing, left, right = FENCES[opening]
        self.depth += 1
        inner = self.expression(closing)
        self.depth -= 1
        self.expect(closing, opening)
        return Node(rf"\left{left} {inner} \right{right}")

    # --- names -----------------------------------------------------------------------------------
    def _name(self) -> Node:
        name = self.take().text
        if name in BIG:
            return Node(self._limits(BIG[name]), is_prefix=True)
        if (code := self._code_name(name)) != name:
            return self._attach(Node(rf"\texttt{{{code}}}", is_word=True))
        if name in FUNCTIONS or name in WORD_FUNCTIONS:
            latex = self._scripts(FUNCTIONS.get(name, rf"\text{{{name}}}"))
            if self._has_argument():
                return self._attach(Node(f"{latex}{self._group().latex}", is_call=True))
            return Node(latex, is_prefix=True)
        if self._has_argument() and name in (*ACCENTS, "floor", "ceil"):
            inner = self._group().bare
            floor = rf"\left\l{name} {inner} \right\r{name}"
            return self._attach(Node(f"{ACCENTS[name]}{{{inner}}}" if name in ACCENTS else floor))
        return self._attach(self._symbol(name))

    def _symbol(self, name: str) -> Node:
        """A name: a symbol, the gradient d of one, a letter with a number, code, or a word."""
        if not name.isidentifier() and "." not in name:
            raise NotationError(f"equation: got {name!r} where a name should be")
        if name in SYMBOLS:
            return Node(SYMBOLS[name])
        if len(name) == 1:
            return Node(self._letter(name))
        if match := _LETTER_AND_NUMBER.fullmatch(name):
            return Node(f"{self._symbol(match[1]).latex}_{{{match[2]}}}")
        rest = name[1:]
        if name[0] == "d" and (len(rest) == 1 or rest in SYMBOLS or rest in QUANTITIES):
            return Node(DIFFERENTIAL + self._symbol(rest).latex)
        if "." in name:
            return Node(rf"\texttt{{{name}}}", is_word=True)
        return Node(rf"\text{{{name}}}", is_word=True)

    def _letter(self, name: str) -> str:
        if name in BLACKBOARD and self._names_a_distribution():
            return BLACKBOARD[name]
        return DIFFERENTIAL if name == "d" and self._is_differential() else name

    def _has_argument(self, ahead: int = 0) -> bool:
        token = self.peek(ahead)
        return token.kind == "open" and token.text in "([" and not token.space_before

    def _names_a_distribution(self) -> bool:
        """True before the argument of E[x], E_q[x] or N(0, I); E[ids] is a row of a matrix E."""
        if self.token.text == "_":
            return self._has_argument(2)
        first = self.peek(1).text
        is_row = len(first) > 1 and first not in FUNCTIONS | SYMBOLS
        return self._has_argument() and not (self.peek(-1).text == "E" and is_row)

    def _is_differential(self) -> bool:
        """True for the d of d x / d y, not for an index d."""
        below = self.peek(-2).text == "/" and self.peek(-1).space_before
        if self.token.text == "log" or below:
            return True
        if not self.peek(-1).space_after:
            return self.token.text == "/" and self.peek(1).text.startswith("d")
        texts = [t.text for t in self.tokens[self.position :]]
        return "/" in texts and not {*RELATIONS, "+", "-"} & {*texts[: texts.index("/")]}

    def _code_name(self, name: str) -> str:
        """The whole of a name of code such as running_mean; c_prev is a letter with a subscript."""
        symbol = name.removeprefix("d") if len(name) > 1 else name
        if len(symbol) == 1 or symbol in BIG or symbol in SYMBOLS:
            return name
        while self.token.text == "_" and self.peek(1).kind == "name" and len(self.peek(1).text) > 1:
            self.take()
            name += f"_{self.take().text}"
        return name

    # --- what is attached ------------------------------------------------------------------------
    def _attach(self, node: Node) -> Node:
        """The node with its scripts, primes and bracketed arguments."""
        while True:
            latex = self._scripts(node.latex)
            if latex != node.latex:
                node = Node(latex, is_word=node.is_word, is_call=node.is_call)
            if not self._has_argument() or node.inner or node.latex[-1].isdigit():
                return node
            is_call = node.is_word or node.is_call
            node = Node(node.latex + self._group().latex, is_call=is_call)

    def _scripts(self, base: str) -> str:
        sub, sup, prime = "", "", ""
        while True:
            token = self.token
            if token.kind == "script":
                self.take()
                self.scripts += 1
                if token.text == "_":
                    sub += self._subscript()
                else:
                    sup += self._superscript(base)
                self.scripts -= 1
            elif token.text == "ᵀ":
                self.take()
                sup += r"\top"
            elif token.kind == "prime" and not token.space_before:
                self.take()
                prime += "′"
            else:
                break
        base += prime
        if (sub or sup) and (prime or (sub and re.search(r"_\{[^{}]*\}$", base))):
            base = f"{{{base}}}"
        return base + (f"_{{{sub}}}" if sub else "") + (f"^{{{sup}}}" if sup else "")

    def _subscript(self) -> str:
        token = self.token
        if token.text == "{":
            return self._braces()
        if token.text in ("<", "<="):
            return f"{RELATIONS[self.take().text]} {_index(self.take().text)}"
        index = _index(self.take().text)
        while self.token.kind == "name" and not self.token.space_before:  # the j of n_2j
            index += _index(self.take().text)
        return index

    def _superscript(self, base: str) -> str:
        sign = self.take().text if self.token.text in ("-", "+") else ""
        token = self.token
        if token.text == "{":
            return sign + self._braces()
        if token.text in FENCES:
            return sign + self._between().latex
        if token.text == "(":
            group = self._group()
            return sign + (group.latex if sign else group.bare)
        if token.kind == "number":
            exponent = number(self.take().text)
            while self.token.kind == "name" and not self.token.space_before:  # the n of 2^2n
                exponent += self.take().text
            return sign + exponent
        name = self._symbol(self.take().text).latex
        return sign + (self._scripts(name) if base == "e" else name)

    def _braces(self) -> str:
        self.take()
        inner = self.expression("")
        self.expect("}", "{")
        return inner

    def _limits(self, operator: str) -> str:
        """A sum, product or integral with its limits; sum_cij has the three indices c, i, j."""
        lower = upper = ""
        self.scripts += 1
        while self.token.kind == "script":
            sign = self.take().text
            if sign == "_" and self.token.kind == "name":
                lower = self._indices()
            elif sign == "_":
                lower = self._subscript()
            else:
                upper = self._superscript("")
        self.scripts -= 1
        place = r"\limits" if self.block and not self.scripts and operator != r"\int" else ""
        lower, upper = lower and f"_{{{lower}}}", upper and f"^{{{upper}}}"
        return operator + (place if lower or upper else "") + lower + upper

    def _indices(self) -> str:
        letters = self.take().text
        while self.token.kind in ("name", "prime") and not self.token.space_before:
            letters += self.take().text
        return ",".join(re.findall(r"\w'?", letters)).replace("'", "′")


def _index(text: str) -> str:
    """A subscript: single letters in italics, a word upright."""
    if text in SYMBOLS:
        return SYMBOLS[text]
    is_word = len(text) > 3 or not (text.isalpha() or text.isdigit())
    return rf"\text{{{text}}}" if is_word and len(text) > 1 else text
