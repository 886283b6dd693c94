"""A picture of a page, and the few helpers that write its SVG and its controls."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape


@dataclass(frozen=True)
class Picture:
    """A figure with a caption; `data` is written as JSON to the element `ID-data`."""

    id: str
    """unique on its page, such as "masks" """
    title: str
    caption: Markup
    """full sentences: what is drawn, how it was computed, what to look at"""
    html: Markup
    """inline SVG with its controls; readable without a script"""
    data: Any = None
    """what the scripts read, or None"""
    problem: str = ""
    """the error that kept it from being drawn, such as panels that differ"""


def failed_picture(id: str, error: Exception) -> Picture:
    """A picture that says in red why there is nothing to draw."""
    message = f"{type(error).__name__}: {error}"
    html = tag("p", message, class_="picture-failure", role="alert")
    caption = Markup("A check of this picture failed when the page was built.")
    return Picture(id, "A picture that could not be drawn", caption, html, problem=message)


def tag(element: str, /, *content: Any, **attributes: Any) -> Markup:
    """An element: tag("g", rows, class_="row", data_value=3). None and False leave one out."""
    parts = [element]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        name = key.rstrip("_").replace("_", "-")
        parts.append(name if value is True else f'{name}="{escape(_text(value))}"')
    inside = "".join(escape(_text(part)) for part in content)
    return Markup(f"<{' '.join(parts)}>{inside}</{element}>")


def svg(width: float, height: float, *content: Any, label: str, **attributes: Any) -> Markup:
    """An SVG of this size that shrinks with its column; `label` is read aloud.

    Within a `scroller` it shrinks to four fifths at most.
    """
    attributes = {"role": "img", "class_": "drawing"} | attributes
    box = f"0 0 {_text(width)} {_text(height)}"
    style = f"width:{_text(width)}px;--least:{0.8 * width:.0f}px"
    return tag("svg", *content, viewBox=box, style=style, aria_label=label, **attributes)


def text(x: float, y: float, content: Any, **attributes: Any) -> Markup:
    """A text element at (x, y)."""
    return tag("text", content, x=x, y=y, **attributes)


def rect(x: float, y: float, width: float, height: float, **attributes: Any) -> Markup:
    """A rectangle."""
    return tag("rect", x=x, y=y, width=width, height=height, **attributes)


def line(x1: float, y1: float, x2: float, y2: float, **attributes: Any) -> Markup:
    """A straight line."""
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, **attributes)


def path(d: str, **attributes: Any) -> Markup:
    """A path."""
    return tag("path", d=d, **attributes)


def join(parts: Iterable[Any], separator: str = "") -> Markup:
    """The parts, escaped where they are plain text, one after the other."""
    return Markup(separator).join(parts)


def switch(name: str, legend: str, choices: Sequence[tuple[str, Any]]) -> Markup:
    """Radio buttons (value, label), the first of them chosen; see `panels`."""
    buttons = (
        tag("label", _input("radio", name=name, value=value, checked=index == 0), label)
        for index, (value, label) in enumerate(choices)
    )
    return tag(
        "fieldset", tag("legend", legend), *buttons, class_="picture-switch", data_switch=name
    )


def slider(name: str, label: str, texts: Sequence[str], start: int = 0) -> Markup:
    """A range input over the places of `texts`; its script shows the text of the place."""
    control = _input(
        "range",
        name=name,
        min=0,
        max=len(texts) - 1,
        value=start,
        step=1,
        aria_valuetext=texts[start],
        data_texts="|".join(texts),
        autocomplete="off",
    )
    return tag(
        "label", tag("span", label), control, tag("output", texts[start]), class_="picture-slider"
    )


def panels(name: str, contents: Iterable[tuple[str, Any]]) -> Markup:
    """One element for each value of the switch `name`; all but the first are hidden."""
    return join(
        tag(
            "div",
            content,
            class_="picture-choice",
            data_switch_name=name,
            data_when=v,
            hidden=i > 0,
        )
        for i, (v, content) in enumerate(contents)
    )


def controls(*content: Any) -> Markup:
    """The row of controls above a drawing."""
    return tag("div", *content, class_="picture-controls")


def scroller(content: Any, label: str) -> Markup:
    """A box that scrolls sideways where the page is narrower than its content."""
    return tag("div", content, class_="picture-scroll", tabindex=0, role="group", aria_label=label)


def picture_text(words: Any, *, live: bool = False) -> Markup:
    """A sentence below a drawing; a `live` one changes with it, and the change is read aloud."""
    spoken = {"aria_live": "polite", "data_sentence": True} if live else {}
    return tag("p", words, class_="picture-note", **spoken)


def power_of_ten(value: float) -> Markup:
    """A number with one digit: 3 × 10<sup>−10</sup> for 2.8e-10."""
    if value == 0:
        return Markup("0")
    digit, _, exponent = f"{value:.0e}".partition("e")
    power = str(int(exponent)).replace("-", "−")
    return Markup("{} × 10<sup>{}</sup>").format(digit, power)


def _input(kind: str, **attributes: Any) -> Markup:
    element = tag("input", type=kind, **attributes)
    return Markup(element.removesuffix("</input>"))


def _text(value: Any) -> Any:
    """Numbers with two decimals at most; anything else is kept."""
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".") or "0"
    return value
