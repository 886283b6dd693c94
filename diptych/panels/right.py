"""The right panel in training and evaluation: torch on CPU or CUDA, in one or several processes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from diptych.arrays import to_device, to_numpy
from diptych.panels.engine import Engine
from diptych.panels.panel import Panel, state_of, terms_of
from diptych.panels.ranks import Ranks
from model_specs.common.key import Key
from model_specs.common.state import check_state
from torch_impl.nn import checks, random
from torch_impl.nn.averaging import PolyakAverage
from torch_impl.nn.normalisation import synchronised

LEAST_SCALE = 2.0**-20
"""The smallest scale of a float16 loss. Gradients that overflow even at this scale are infinite."""
AMP_DTYPES = {"off": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

OPTIMIZERS = {
    "adam": torch.optim.Adam,
    "adamax": torch.optim.Adamax,
    "rmsprop": torch.optim.RMSprop,
    "sgd": torch.optim.SGD,
}
BUFFERS = {
    "adam": ("exp_avg", "exp_avg_sq"),
    "adamax": ("exp_avg", "exp_inf"),
    "rmsprop": ("square_avg",),
    "sgd": (),
}


class _Loss(nn.Module):
    """A model whose forward pass is its loss, because DistributedDataParallel wraps `forward`."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Any, noise: Any) -> Any:
        return self.model.loss(batch, noise)


