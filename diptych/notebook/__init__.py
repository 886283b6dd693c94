"""Helpers of the notebooks: both panels' code side by side, figures, tables, checked exercises.

quoting.py    show code of the panels as it stands, aligned statement by statement
showing.py    show figures and tables
checking.py   compare the answer to an exercise with its twin in torch
"""

from diptych.notebook.checking import check
from diptych.notebook.quoting import beside, quote
from diptych.notebook.showing import axes, largest_error, show, step_curves, tabulate

__all__ = [
    "axes",
    "beside",
    "check",
    "largest_error",
    "quote",
    "show",
    "step_curves",
    "tabulate",
]
