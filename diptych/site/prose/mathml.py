"""Formulas in LaTeX as MathML that browsers set well.

latex2mathml makes the MathML. Browsers implement MathML Core, which has no script, double-struck or
monospaced letters and no alignment of cells by attribute, and sets no space after the name of a
function: all of these are repaired here.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from latex2mathml.converter import convert
from markupsafe import Markup

NAMESPACE = ' xmlns="http://www.w3.org/1998/Math/MathML"'
LETTERS = {"script": 0x1D49C, "double-struck": 0x1D538}
"""The first capital of an alphabet in Unicode's mathematical letters."""
OLDER = {"script": dict(zip("BEFHILMR", "ℬℰℱℋℐℒℳℛ", strict=True))}
OLDER["double-struck"] = dict(zip("CHNPQRZ", "ℂℍℕℙℚℝℤ", strict=True))
"""The letters that Unicode had before it had the alphabets."""
BOLD_ZERO = 0x1D7CE
LONG = 9
"""Parts of a formula that may stand on one line."""
RELATIONS = "=<>≤≥≈∼→⇒⟹+−"
ROWS = ("math", "mrow", "mtd", "mstyle", "mpadded")
TERMS = ("mi", "mn", "msub", "msup", "msubsup", "mfrac", "mover", "mrow", "mstyle", "msqrt")


def mathml(latex: str, display: str = "inline") -> Markup:
    """MathML of a formula; `display` is "inline" or "block".

    Raises: ValueError that names a command which the library does not know: it would stay on the
    page as text.
    """
    return Markup().join(math_elements(latex, display))


@cache
def math_elements(latex: str, display: str = "inline") -> tuple[Markup, ...]:
    """The <math> elements of a formula: a line may break between those of an inline one."""
    text = convert(latex.replace("{aligned}", "{align*}"), display=display)
    root = ElementTree.fromstring(text.replace(NAMESPACE, "", 1))
    for element in list(root.iter()):
        if (element.text or "").startswith("\\"):
            raise ValueError(f"latex: got {latex!r} with {element.text}, which has no MathML")
        _join_letters(element)
        _set_letter(element)
        _set_signs(element)
        _align_cell(element)
    for element in list(root.iter()):
        _space_names(element)
    roots = _cut(root) if display == "inline" else [root]
    html = (ElementTree.tostring(part, encoding="unicode") for part in roots)
    return tuple(Markup(part.replace(" />", "/>")) for part in html)


def _cut(root: Element) -> list[Element]:
    """A long formula in parts, before its relations and its sums outside of brackets."""
    row = root[0] if len(root) == 1 and root[0].tag == "mrow" else root
    if len(row) <= LONG:
        return [root]
    parts, depth = [Element("math", root.attrib)], 0
    for child in row:
        sign = (child.tag == "mo" and child.text) or "?"
        depth += (sign in "([{") - (sign in ")]}")
        before = parts[-1][-1] if len(parts[-1]) else child
        if sign in RELATIONS and not depth and (before.text or "?") not in RELATIONS:
            parts.append(Element("math", root.attrib))
            child.set("form", "infix")  # or it would have no space before it
        parts[-1].append(child)
    return parts


def _join_letters(element: Element) -> None:
    """Neighbouring upright letters are one name, such as kl."""
    previous: Element | None = None
    for child in list(element):
        if child.tag == "mi" and child.get("mathvariant") == "normal":
            if previous is not None:
                previous.text = (previous.text or "") + (child.text or "")
                element.remove(child)
                continue
            previous = child
        else:
            previous = None


def _set_letter(element: Element) -> None:
    variant, text = element.get("mathvariant"), element.text or ""
    if variant in LETTERS and len(text) == 1 and text.isupper():
        letter = OLDER[variant].get(text) or chr(LETTERS[variant] + ord(text) - ord("A"))
        element.text = letter
    elif variant == "bold" and text.isdigit():
        element.text = "".join(chr(BOLD_ZERO + int(digit)) for digit in text)
    elif variant == "monospace":
        element.set("style", "font-family:monospace")
    elif variant != "normal" or len(text) < 2:  # a name of several letters is upright anyway
        return
    del element.attrib["mathvariant"]


def _set_signs(element: Element) -> None:
    """Set the space around bars, and signs that are letters or names for latex2mathml."""
    if element.tag == "mi" and element.text in (";", "~"):
        element.tag, element.text = "mo", element.text.replace("~", "∼")
    if element.tag != "mo":
        return
    if _is_name(element):
        element.tag = "mi"
    elif element.text == "|":
        element.attrib.update(lspace="0", rspace="0")
    elif element.text == "∣":
        element.attrib.update(lspace="0.2em", rspace="0.2em")
    elif element.text == "^":  # a hat, not the sign of a power
        element.text = "ˆ"
    elif element.text == "―":  # \overline
        element.text = "¯"
        element.set("stretchy", "true")


def _align_cell(element: Element) -> None:
    """Turn the alignment of a cell into a style, so that aligned equations meet at the sign."""
    side = element.attrib.pop("columnalign", None) if element.tag == "mtd" else None
    if side in ("left", "right"):
        element.set("style", f"text-align: {side}; padding-{side}: 0")


def _space_names(element: Element) -> None:
    """A thin space between the name of a function and what stands before and after it."""
    if element.tag not in ROWS:
        return
    if len(element) > 1 and element[0].tag == "mo" and element[0].text == "<":  # z_{<i}
        element[0].attrib.update(lspace="0", rspace="0")
    for before, after in pairwise(list(element)):
        if (_is_name(before) or _is_name(after)) and _is_term(before) and _is_term(after):
            space = Element("mspace", {"width": "0.167em"})
            element.insert(list(element).index(after), space)


def _is_term(element: Element) -> bool:
    """True for all but operators, parentheses and spaces."""
    return element.tag in TERMS and (element.text or "") not in ("⟨", "⟩")


def _is_name(element: Element) -> bool:
    """True for log, Var, tanh^2 and other names of functions."""
    if element.tag in ("msub", "msup", "msubsup", "munder"):
        element = element[0]
    text = element.text or ""
    return element.tag in ("mi", "mo") and len(text) > 1 and text.isascii() and text.isalpha()