class TorchPanel(Panel):
    """A torch model with its optimiser. `ranks` is the rank of this process among several.

    Raises: ValueError for mixed precision in another dtype than float32, for channels_last if the
    model has no convolutions, and for sync_batchnorm if it has no batch normalisation.
    """

    backend = "torch"

    def __init__(
        self,
        model: Any,
        optimizer: str,
        lr: float,
        weight_decay: float,
        engine: Engine = Engine(),  # noqa: B008  (immutable)
        ranks: Ranks = Ranks(),  # noqa: B008
    ) -> None:
        if engine.amp != "off" and model.dtype != torch.float32:
            name = str(model.dtype).removeprefix("torch.")
            raise ValueError(f"amp: got {engine.amp!r} with {name}, takes float32")
        if engine.channels_last:
            if not any(p.ndim == 4 for p in model.parameters()):
                name = type(model).__name__
                raise ValueError(f"channels_last: got {name}, takes a model with convolutions")
            model = model.to(memory_format=torch.channels_last)
        if engine.sync_batchnorm and not synchronised(model):
            name = type(model).__name__
            raise ValueError(f"sync_batchnorm: got {name}, takes a model with BatchNorm2d")
        self.model, self.engine, self.ranks = model, engine, ranks
        make: Any = OPTIMIZERS[optimizer]
        # with foreach torch loops over the parameters in C++, also on the CPU, for the same bits
        self.optimizer = make(model.parameters(), foreach=True, lr=lr, weight_decay=weight_decay)
        self._kind, self._steps = optimizer, 0
        self._names = [name for name, _ in model.named_parameters()]
        self._device = next(model.parameters()).device
        self._statistics = [(m, name) for m in model.modules() for name in _saved_buffers(m)]
        self._scaler = self._new_scaler()
        self._scaling: list[float] = []
        loss: Any = _Loss(model)
        if ranks.size > 1:
            loss = DistributedDataParallel(loss)
        self._loss = torch.compile(loss) if engine.compile else loss

    def array(self, x: Any) -> torch.Tensor:
        tensor = to_device(x, self._device)
        tensor = tensor.to(self.model.dtype) if tensor.is_floating_point() else tensor
        if self.engine.channels_last and tensor.ndim == 4:
            return tensor.contiguous(memory_format=torch.channels_last)
        return tensor

    def permutation(self, key: Key, n: int) -> np.ndarray:
        return to_numpy(random.permutation(key, n, device=self._device))

    @torch.no_grad()
    def terms(self, batch: Any, noise: Any) -> dict[str, float]:
        with self._checking() as pending:
            terms = dict(terms_of(self.model.loss(self.convert(batch), noise)))
            return dict(zip(terms, _read([*terms.values()], pending), strict=True))

    @property
    def steps(self) -> int:
        """The number of steps that the optimiser has taken."""
        return self._steps

    def count_steps(self, count: int) -> None:
        """Add steps that were taken outside of `step`."""
        self._steps += count

    def training_loss(self, batch: Any, noise: Any) -> Any:
        """The loss in the precision of training, for `backward`; tensors go in and come out."""
        with self._refused_precision(), self._autocast():
            return self._loss(self.convert(batch), noise)

    def floats(self, numbers: Iterable[Any]) -> list[float]:
        return checks.Verdicts().tensor(*numbers).tolist()

    def forward_backward(
        self, batch: Any, noise: Any, share: float = 1.0
    ) -> tuple[dict[str, float], Any]:
        self.model.zero_grad(set_to_none=True)
        with self._checking() as pending:
            loss = self.training_loss(batch, noise)
            # DistributedDataParallel averages over the ranks, and the shares are to be added
            with self._refused_precision():
                self._scaler.scale(loss.total * (share * self.ranks.size)).backward()
            terms = dict(terms_of(loss))
            values = _read([*terms.values(), *self._unscale()], pending)
        self._scaling = values[len(terms) :]
        terms = {n: share * value for n, value in zip(terms, values, strict=False)}
        state = state_of(loss)  # in mixed precision it is rounded as layers are
        return self.ranks.all_reduce(terms), self.convert(state)

    def _unscale(self) -> list[torch.Tensor]:
        """Divide the gradients by the scale of the loss.

        It returns the scale, and a number that is 0 unless a gradient overflowed, so that they are
        downloaded with the loss terms: scaler.step would read them once more. Without a scaler it
        returns nothing.
        """
        if not self._scaler.is_enabled():
            return []
        self._scaler.unscale_(self.optimizer)
        (overflow,) = self._scaler._found_inf_per_device(self.optimizer).values()
        return [self._scaler.scale(torch.ones_like(overflow)), overflow]

    @contextlib.contextmanager
    def _checking(self) -> Iterator[checks.Verdicts]:
        """Context in which the verdicts of checks wait to be downloaded with the loss terms.

        By then the loss is computed. If a check fails, the running statistics of the model and the
        scaler get back the state that they had before.
        """
        training = self.model.training
        buffers = [getattr(m, name) for m, name in self._statistics] if training else []
        copies = [buffer.clone() for buffer in buffers]
        try:
            with checks.deferred() as pending:
                yield pending
        except ValueError:
            for buffer, copy in zip(buffers, copies, strict=True):
                buffer.detach().copy_(copy)
            state = self._scaler.state_dict()
            self._scaler = self._new_scaler()
            self._scaler.load_state_dict(state)
            raise

    def step(self, lr: float, clip: float | None) -> None:
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), clip)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        if self._scaling:
            scale, overflow = self._scaling
            self._scaler.update()
            if overflow:  # no step
                scale *= self._scaler.get_backoff_factor()
                if scale < LEAST_SCALE:
                    raise ValueError(f"amp: gradients overflow float16 though scaled by {scale:g}")
                return
        self.optimizer.step()
        self._steps += 1
        if self.average is not None:
            self.average.update()

    @torch.no_grad()
    def initialize(self, batch: Any, noise: Any) -> None:
        super().initialize(batch, noise)

    def keep_average(self, decay: float) -> None:
        self.average = PolyakAverage(self.model.named_parameters(), decay)

    def optimizer_state(self) -> dict[str, np.ndarray]:
        buffers = self.optimizer.state_dict()["state"]
        flat = {
            f"{self._names[i]}.{buffer}": to_numpy(value)
            for i, entry in buffers.items()
            for buffer, value in entry.items()
            if isinstance(value, torch.Tensor) and buffer != "step"
        }
        scaler = {
            f"scaler.{name}": np.array(value) for name, value in self._scaler.state_dict().items()
        }
        return flat | scaler | {"step": np.array(self._steps, np.int64)}

    def load_optimizer_state(self, state: Mapping[str, np.ndarray]) -> None:
        parameters = dict(self.model.named_parameters())
        has_stepped = "step" in state and int(state["step"]) > 0
        buffers = BUFFERS[self._kind] if has_stepped else ()
        own = {
            f"{name}.{buffer}": tuple(p.shape)
            for name, p in parameters.items()
            for buffer in buffers
        }
        own |= {f"scaler.{name}": () for name in self._scaler.state_dict()}
        result = {name: array.shape for name, array in state.items()}
        check_state(own | {"step": ()}, result, "optimizer state")
        self._steps = int(state["step"])
        entries = {
            i: {
                buffer: torch.empty_like(p).copy_(torch.from_numpy(state[f"{name}.{buffer}"]))
                for buffer in buffers
            }
            | {"step": torch.tensor(float(self._steps))}
            for i, (name, p) in enumerate(parameters.items())
            if buffers
        }
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": entries})
        scaler = self._scaler.state_dict()
        self._scaler.load_state_dict({n: state[f"scaler.{n}"].item() for n in scaler})

    def _new_scaler(self) -> torch.amp.GradScaler:
        return torch.amp.GradScaler(self._device.type, enabled=self.engine.amp == "fp16")

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        on = self.engine.amp != "off"
        return torch.autocast(self._device.type, AMP_DTYPES[self.engine.amp], enabled=on)

    @contextlib.contextmanager
    def _refused_precision(self) -> Iterator[None]:
        """Turn oneDNN's error for a precision that it cannot train with into a ValueError."""
        try:
            yield
        except RuntimeError as error:
            if self.engine.amp == "off" or "could not create a primitive" not in str(error):
                raise
            reason = str(error).partition(".")[0]
            raise ValueError(
                f"amp: got {self.engine.amp!r}, which oneDNN cannot train with on this processor "
                f"({reason}), takes 'off' here"
            ) from error


def _saved_buffers(module: nn.Module) -> list[str]:
    """The names of the module's own buffers that are a part of the state_dict."""
    return [
        name
        for name, buffer in module.named_buffers(recurse=False)
        if name not in module._non_persistent_buffers_set
    ]


def _read(numbers: list[torch.Tensor], pending: checks.Verdicts) -> list[float]:
    """Download numbers together with the verdicts of checks.

    Raises: ValueError of the first check that fails.
    """
    values = pending.tensor(*numbers).tolist()
    pending.raise_for(values[len(numbers) :])
    return values[: len(numbers)]
