"""The run of one model of a comparison: its calls, its state and its gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from diptych.parity.running.trace import Arrays, Call, Phase


@dataclass(eq=False)
class Run:
    """One run of a model under a trace. All arrays are NumPy arrays under the model's own names."""

    root: str
    """"forward" or "loss": the name of the root's call"""
    calls: dict[str, Call]
    """Calls by name, in the order in which they ended"""
    events: list[tuple[Phase, Call]]
    """Forward, cotangent and vjp of each call, in the order of computation"""
    state: Arrays
    """Parameters and buffers before the run"""
    outputs: Arrays = field(default_factory=dict)
    """Outputs of the root method"""
    gradients: Arrays = field(default_factory=dict)
    """Gradients of the parameters; a parameter that got none is absent"""
    buffers: Arrays = field(default_factory=dict)
    """Buffers after the run"""
    whole: bool = True
    """False if only the root method was recorded"""
    changed: Arrays = field(default_factory=dict)
    """Parameters that the run itself has changed"""
    helpers: frozenset[str] = frozenset()
    """Calls of methods that are no layers: they have no vjp and are not compared"""
    parameters: frozenset[str] = frozenset()
    """The names in `state` that are parameters"""
    frozen: frozenset[str] = frozenset()
    """Parameters that require no gradient"""
    ties: Sequence[frozenset[str]] = ()
    """Groups of names that are one parameter"""
    inputs: tuple[Any, ...] = ()
    """The root method's arguments"""
    differentiated: bool = True
    """False if no backward pass was run"""
    dtype: np.dtype = np.dtype(np.float64)  # noqa: RUF009  (immutable)
    device: str = "cpu"
    sources: dict[str, str] = field(default_factory=dict)
    """File and line of each module's class, by module path"""
    aliases: dict[str, str] = field(default_factory=dict)
    """Further paths of a module that stands under several -> the first one; in recordings"""
