"""Panels whose loss runs over consecutive windows and carries the state, as training does.

A state that is carried over wrongly shows only in the second window: in its loss, or in a gradient
that leaves it through the state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from torch import nn

from model_specs.common.key import Key
from numpy_ref.nn.module import Module


class WindowsLoss(NamedTuple):
    """Terms of the loss over several windows."""

    total: Any  # sum of the totals of all windows
    windows: tuple[Any, ...]  # the loss of each window, with its last state


class NumpyWindows(Module):
    """The left panel over several windows. Right panel: TorchWindows"""

    def __init__(self, model: Any) -> None:
        self.model = model

    def draw_noise(self, key: Key, batch_size: int, *, windows: int) -> list[Any]:
        """The noise of each window."""
        return [self.model.draw_noise(key.fold_in(i), batch_size) for i in range(windows)]

    def loss(self, batch: list[Any], noise: list[Any]) -> tuple[WindowsLoss, Callable[[], None]]:
        """The loss terms of all windows; `backward` runs from the last window to the first."""
        losses: list[Any] = []
        backwards: list[Callable[[], None]] = []
        for window, window_noise in _windows(batch, noise, losses):
            terms, backward = _untraced_loss(self.model, window, window_noise)
            losses.append(terms)
            backwards.append(backward)

        def run_backwards() -> None:
            for backward in reversed(backwards):
                backward()

        return WindowsLoss(sum(terms.total for terms in losses), tuple(losses)), run_backwards


class TorchWindows(nn.Module):
    """The right panel over several windows. Left panel: NumpyWindows"""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def draw_noise(self, key: Key, batch_size: int, *, windows: int) -> list[Any]:
        """The noise of each window."""
        return [self.model.draw_noise(key.fold_in(i), batch_size) for i in range(windows)]

    def loss(self, batch: list[Any], noise: list[Any]) -> WindowsLoss:
        """The loss terms of all windows."""
        losses: list[Any] = []
        for window, window_noise in _windows(batch, noise, losses):
            losses.append(_untraced_loss(self.model, window, window_noise))
        return WindowsLoss(sum(terms.total for terms in losses), tuple(losses))


def _windows(batch: list[Any], noise: list[Any], losses: list[Any]) -> Iterator[tuple[Any, Any]]:
    """(window, noise): each window but the first starts in the last state of the one before."""
    for window, window_noise in zip(batch, noise, strict=True):
        yield window._replace(state=losses[-1].state) if losses else window, window_noise


def _untraced_loss(model: Any, batch: Any, noise: Any) -> Any:
    """The model's loss without a call of its own in a trace.

    The left's `backward` takes no cotangent, so such a call would have no gradient to compare. Its
    terms are outputs of the loss over all windows.
    """
    return type(model).loss(model, batch, noise)
