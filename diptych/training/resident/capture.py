"""A step as a CUDA graph: run a few times, captured once, and replayed from then on.

Source: the notes on CUDA graphs in PyTorch 2.13: warm-up on a side stream, capture on the same one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch

WARM_UP = 3
"""Steps before the capture, in which libraries choose kernels and allocate their work space."""


def is_capturable(device: torch.device) -> bool:
    """True for a device of CUDA; a build of torch without CUDA may pretend to have one."""
    return device.type == "cuda" and torch.backends.cuda.is_built()


class CapturedStep:
    """A function without arguments whose tensors keep their addresses, replayed as a CUDA graph.

    The first WARM_UP calls run it, and they count: a training step that warms up is a step of the
    run. The next call captures it. On a device without graphs every call runs it.
    A function that cannot be captured is run from then on, and `failure` says why: a capture
    executes nothing, so that no step is lost.
    """

    def __init__(self, function: Callable[[], None], stream: torch.cuda.Stream | None) -> None:
        self.function, self.stream = function, stream
        self.graph: torch.cuda.CUDAGraph | None = None
        self.calls = 0
        self.failure = ""

    @property
    def is_starting(self) -> bool:
        """True if the next call is not a replay but could become one."""
        return self.stream is not None and self.graph is None and not self.failure

    def __call__(self) -> None:
        if self.is_starting and self.calls >= WARM_UP:
            self._capture()
        self.calls += 1
        if self.graph is None:
            self.function()
        else:
            self.graph.replay()

    def forget(self) -> None:
        """Capture the function anew at the next call, because a number in it has changed."""
        self.graph = None

    def _capture(self) -> None:
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=self.stream):
                self.function()
        except RuntimeError as error:
            self.failure = str(error).splitlines()[0]
            return
        self.graph = graph


@contextlib.contextmanager
def on_stream(stream: torch.cuda.Stream | None) -> Iterator[None]:
    """Context that computes on `stream`, after and before the work of the current one."""
    if stream is None:
        yield
        return
    outer = torch.cuda.current_stream(stream.device)
    stream.wait_stream(outer)
    with torch.cuda.stream(stream):
        yield
    outer.wait_stream(stream)
