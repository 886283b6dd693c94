"""Show code of the panels in a notebook, read from its source when the cell runs."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from typing import Any

from IPython.display import HTML, Markdown, display

from diptych.site.books.quoting import check_marks, holds, location, name_of, table


def beside(left: Callable[..., Any], right: Callable[..., Any] | str, *marks: str) -> None:
    """Show the code of a function of the left panel beside its twin of the right.

        beside(numpy_mlp_vae.MLPVAE.encode, torch_mlp_vae.MLPVAE.encode)
        beside(functional.gaussian_kl, torch_functional.gaussian_kl, "excess =", "kl =")
        beside(functional.linear, "F.linear(x, W, b)")

    Statements are aligned as on the study pages, and docstrings are left out. With marks, only the
    statements of either panel that contain one are shown, each with its twin; of a vjp, only the
    lines that contain one. `right` is a text if torch supplies the function: the call.

    Raises: LookupError for marks that neither panel contains.
    """
    display(HTML(table(left, right, *marks)))


def quote(function: Callable[..., Any], *marks: str) -> None:
    """Show the code of a function that has no twin, or only its lines that contain a mark.

    Raises: LookupError for marks that the code does not contain.
    """
    lines = textwrap.dedent(inspect.getsource(function)).splitlines()
    check_marks(marks, lines, name_of(function))
    kept = [line for line in lines if not marks or holds(line, marks)]
    text = textwrap.dedent("\n".join(kept))
    display(Markdown(f"{location(function)}\n\n```python\n{text}\n```"))
