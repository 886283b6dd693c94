"""Check the answer to an exercise by comparing it with its twin."""

from __future__ import annotations

import html
from typing import Any

from IPython.display import HTML, display

from diptych.parity import Report, compare, compare_functions
from numpy_ref.nn.module import Module

GREEN, RED = "#2c7a68", "#b3261e"


def check(answer: Any, twin: Any, *inputs: Any, **options: Any) -> Report:
    """Compare an answer with its twin in torch, and say in one line if and where they differ.

        check(softsign, F.softsign, x)          functions: y, vjp = softsign(x)
        check(left, right, batch, noise)        models

    The line is green, or it is red and names the first tensor that differs. `options` are those of
    `parity.compare`, and those of `parity.compare_functions` if `answer` is a function.
    """
    if isinstance(answer, Module):
        report = compare(answer, twin, *inputs, **options)
    else:
        report = compare_functions(answer, twin, inputs, **options)
    mark, name, color = ("✓", "good", GREEN) if report.ok else ("✗", "bad", RED)
    text = html.escape(report.verdict)
    display(HTML(f'<p class="verdict {name}" style="color: {color}"><b>{mark} {text}</b></p>'))
    return report
