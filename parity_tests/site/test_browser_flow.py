"""The names that light up as computed from the name under the mouse."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.site_in_browser import Reader

FLOW = """side => [...new Set([...document.querySelectorAll(`${side} b.flow`)].map(
  (b) => b.closest(".ln").id + " " + b.textContent))]"""
REPLACED = """(lines) => {
  const code = document.querySelector('[id="lstm_cell"] .code');
  code.querySelector(".L").innerHTML = lines.split("\\n").map((line, k) =>
    `<span class="ln" id="L${k}"><code>${line.replace(/[a-z]\\w*/g, (word) =>
      ["for", "in", "if", "else", "zip"].includes(word) ? word : `<b data-n="${word}">${word}</b>`
    )}</code></span>`).join("\\n");
  for (const other of [...code.querySelectorAll(".g")].slice(1)) other.remove();
  code.querySelector(".R").replaceChildren();
}"""


def computed_from(tab: Any, line: int, name: str) -> set[str]:
    """The names that light up, each as "line name", when the mouse is on a name of a line."""
    tab.mouse.move(5, 5)
    tab.hover(f'[id="L{line}"] b[data-n="{name}"] >> nth=0')
    return {text.removeprefix("L") for text in tab.evaluate(FLOW, ".L")}


@pytest.mark.parametrize("side", [".L", ".R"])
def test_a_gate_lights_up_the_state_but_no_other_gate(reader: Reader, side: str) -> None:
    tab = reader.open("pages/lstm.html")
    for gate in "ifg":
        tab.hover(f'[id="lstm_cell"] {side} b[data-n="{gate}"] >> nth=0')
        for each in (".L", ".R"):
            names = {text.split()[1] for text in tab.evaluate(FLOW, each)}
            assert {"c", "h"} <= names
            assert not names & {"i", "f", "g", "o"}
    tab.hover(f'[id="lstm_cell"] {side} b[data-n="o"] >> nth=0')
    names = {text.split()[1] for text in tab.evaluate(FLOW, side)}
    assert "h" in names and "tanh_c" not in names


@pytest.mark.parametrize(
    ("lines", "line", "name", "expected"),
    [
        ("x, y = a, b\nu, v = x, y\nw = v", 0, "x", {"1 u"}),
        ("x, y = a\nu, v = f(x)\nw = v", 0, "x", {"1 u", "1 v", "2 v", "2 w"}),
        ("x = a\ny = x\ny = b\nz = y", 0, "x", {"1 y"}),
        ("x = a\nx = b\ny = x", 0, "x", set()),
        ("x = a\nx = b\ny = x", 1, "x", {"2 y"}),
        ("y = x\ny[0] = b\nz = y", 0, "y", {"2 z"}),
        ("x = a\nif c:\n    x = b\nelse:\n    x = d\ny = x", 0, "x", {"5 y"}),
        ("h = a\nfor t in n:\n    u = h\n    h = w\nw = h", 0, "h", {"2 u", "4 w"}),
        ("for t in n:\n    z = u\n    u = x\ny = z", 2, "u", {"1 z", "3 z", "3 y"}),
        ("x = a\ny = b\nfor u, v in zip(x, y):\n    w = u\n    z = v", 1, "y",
         {"2 v", "4 v", "4 z"}),
    ],
)  # fmt: skip
def test_only_what_is_computed_from_a_name_lights_up(
    reader: Reader, lines: str, line: int, name: str, expected: set[str]
) -> None:
    tab = reader.open("pages/lstm.html")
    tab.evaluate(REPLACED, lines)
    assert computed_from(tab, line, name) == expected
