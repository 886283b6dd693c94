"""The dropout schemes of a recurrent network, whatever computes it: where masks lie and when they
are drawn.

Sources: Zaremba, Sutskever & Vinyals, "Recurrent neural network regularization" (2014), arXiv
1409.2329; Gal & Ghahramani, "A theoretically grounded application of dropout in recurrent neural
networks" (2016), arXiv 1512.05287.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from model_specs.common.fields import check_choice, check_positive_int, check_rate


@dataclass(frozen=True)
class Scheme:
    """A mask shape, and the connections it lies on.

        per step:   (T, B, H), a fresh mask at each step
        shared:     (1, B, H), one mask for the whole sequence

    In either, every example of the batch has masks of its own.
    """

    inputs: bool
    """on the L + 1 connections that do not run through time: into each layer, and out of the
    last one"""
    recurrent: bool
    """on the L connections that do: h_{t-1} on its way into h_t"""
    shared: bool
    """one mask for all steps, not one for each"""


SCHEMES = {
    "none": Scheme(inputs=False, recurrent=False, shared=False),
    # Zaremba et al.: noise crosses a path through the network L + 1 times, however long it is
    "per_step": Scheme(inputs=True, recurrent=False, shared=False),
    # Gal & Ghahramani's masks on the same connections: constant over the sequence
    "variational": Scheme(inputs=True, recurrent=False, shared=True),
    # their full form
    "variational_recurrent": Scheme(inputs=True, recurrent=True, shared=True),
    # what both papers argue against: noise at each step on the way of the memory itself
    "recurrent": Scheme(inputs=False, recurrent=True, shared=False),
}


class Masks(NamedTuple):
    """Every random number that a recurrent network needs: True where a unit is kept.

    Without dropout, at rate 0 and in evaluation there are none: None, and empty tuples.
    """

    words: Any = None  # (B, V): whole words, the same ones at each step; LSTM language model only
    inputs: tuple[Any, ...] = ()  # L + 1 of (T or 1, B, width): into layer 0 ... L-1, and out
    recurrent: tuple[Any, ...] = ()  # L of (T or 1, B, H)

    def into(self, layer: int) -> Any:
        """The mask on what enters a layer; with layer = L, on what leaves the last. None: all."""
        return self.inputs[layer] if self.inputs else None

    def through(self, layer: int) -> Any:
        """The mask on a layer's h_{t-1}, or None."""
        return self.recurrent[layer] if self.recurrent else None


class Plan(NamedTuple):
    """The masks of one window of a sequence: their names, rates and shapes."""

    name: str
    """of the random stream below the noise's key, and of the field in Masks"""
    rate: float
    steps: int
    widths: tuple[int, ...]


def plan(
    scheme: str, rate: float, recurrent_rate: float, length: int, widths: tuple[int, ...]
) -> tuple[Plan, ...]:
    """What is to be drawn for `length` steps.

    widths: (I, H, ..., H), what each place carries: into layer 0, between layers, out of the last.
    """
    result = SCHEMES[scheme]
    steps = 1 if result.shared else length
    plans = []
    if result.inputs and rate:
        plans.append(Plan("inputs", rate, steps, widths))
    if result.recurrent and recurrent_rate:
        plans.append(Plan("recurrent", recurrent_rate, steps, widths[1:]))
    return tuple(plans)


@dataclass(frozen=True)
class RecurrentConfig:
    """What the tanh RNN and the LSTM have in common."""

    hidden_dim: int
    """H, units in each layer."""
    num_layers: int
    """L. The layers have torch's names: weight_ih_l0, weight_hh_l0, bias_ih_l0, ..."""
    seq_len: int
    """T, steps of a window: backpropagation through time stops at its start."""
    scheme: str
    """none | per_step | variational | variational_recurrent | recurrent: see SCHEMES."""
    rate: float
    """p, the probability that a unit is dropped, in [0, 1); the kept ones are scaled by
    1 / (1 - p)."""
    recurrent_rate: float | None
    """p for h_{t-1}, where the scheme drops it; None: as `rate`."""
    kernel: str
    """How the right panel runs a layer. fused: torch's own LSTM or RNN (cuDNN on a GPU), masks
    multiplied outside, wherever no mask lies on h_{t-1}. loop: the readable one, always. The left
    panel has one way, and the numbers are the same."""

    def __post_init__(self) -> None:
        for name in ("hidden_dim", "num_layers", "seq_len"):
            check_positive_int(name, getattr(self, name))
        check_choice("scheme", self.scheme, SCHEMES)
        check_choice("kernel", self.kernel, ("fused", "loop"))
        check_rate("rate", self.rate)
        if self.recurrent_rate is not None:
            check_rate("recurrent_rate", self.recurrent_rate)

    @property
    def rate_through(self) -> float:
        """The rate on h_{t-1}."""
        return self.rate if self.recurrent_rate is None else self.recurrent_rate
