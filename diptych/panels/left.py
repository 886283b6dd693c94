"""The left panel in training and evaluation: NumPy, one process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from diptych.panels.panel import Panel, state_of, terms_of
from model_specs.common.key import Key
from numpy_ref.nn import optim, random
from numpy_ref.nn.averaging import PolyakAverage

OPTIMIZERS = {
    "adam": optim.Adam,
    "adamax": optim.Adamax,
    "rmsprop": optim.RMSprop,
    "sgd": optim.SGD,
}


class NumpyPanel(Panel):
    """A NumPy model with an optimiser of numpy_ref.nn.optim."""

    backend = "numpy"

    def __init__(self, model: Any, optimizer: str, lr: float, weight_decay: float) -> None:
        self.model = model
        make: Any = OPTIMIZERS[optimizer]
        self.optimizer = make(model.named_parameters(), lr=lr, weight_decay=weight_decay)

    def array(self, x: Any) -> np.ndarray:
        return np.asarray(x, None if np.asarray(x).dtype.kind in "iub" else self.model.dtype)

    def permutation(self, key: Key, n: int) -> np.ndarray:
        return random.permutation(key, n)

    def terms(self, batch: Any, noise: Any) -> dict[str, float]:
        loss, _ = self.model.loss(self.convert(batch), noise)
        return {name: float(value) for name, value in terms_of(loss)}

    def floats(self, numbers: Iterable[Any]) -> list[float]:
        return [float(number) for number in numbers]

    def forward_backward(
        self, batch: Any, noise: Any, share: float = 1.0
    ) -> tuple[dict[str, float], Any]:
        self.model.zero_grad()
        # a diverging run ends with its step and term, not with a warning from within a product
        with np.errstate(over="ignore", invalid="ignore"):
            loss, backward = self.model.loss(self.convert(batch), noise)
            backward()
        if share != 1:
            for parameter in self.model.parameters():
                parameter.grad *= share
        terms = {name: share * float(value) for name, value in terms_of(loss)}
        return terms, state_of(loss)

    def step(self, lr: float, clip: float | None) -> None:
        if clip is not None:
            optim.clip_grad_norm(self.model.parameters(), clip)
        self.optimizer.lr = lr
        self.optimizer.step()
        if self.average is not None:
            self.average.update()

    def keep_average(self, decay: float) -> None:
        self.average = PolyakAverage(self.model.named_parameters(), decay)

    def optimizer_state(self) -> dict[str, np.ndarray]:
        return self.optimizer.state_dict()

    def load_optimizer_state(self, state: Mapping[str, np.ndarray]) -> None:
        self.optimizer.load_state_dict(state)
