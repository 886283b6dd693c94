"""The operations of each model by name, and the callable of one operation by one backend."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from diptych.bench import autoregressive, convolutional, recurrent, steps
from diptych.bench.backends import BACKENDS
from diptych.bench.case import Case

_PARTS: dict[str, tuple[ModuleType, tuple[str, ...]]] = {
    "rnn": (recurrent, tuple(recurrent.PARTS)),
    "lstm": (recurrent, tuple(recurrent.PARTS)),
    "conv_vae": (convolutional, tuple(convolutional.LAYERS)),
    "vlae": (autoregressive, tuple(autoregressive.OPERATIONS)),
}
"""By model: the module that builds its parts, and their names."""


def parts(model: str) -> tuple[str, ...]:
    """The parts of a model that are timed one by one, such as "flow"; empty for most models."""
    return _PARTS[model][1] if model in _PARTS else ()


def operations(model: str) -> tuple[str, ...]:
    """All operations that are timed for a model: those of the whole, and its parts."""
    return (*steps.OPERATIONS, *parts(model))


def _has_every_part(config: Any, operation: str) -> bool:
    return True


_HAS: dict[str, Callable[[Any, str], bool]] = {"vlae": autoregressive.has}
"""By model: True for the parts that a config has; a model that is not named has all of them."""


def build(case: Case, operation: str, backend: str) -> Callable[[], Any]:
    """The callable of one operation of a case by one backend."""
    chosen = BACKENDS[backend]
    if operation in steps.OPERATIONS:
        return chosen.make(case).operations[operation]
    run: Callable[[], Any] = _PARTS[case.model][0].part(case, operation, backend, chosen.device)
    return run


def takes(case: Case, operation: str, backend: str) -> bool:
    """True if the backend has the operation and the model of the case has the part.

    Parts are neither compiled nor captured.
    """
    chosen = BACKENDS[backend]
    if operation in steps.OPERATIONS:
        return chosen.takes(case)
    if not _HAS.get(case.model, _has_every_part)(case.config, operation):
        return False
    return chosen.takes(case) and not chosen.compiled and "captured" not in backend
