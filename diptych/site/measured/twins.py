"""The twins of the left panel's arrays: by statement and name, or because it is the same array."""

from __future__ import annotations

from typing import Any

import numpy as np

from diptych.site.measured.line_trace import Execution, Frame, Value


class Twins:
    """Right arrays by the left value whose twin they are."""

    def __init__(self) -> None:
        self.module_calls: dict[Frame, Any] = {}
        """Calls of a left module -> those of the right module of the same path"""
        self.edges: dict[tuple[Frame, str], Any] = {}
        """(call, name) -> the place in torch's graph of the last right value of that name"""
        self._values: dict[tuple[int, str], np.ndarray] = {}
        self._objects: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def add_value(self, frame: Frame, execution: Execution, value: Value, other: Value) -> None:
        """Join a value of a left statement with one of a right statement."""
        self.edges[frame, value.name] = other.edge
        if value.array.size == other.array.size:
            twin = _same_words(value.array, other.array.reshape(value.array.shape))
            self._values[execution.order, value.name] = twin
            self.add_object(value.source, twin, value.array)

    def add_gradient(self, execution: Execution, value: Value, twin: np.ndarray) -> None:
        """Join a gradient of a left statement with one of torch's graph."""
        if value.array.size == twin.size:
            twin = twin.reshape(value.array.shape)
            self._values.setdefault((execution.order, value.name), twin)

    def add_object(
        self, source: Any, twin: np.ndarray | None, content: np.ndarray | None = None
    ) -> None:
        """Join an array of the left, wherever it has a name, with one of the right.

        `content` is its content then, if it may have been changed in place since.
        """
        if twin is None or not isinstance(source, np.ndarray | np.generic):
            return
        if source.size == twin.size and id(source) not in self._objects:
            content = np.array(source) if content is None else content
            self._objects[id(source)] = content, twin.reshape(source.shape)

    def of(self, frame: Frame, execution: Execution, value: Value) -> np.ndarray | None:
        """The twin of a value, None without one."""
        twin = self._values.get((execution.order, value.name))
        if twin is None and id(value.source) in self._objects:
            content, candidate = self._objects[id(value.source)]
            # an array that was changed in place in between is not the same value
            if np.array_equal(content, value.array, equal_nan=content.dtype.kind == "f"):
                twin = candidate
        return twin


def _same_words(array: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Words of 64 bits, which torch has with a sign, in the dtype of the left."""
    is_signed = array.dtype.name == "uint64" and other.dtype.name == "int64"
    return other.view(np.uint64) if is_signed else other
