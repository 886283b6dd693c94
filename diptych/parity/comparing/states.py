"""Compare parameters and buffers before the run, and which parameters are tied."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from diptych.options.options import Options
from diptych.parity.measures.rows import Row, compare_arrays
from diptych.parity.running.run import Run
from diptych.parity.running.trace import Arrays


def compare_states(
    left: Run, right: Run, options: Options, gradients: Arrays
) -> tuple[list[Row], list[str]]:
    """Rows of parameters and buffers, which must be equal; and notes on those that may be missing.

    A counter, such as `num_batches_tracked` of a batch normalisation, may be missing on one side;
    and so may a parameter of the right that got no gradient, if `allow_unused` says so.
    """
    rows: list[Row] = []
    missing: list[str] = []
    unused: list[str] = []
    for name, array in left.state.items():
        other = options.from_right(name, right.state)
        if other is None and array.dtype.kind in "iub":
            missing.append(f"{name} of the left")
        else:
            bound = options.bound_for(name)
            row = compare_arrays(name, "parameter", array, other, bound or 0.0, infinities="equal")
            rows.append(replace(row, loosened=bound is not None))
    for name in options.unmatched(left.state, right.state):
        if right.state[name].dtype.kind in "iub":
            missing.append(f"{name} of the right")
        elif name in right.parameters and name not in gradients and options.may_be_unused(name):
            unused.append(name)
        else:
            rows.append(compare_arrays(name, "parameter", None, right.state[name], 0.0))
    notes = []
    if missing:
        notes.append(f"counters {', '.join(missing)} (no counterpart of that name)")
    if unused:
        notes.append(f"{', '.join(unused)} of the right (unused)")
    return rows, notes


def tie_problems(left: Run, right: Run, options: Options) -> Iterator[tuple[str, str]]:
    """(parameter, problem) of parameters that are one on one side and several on the other."""
    names = {options.right_name(name): name for name in left.state}
    right_ties = [frozenset(names.get(name, name) for name in group) for group in right.ties]
    known = set(left.state)
    for groups, others, side in ((left.ties, right_ties, "left"), (right_ties, left.ties, "right")):
        for group in groups:
            if group <= known and not any(group <= other for other in others):
                for name in group:
                    tied = ", ".join(sorted(group - {name}))
                    yield name, f"tied to {tied} on the {side} only"
