"""One interface over a model, its optimiser and its arrays, for either panel.

The training loop, the evaluation and the figures speak to a Panel and do not know which it is.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from diptych import pairs, weights
from diptych.parity.tree import is_array, leaves, map_arrays, to_numpy
from model_specs.fields import check_choice
from model_specs.key import Key
from model_specs.state import check_state
from numpy_ref import optim

OPTIMIZERS = ("adam", "sgd")
BACKENDS = ("numpy", "torch")


class Panel(ABC):
    """A model and its optimiser. Batches go in as NumPy arrays or as NamedTuples of arrays.

    A loss may have a field `state`: it is what a recurrent model carries to its next batch, in the
    panel's own arrays; all other fields are terms.
    """

    backend: str
    model: Any

    @abstractmethod
    def array(self, x: Any) -> Any:
        """`x` as this panel's array; numbers get the model's dtype, integers stay as they are."""

    def convert(self, batch: Any) -> Any:
        """`batch` with each array in it as this panel's."""
        return map_arrays(self.array, batch)

    @abstractmethod
    def terms(self, batch: Any, noise: Any) -> dict[str, float]:
        """The loss terms, without gradients."""

    @abstractmethod
    def gradients(self, batch: Any, noise: Any) -> tuple[dict[str, float], Any]:
        """The loss terms, and the state or None; the gradients are left in the model, in place of
        older ones."""

    @abstractmethod
    def step(self, lr: float, clip: float | None) -> None:
        """One optimiser step along those gradients."""

    @abstractmethod
    def optimizer_state(self) -> dict[str, np.ndarray]:
        """The optimiser's buffers by "parameter.buffer", and "step"; alike on both panels."""

    @abstractmethod
    def load_optimizer_state(self, state: Mapping[str, np.ndarray]) -> None: ...

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """Dropout off, batches normalised by running statistics; and afterwards as it was."""
        with self._mode(False):
            yield

    @contextlib.contextmanager
    def training(self) -> Iterator[None]:
        """Dropout on, batches normalised by their own statistics; and afterwards as it was."""
        with self._mode(True):
            yield

    @contextlib.contextmanager
    def _mode(self, training: bool) -> Iterator[None]:
        before = self.model.training
        self.model.train(training)
        try:
            yield
        finally:
            self.model.train(before)

    def state_arrays(self, state: Any) -> dict[str, np.ndarray]:
        """A carried state as arrays by name; none where there is no state."""
        return {name.lstrip("."): to_numpy(array) for name, array in leaves(state)}

    def load_state(self, arrays: Mapping[str, np.ndarray]) -> Any:
        """The state that `state_arrays` told of, or None."""
        if not arrays:
            return None
        size = next(iter(arrays.values())).shape[1]
        empty = self.model.zero_state(size)
        own = {name.lstrip("."): tuple(array.shape) for name, array in leaves(empty)}
        check_state(own, {name: array.shape for name, array in arrays.items()}, "carried state")
        return type(empty)(*(self.array(arrays[name]) for name in empty._fields))

    def weights(self) -> dict[str, np.ndarray]:
        return {
            name: array.copy() for name, array in weights.to_arrays(self.model.state_dict()).items()
        }

    def load_weights(self, arrays: Mapping[str, np.ndarray], source: str = "weights") -> None:
        weights.load_state(self.model, arrays, source)


class NumpyPanel(Panel):
    """The left panel."""

    backend = "numpy"

    def __init__(self, model: Any, optimizer: str, lr: float, weight_decay: float) -> None:
        make = {"adam": optim.Adam, "sgd": optim.SGD}[optimizer]
        self.model = model
        self.optimizer = make(model.named_parameters(), lr=lr, weight_decay=weight_decay)

    def array(self, x: Any) -> np.ndarray:
        return np.asarray(x, None if np.asarray(x).dtype.kind in "iub" else self.model.dtype)

    def terms(self, batch: Any, noise: Any) -> dict[str, float]:
        loss, _ = self.model.loss(self.convert(batch), noise)
        return {name: float(value) for name, value in _terms(loss)}

    def gradients(self, batch: Any, noise: Any) -> tuple[dict[str, float], Any]:
        self.model.zero_grad()
        # a run that diverges is told by its step and term, not by a warning from within a product
        with np.errstate(over="ignore", invalid="ignore"):
            loss, backward = self.model.loss(self.convert(batch), noise)
            backward()
        return {name: float(value) for name, value in _terms(loss)}, getattr(loss, "state", None)

    def step(self, lr: float, clip: float | None) -> None:
        if clip is not None:
            optim.clip_grad_norm(self.model.parameters(), clip)
        self.optimizer.lr = lr
        self.optimizer.step()

    def optimizer_state(self) -> dict[str, np.ndarray]:
        return self.optimizer.state_dict()

    def load_optimizer_state(self, state: Mapping[str, np.ndarray]) -> None:
        self.optimizer.load_state_dict(state)


