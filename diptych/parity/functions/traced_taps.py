"""Taps inside functions that HIPS autograd or jax differentiates.

There `tap` gets the framework's tracer instead of an array. While such a function runs, a listener
takes the place of the trace: it returns the identity of the tracer, which hands the value to the
trace when it is computed, and the gradient when that is.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from diptych.arrays import is_array
from diptych.parity.running.trace import _ACTIVE, tap_gradient

_jax_trace: Any = None
"""The trace that the callbacks of jax record in: a compiled function keeps its callbacks"""


def is_tracing() -> bool:
    """True while a comparison records what is computed."""
    return _ACTIVE.get() is not None


@contextlib.contextmanager
def autograd_taps() -> Iterator[None]:
    """Record the taps of a function that autograd traces, in the active trace."""
    with _listening(_autograd_identity()):
        yield


@contextlib.contextmanager
def jax_taps(jax: Any) -> Iterator[None]:
    """Record the taps of a function that jax runs or differentiates, in the active trace.

    A function that `jax.jit` compiled before has no taps.
    """
    global _jax_trace  # noqa: PLW0603
    before, _jax_trace = _jax_trace, _ACTIVE.get()
    try:
        with _listening(functools.partial(_jax_identity, jax)):
            yield
        jax.effects_barrier()
    finally:
        _jax_trace = before


class _Listener:
    """Stands for a trace while a framework runs a function."""

    def __init__(self, trace: Any, identity: Callable[[str, Any], Any]) -> None:
        self._trace, self._identity = trace, identity

    def tap(self, name: str, value: Any) -> Any:
        if is_array(value):  # a constant
            return self._trace.tap(name, value)
        if not hasattr(value, "shape"):
            kind = type(value).__name__
            raise ValueError(
                f"tap: got a {kind} for {name!r}, takes one array in a traced function"
            )
        return self._identity(name, value)

    def tap_gradient(self, name: str, gradient: Any) -> Any:
        return self._trace.tap_gradient(name, gradient)


@contextlib.contextmanager
def _listening(identity: Callable[[str, Any], Any]) -> Iterator[None]:
    trace = _ACTIVE.get()
    if trace is None:
        yield
        return
    token = _ACTIVE.set(_Listener(trace, identity))  # type: ignore[arg-type]
    try:
        yield
    finally:
        _ACTIVE.reset(token)


@functools.cache
def _autograd_identity() -> Callable[[str, Any], Any]:
    extend = importlib.import_module("autograd.extend")

    @extend.primitive
    def identity(name: str, x: Any) -> Any:
        listener = _ACTIVE.get()
        return x if listener is None else listener.tap(name, np.asarray(x))

    def vjp(_: Any, name: str, x: Any) -> Callable[[Any], Any]:
        return lambda gradient: tap_gradient(name, gradient)

    extend.defvjp(identity, vjp, argnums=(1,))
    return identity


def _jax_identity(jax: Any, name: str, x: Any) -> Any:
    def record(value: Any) -> None:
        if _jax_trace is not None:
            _jax_trace.tap(name, np.array(value))

    def record_gradient(gradient: Any) -> None:
        if _jax_trace is not None:
            _jax_trace.tap_gradient(name, np.array(gradient))

    @jax.custom_vjp
    def identity(value: Any) -> Any:
        jax.debug.callback(record, value, ordered=True)
        return value

    def forward(value: Any) -> tuple[Any, None]:
        return identity(value), None

    def backward(_: None, gradient: Any) -> tuple[Any]:
        jax.debug.callback(record_gradient, gradient, ordered=True)
        return (gradient,)

    identity.defvjp(forward, backward)
    return identity(x)
