"""The docstrings' equations as LaTeX, by recursive descent.

    expression  products, between relations, commas and the operators + - |
    product     factors side by side; a quotient takes one factor on either side
    factor      atom with its subscripts, superscripts, arguments
    atom        number, name, word, sum, (group), [list], |norm|, <inner product>

A word of several letters that names no symbol is set upright, so a remark within an equation reads
as text. White space decides where a sign has two meanings: |v| is a norm, z|x and x | z conditions.
"""

from __future__ import annotations

from diptych.site.prose.factors import Factors
from diptych.site.prose.names import OPERATORS, RELATIONS
from diptych.site.prose.spacing import DIFFERENTIAL, Node, side_by_side
from diptych.site.prose.tokens import NotationError


class Parser(Factors):
    """Parse one equation; `block` equations have built-up fractions."""

    def equation(self) -> str:
        """The whole text.   Raises: NotationError for a bracket without its partner."""
        latex = self.expression("")
        if self.token.kind != "end":
            raise NotationError(f"equation: got {self.token.text!r} without its partner")
        return latex

    def expression(self, stop: str) -> str:
        """Products and what stands between them, up to a closing bracket or the token `stop`."""
        parts: list[str] = []
        takes_operand = True
        while not self._ends(stop):
            text = self.token.text
            if takes_operand and text in ("+", "-", "*"):
                self.take()
                operand, takes_operand = self._product(stop)
                parts.append(f"{{{text}{operand}}}")
            elif self._begins_a_factor(takes_operand=takes_operand):
                product, takes_operand = self._product(stop)
                parts.append(product)
            elif text == "/":
                raise NotationError("equation: got a quotient without a numerator")
            else:
                parts.append(self._operator())
                takes_operand = True
        return " ".join(parts)

    def _ends(self, stop: str) -> bool:
        token = self.token
        if token.kind in ("end", "close"):
            return True
        return token.text == stop and not (token.space_before and token.space_after)

    def _operator(self) -> str:
        text = self.take().text
        if text in (",", ";"):
            if self.depth or self.scripts:
                return text
            return r"\qquad" if text == ";" or self.token.kind == "end" else r",\;"
        if text in RELATIONS:
            return RELATIONS[text]
        if text in OPERATORS:
            return OPERATORS[text]
        if text in (".", "?"):
            return text
        raise NotationError(f"equation: got {text!r}, which is no operator")

    def _begins_a_factor(self, *, takes_operand: bool) -> bool:
        """True for a name, number or bracket; a bar or < opens only where its space says so."""
        token = self.token
        if token.text in ("|", "||"):
            return not token.space_after and (takes_operand or token.space_before)
        if token.text == "<":
            return not token.space_after and (takes_operand or token.space_before)
        return token.kind not in ("op", "close", "end")

    # --- products --------------------------------------------------------------------------------
    def _product(self, stop: str) -> tuple[str, bool]:
        """Factors side by side; and True if the last is a sum or function without its operand."""
        factors: list[Node] = []
        while not self._ends(stop):
            text = self.token.text
            if text == "/" and factors:
                self.take()
                self._divide(factors, stop)
            elif text == "*" and factors:
                self.take()
                factors.append(Node(r"\cdot"))
            elif self._begins_a_factor(takes_operand=not factors):
                factors.append(self.factor())
            else:
                break
        return side_by_side(factors), bool(factors) and factors[-1].is_prefix

    def _divide(self, factors: list[Node], stop: str) -> None:
        """Replace the numerator at the end of `factors` by its quotient with what follows.

        The numerator is one factor, or several letters, or all of d log q in d log q / dmu.
        """
        start = len(factors) - 1
        latex = [f.latex for f in factors]
        if DIFFERENTIAL in latex:
            start = latex.index(DIFFERENTIAL)
        while self.block and factors[start].is_letter and start and factors[start - 1].is_letter:
            start -= 1
        above, factors[start:] = factors[start:], []
        below = [self.factor()]
        while (below[-1].is_prefix or below[-1].latex == DIFFERENTIAL) and not self._ends(stop):
            below.append(self.factor())
        is_number = all(f.latex.isdigit() for f in (*above, *below))
        if self.scripts or not (self.block or is_number):
            factors.append(Node(f"{side_by_side(above)}/{side_by_side(below)}"))
            return
        texts = [side_by_side(part) if len(part) > 1 else part[0].bare for part in (above, below)]
        factors.append(Node(rf"\frac{{{texts[0]}}}{{{texts[1]}}}"))
