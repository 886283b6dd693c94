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
            twin = other.array.reshape(value.array.shape)
            self._values[execution.order, value.name] = twin
            self.add_object(value.source, twin)

    def add_gradient(self, execution: Execution, value: Value, twin: np.ndarray) -> None:
        """Join a gradient of a left statement with one of torch's graph."""
        if value.array.size == twin.size:
            twin = twin.reshape(value.array.shape)
            self._values.setdefault((execution.order, value.name), twin)

    def add_object(self, source: Any, twin: np.ndarray | None) -> None:
        """Join an array of the left, wherever it has a name, with one of the right."""
        array = getattr(source, "data", source) if not isinstance(source, np.generic) else source
        array = source if isinstance(source, np.ndarray | np.generic) else array
        if twin is None or not isinstance(array, np.ndarray | np.generic):
            return
        if array.size == twin.size and id(source) not in self._objects:
            self._objects[id(source)] = np.array(array), twin.reshape(array.shape)

    def of(self, frame: Frame, execution: Execution, value: Value) -> np.ndarray | None:
        """The twin of a value, None without one."""
        twin = self._values.get((execution.order, value.name))
        if twin is None and id(value.source) in self._objects:
            content, candidate = self._objects[id(value.source)]
            # an array that was changed in place in between is not the same value
            if np.array_equal(content, value.array, equal_nan=content.dtype.kind == "f"):
                twin = candidate
        return twin
