"""The gradients in torch's graph: of any tensor, from all its uses or from those of one call."""

from __future__ import annotations

import functools
import math
from collections import defaultdict
from typing import Any

import numpy as np
import torch

from diptych.arrays import to_numpy


class RightGraph:
    """The graph behind `root`. After `root.backward()` it knows the gradient of every use.

    A use of a tensor is an edge of the graph, from the node that read it. Nodes are numbered in
    the order in which the forward pass made them, so the uses within one call are those whose
    numbers lie between its begin and its end.
    """

    def __init__(self, root: torch.Tensor) -> None:
        self._uses: defaultdict[tuple[Any, int], list[tuple[Any, int]]] = defaultdict(list)
        self._gradients: dict[Any, list[np.ndarray | None]] = {}
        self._handles = []
        self._root = root.grad_fn
        waiting, known = [root.grad_fn], {root.grad_fn}
        while waiting:
            node = waiting.pop()
            if node is None:
                continue
            self._handles.append(node.register_hook(functools.partial(self._record, node)))
            for place, (target, number) in enumerate(node.next_functions):
                if target is None:
                    continue
                self._uses[target, number].append((node, place))
                if target not in known:
                    known.add(target)
                    waiting.append(target)

    def _record(self, node: Any, gradients: Any, _: Any) -> None:
        self._gradients[node] = [None if g is None else to_numpy(g) for g in gradients]

    def close(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()

    def gradient(self, edge: Any, first: float = 0, last: float = math.inf) -> np.ndarray | None:
        """The gradient of a tensor from its uses by the nodes first to last - 1; None without any.

        `edge` is the tensor's place in the graph (see line_trace.gradient_edge).
        """
        if edge is None:
            return None
        parts = [
            gradient
            for node, place in self._uses.get((edge.node, edge.output_nr), [])
            if first <= node._sequence_nr() < last
            and node in self._gradients
            and (gradient := self._gradients[node][place]) is not None
        ]
        return functools.reduce(np.add, parts) if parts else None

    def count(self, edge: Any) -> int:
        """The number of uses of a tensor."""
        return len(self._uses.get((edge.node, edge.output_nr), []))
