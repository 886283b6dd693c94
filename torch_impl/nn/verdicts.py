"""Verdicts on values: read at once by default, or all of them together with the loss.

To read one number of a CUDA tensor, the host waits for the device. A check of values computes its
verdict as a few numbers on the device and passes them to `apply_check`, which reads them and raises
an error. In the context of `deferred` it does not read them, so that a training step downloads them
with its loss terms in one transfer:

    with deferred() as pending:
        loss = model.loss(x, noise)
    values = pending.tensor(*loss).tolist()
    pending.raise_for(values[len(loss):])

What is computed before the verdicts are read is computed from values that may be wrong: a NaN stays
a NaN, and `checks.safe_tokens` keeps an index in range.

Shapes: a verdict is made of numbers, tensors of the shape of a loss term, ().
Source: own design. The left panel has no device to wait for, and no such file.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

Check = Callable[..., None]
"""A function of the numbers of a verdict that raises ValueError for a wrong value."""


class Verdicts:
    """The verdicts of checks that no one has read yet, in the order of the checks."""

    def __init__(self) -> None:
        self._numbers: list[Tensor] = []
        self._checks: list[tuple[Check, int]] = []

    def add(self, check: Check, *numbers: Tensor) -> None:
        """Keep the numbers of one verdict for `check`, which reads them."""
        self._numbers.extend(numbers)
        self._checks.append((check, len(numbers)))

    def tensor(self, *numbers: Tensor) -> Tensor:
        """`numbers`, and the numbers of all verdicts after them, as one float64 tensor.

        Nothing is read. All are on one device. An integer above 2^53 is rounded.
        Shapes: each of `numbers` () -> (len(numbers) + V,), V the numbers of the verdicts.
        """
        scalars = [*numbers, *self._numbers]
        if not scalars:
            return torch.empty(0, dtype=torch.float64)
        with torch.no_grad():
            if len({scalar.dtype for scalar in scalars}) > 1:
                scalars = [scalar.double() for scalar in scalars]
            return torch.stack(scalars).double()  # one kernel, as all have one dtype

    def raise_for(self, values: Sequence[float]) -> None:
        """Raise the ValueError of the first check that fails; `values` are the verdicts' numbers.

        Without an error it may be called again, with the numbers of another step that made the
        same checks.
        """
        start = 0
        for check, count in self._checks:
            check(*values[start : start + count])
            start += count


class _Thread(threading.local):
    """The verdicts of the innermost context of `deferred` in this thread, or None."""

    def __init__(self) -> None:
        self.pending: Verdicts | None = None


_THREAD = _Thread()


@contextlib.contextmanager
def deferred() -> Iterator[Verdicts]:
    """Context in which the checks of this thread add their verdicts to the result, and read none.

    In a nested context the verdicts are of the inner one alone.
    """
    before = _THREAD.pending
    _THREAD.pending = pending = Verdicts()
    try:
        yield pending
    finally:
        _THREAD.pending = before


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Context whose checks are read at its end in one transfer, unless they are deferred."""
    if is_deferred() or torch.compiler.is_compiling():
        yield
        return
    with deferred() as pending:
        yield
    pending.raise_for(pending.tensor().tolist())


def is_deferred() -> bool:
    """True in the context of `deferred`."""
    return _THREAD.pending is not None


def apply_check(check: Check, *numbers: Tensor) -> None:
    """Call check(*numbers) with the numbers as Python's, at once or when they are read.

    A compiled function does it only in the context of `deferred`, because reading a number would
    break its graph.
    Shapes: `numbers` () each, of one dtype.
    """
    if _THREAD.pending is not None:
        _THREAD.pending.add(check, *numbers)
    elif not torch.compiler.is_compiling():
        check(*torch.stack(numbers).tolist())
