"""Name a value inside a function, so that a recording or a comparison sees it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Protocol


class Listener(Protocol):
    """Receives the values of `tap` and `tap_gradient` while it is registered."""

    def tap(self, name: str, value: Any) -> Any:
        """Record an output, and return it or an alias."""

    def tap_gradient(self, name: str, value: Any) -> Any:
        """Record the gradient of the output that was recorded last under this name."""


_listeners: list[Listener] = []


@contextlib.contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Register a listener inside the block."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def tap(name: str, y: Any) -> Any:
    """Record `y` under `name` where a comparison or a recording is open, and return it.

    With torch, the gradient of `y` is recorded as well. Everywhere else this does nothing.
    """
    for listener in _listeners:
        y = listener.tap(name, y)
    return y


def tap_gradient(name: str, dy: Any) -> Any:
    """Record the gradient of the value that `tap` recorded under `name`, and return it."""
    for listener in _listeners:
        dy = listener.tap_gradient(name, dy)
    return dy
