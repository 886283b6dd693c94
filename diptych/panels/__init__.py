"""One interface over a model, its optimiser and its arrays, for either panel.

The training loop, the evaluation and the figures use a Panel and work with either.
"""

from __future__ import annotations

from typing import Any

from diptych import pairs
from diptych.panels.engine import Engine
from diptych.panels.left import NumpyPanel
from diptych.panels.panel import Panel
from diptych.panels.ranks import Ranks
from diptych.panels.right import TorchPanel
from model_specs.common.fields import check_choice
from model_specs.common.key import Key

__all__ = ["BACKENDS", "OPTIMIZERS", "NumpyPanel", "Panel", "TorchPanel", "make_panel"]

OPTIMIZERS = ("adam", "adamax", "rmsprop", "sgd")
BACKENDS = ("numpy", "torch")


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
    engine: Engine = Engine(),  # noqa: B008  (immutable)
    ranks: Ranks = Ranks(),  # noqa: B008
) -> Panel:
    """Build one panel of a registered pair with its optimiser.

    Raises: ValueError for an unknown name, and if the numpy backend is combined with options that
    only torch has: another device than the CPU, options of the engine, several ranks.
    """
    check_choice("backend", backend, BACKENDS)
    check_choice("optimizer", optimizer, OPTIMIZERS)
    pair = pairs.get(model)
    if backend == "torch":
        right = pair.right(config, key, dtype=dtype, device=device)
        return TorchPanel(right, optimizer, lr, weight_decay, engine, ranks)
    defaults = vars(Engine())
    for name, value in vars(engine).items():
        if value != defaults[name]:
            raise ValueError(f"{name}: got {value!r}, an option of the torch backend alone")
    if ranks.size > 1:
        raise ValueError(f"backend: got 'numpy' with {ranks.size} ranks, several take 'torch'")
    if device != "cpu":
        raise ValueError(f"device: got {device!r}, the numpy backend takes 'cpu'")
    return NumpyPanel(pair.left(config, key, dtype=dtype), optimizer, lr, weight_decay)