class TorchPanel(Panel):
    """The right panel, on CPU or CUDA."""

    backend = "torch"

    def __init__(self, model: Any, optimizer: str, lr: float, weight_decay: float) -> None:
        make: Any = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[optimizer]
        self.model = model
        self.optimizer = make(model.parameters(), lr=lr, weight_decay=weight_decay)
        self._kind, self._steps = optimizer, 0
        self._names = [name for name, _ in model.named_parameters()]
        self._device = next(model.parameters()).device

    def array(self, x: Any) -> torch.Tensor:
        tensor = torch.as_tensor(x, device=self._device)
        return tensor.to(self.model.dtype) if tensor.is_floating_point() else tensor

    @torch.no_grad()
    def terms(self, batch: Any, noise: Any) -> dict[str, float]:
        return _floats(self.model.loss(self.convert(batch), noise))

    def gradients(self, batch: Any, noise: Any) -> tuple[dict[str, float], Any]:
        self.model.zero_grad(set_to_none=True)
        loss = self.model.loss(self.convert(batch), noise)
        loss.total.backward()
        return _floats(loss), getattr(loss, "state", None)

    def step(self, lr: float, clip: float | None) -> None:
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), clip)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        self._steps += 1

    def optimizer_state(self) -> dict[str, np.ndarray]:
        buffers = self.optimizer.state_dict()["state"]
        flat = {
            f"{self._names[i]}.{buffer}": to_numpy(value)
            for i, entry in buffers.items()
            for buffer, value in entry.items()
            if isinstance(value, torch.Tensor) and buffer != "step"
        }
        return flat | {"step": np.array(self._steps, np.int64)}

    def load_optimizer_state(self, state: Mapping[str, np.ndarray]) -> None:
        shapes = {name: tuple(p.shape) for name, p in self.model.named_parameters()}
        begun = "step" in state and int(state["step"]) > 0
        kept = {"adam": ("exp_avg", "exp_avg_sq"), "sgd": ()}[self._kind] if begun else ()
        own = {f"{name}.{buffer}": s for name, s in shapes.items() for buffer in kept}
        found = {name: array.shape for name, array in state.items()}
        check_state(own | {"step": ()}, found, "optimizer state")
        self._steps = int(state["step"])
        entries = {
            i: {buffer: torch.from_numpy(state[f"{name}.{buffer}"].copy()) for buffer in kept}
            | {"step": torch.tensor(float(self._steps))}
            for i, name in enumerate(self._names)
            if kept
        }
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": entries})


def make_panel(
    model: str,
    config: Any,
    backend: str,
    *,
    key: Key,
    dtype: str = "float32",
    device: str = "cpu",
    optimizer: str = "adam",
    lr: float = 1e-3,
    weight_decay: float = 0.0,
) -> Panel:
    """Build one side of a registered pair with its optimiser.

    Raises: ValueError for an unknown name, or a device other than the CPU for NumPy.
    """
    check_choice("backend", backend, BACKENDS)
    check_choice("optimizer", optimizer, OPTIMIZERS)
    pair = pairs.get(model)
    if backend == "torch":
        right = pair.right(config, key, dtype=dtype, device=device)
        return TorchPanel(right, optimizer, lr, weight_decay)
    if device != "cpu":
        raise ValueError(f"device: got {device!r}, the numpy backend takes 'cpu'")
    return NumpyPanel(pair.left(config, key, dtype=dtype), optimizer, lr, weight_decay)


def _terms(loss: Any) -> Iterator[tuple[str, Any]]:
    return ((name, value) for name, value in loss._asdict().items() if is_array(value))


def _floats(loss: Any) -> dict[str, float]:
    terms = dict(_terms(loss))
    return dict(zip(terms, torch.stack([v.detach() for v in terms.values()]).tolist(), strict=True))
