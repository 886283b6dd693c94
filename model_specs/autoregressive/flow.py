"""Config, MADE degrees and output of the autoregressive flow, for both panels.

`Any` stands for an array of either panel: numpy.ndarray on the left, torch.Tensor on the right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from model_specs.common.effects import check_effects, conditional
from model_specs.common.fields import check_positive_int

MAX_LAYERS = 4


@dataclass(frozen=True)
class AutoregressiveFlowConfig:
    """A stack of autoregressive steps between z and eps ~ N(0, I).

    The defaults are the AF prior of Chen et al. (2016, arXiv 1611.02731) for binary images.

    Raises: ValueError that names the field, its value and what is allowed.
    """

    dim: int = 64
    """The code z has D = dim dimensions."""
    hidden_dim: int = 640
    """Each hidden layer has H = hidden_dim units."""
    hidden_layers: int = 3
    """The MADE of each step has 1 to 4 hidden layers. The paper's "3-layer MADE" leaves open
    whether the output layer counts; here it does not."""
    steps: int = 4
    """The flow has S = steps steps."""
    mean_only: bool = True
    """If True, sigma = 1, the paper's choice, so that volume is preserved."""
    reverse: bool = conditional(True, steps=lambda config: config.steps > 1)
    """If True, every other step takes the dimensions in reverse order."""
    order: tuple[int, ...] | None = None
    """The first step takes the dimensions in this order; None: 0, 1, ..., D - 1."""

    def __post_init__(self) -> None:
        for name in ("dim", "hidden_dim", "steps"):
            check_positive_int(name, getattr(self, name))
        check_hidden_layers(self.hidden_layers)
        for name in ("mean_only", "reverse"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name}: got {getattr(self, name)!r}, takes True or False")
        if self.order is not None:
            check_order(self.order, self.dim)
        check_effects(self)

    @property
    def orders(self) -> list[tuple[int, ...]]:
        """The order of the dimensions in each step."""
        first = tuple(range(self.dim)) if self.order is None else self.order
        return [first[::-1] if self.reverse and k % 2 else first for k in range(self.steps)]


class FlowOutput(NamedTuple):
    """eps = f(z), and the log-determinant of the Jacobian of f at z."""

    eps: Any  # (..., D)
    logdet: Any  # (...), log |det d eps / dz|, nats


def made_degrees(
    order: tuple[int, ...], hidden_dim: int, hidden_layers: int, outputs: int = 1
) -> list[tuple[int, ...]]:
    """The degree of every unit, layer by layer, inputs first.

    A unit of degree m depends on the first m dimensions in `order`, so it reads units of degree
    <= m and no others.

        inputs      1 + p          for the dimension at position p of `order`, p = 0 ... D - 1
        hidden      ceil((k + 1) (D - 1) / H), k = 0 ... H - 1: ascending, evenly distributed
        outputs     p              for the dimension at position p, once for each of its `outputs`

    Source: Germain et al. (2015), arXiv 1502.03509, section 4. Where we differ: their
    outputs have degree 1 + p and read only units strictly below, which is the same mask by a second
    rule; their hidden degrees are random, ours always reach D - 1.
    Raises: ValueError for an order that is no permutation, H < 1 or hidden layers not 1 to 4.
    """
    D, H = len(order), hidden_dim
    check_order(order, D)
    check_positive_int("hidden_dim", H)
    check_hidden_layers(hidden_layers)
    position = sorted(range(D), key=order.__getitem__)  # the inverse permutation
    hidden = tuple(-(-(k + 1) * (D - 1) // H) for k in range(H))
    return [tuple(1 + p for p in position), *[hidden] * hidden_layers, tuple(position) * outputs]


def check_hidden_layers(value: object) -> None:
    """Raise ValueError unless `value` is an int from 1 to 4."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_LAYERS:
        raise ValueError(f"hidden_layers: got {value!r}, takes an int from 1 to {MAX_LAYERS}")


def check_order(order: object, dim: int) -> None:
    """Raise ValueError unless `order` is a tuple, a permutation of 0 ... dim - 1, and dim >= 1."""
    is_tuple = isinstance(order, tuple) and all(type(d) is int for d in order)
    if not is_tuple or not order or sorted(order) != list(range(dim)):  # type: ignore[call-overload]
        takes = f"0 to {dim - 1}" if dim else "0 to D - 1, D >= 1"
        raise ValueError(f"order: got {order!r}, takes a tuple that is a permutation of {takes}")
