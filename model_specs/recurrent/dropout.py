"""The dropout schemes of a recurrent network: the connections and the shape of their masks.

Sources: Zaremba, Sutskever & Vinyals, "Recurrent neural network regularization" (2014), arXiv
1409.2329; Gal & Ghahramani, "A theoretically grounded application of dropout in recurrent neural
networks" (2016), arXiv 1512.05287.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from model_specs.common.effects import check_effects, conditional
from model_specs.common.fields import check_choice, check_positive_int, check_rate


@dataclass(frozen=True)
class Scheme:
    """The connections that dropout masks lie on, and the shape of the masks.

        one mask a step:      (T, B, H)
        one for all steps:    (1, B, H)

    In either, every example of the batch has masks of its own.
    """

    inputs: bool
    """True: masks lie on the L + 1 connections that do not run through time, into each layer and
    out of the last one."""
    recurrent: bool
    """True: masks lie on the L connections that run through time, from h_{t-1} to h_t."""
    shared: bool
    """True: one mask serves all steps. False: each step has a mask of its own."""


SCHEMES = {
    "none": Scheme(inputs=False, recurrent=False, shared=False),
    # Zaremba et al.: a signal passes L + 1 masks, over however many steps it is carried
    "per_step": Scheme(inputs=True, recurrent=False, shared=False),
    # Gal & Ghahramani's masks on the same connections: constant over the sequence
    "variational": Scheme(inputs=True, recurrent=False, shared=True),
    # Gal & Ghahramani's full form
    "variational_recurrent": Scheme(inputs=True, recurrent=True, shared=True),
    # both papers argue against it: the state passes a new mask at every step
    "recurrent": Scheme(inputs=False, recurrent=True, shared=False),
}


class Masks(NamedTuple):
    """Every random number that a recurrent network needs: True where a unit is kept.

    Without dropout, at rate 0 and in evaluation the fields are None and empty tuples.
    """

    words: Any = None  # (B, V): whole words, the same ones at each step; LSTM language model only
    inputs: tuple[Any, ...] = ()  # L + 1 of (T or 1, B, width): into layer 0 ... L-1, and out
    recurrent: tuple[Any, ...] = ()  # L of (T or 1, B, H)


@dataclass(frozen=True)
class RecurrentConfig:
    """The fields that the configs of the tanh RNN and of the LSTM share."""

    hidden_dim: int
    """Each layer has H = hidden_dim units."""
    num_layers: int
    """The network has L = num_layers layers, whose parameters have torch's names: weight_ih_l0,
    weight_hh_l0, bias_ih_l0, ..."""
    seq_len: int
    """A window has T = seq_len steps; backpropagation through time stops at its start."""
    scheme: str = conditional(
        "none",
        rate=lambda config: bool(rates(config)) or config.recurrent_rate is not None,
        recurrent_rate=lambda config: bool(rates(config)),
    )
    """The dropout scheme is none, per_step, variational, variational_recurrent or recurrent: see
    SCHEMES."""
    rate: float = conditional(
        0.0,
        scheme=[name for name in SCHEMES if name != "none"],
        recurrent_rate=lambda config: (
            SCHEMES[config.scheme].inputs or config.recurrent_rate is None
        ),
    )
    """A unit is dropped with probability p = rate, in [0, 1), and the kept ones are scaled by 1 /
    (1 - p)."""
    recurrent_rate: float | None = conditional(
        None, scheme=[name for name, scheme in SCHEMES.items() if scheme.recurrent]
    )
    """In the schemes that drop h_{t-1}, its units are dropped with this probability; None:
    `rate`."""

    def __post_init__(self) -> None:
        for name in ("hidden_dim", "num_layers", "seq_len"):
            check_positive_int(name, getattr(self, name))
        check_choice("scheme", self.scheme, SCHEMES)
        check_rate("rate", self.rate)
        if self.recurrent_rate is not None:
            check_rate("recurrent_rate", self.recurrent_rate)
        check_effects(self)

    @property
    def hidden_rate(self) -> float:
        """The dropout rate of h_{t-1}."""
        return self.rate if self.recurrent_rate is None else self.recurrent_rate


class MaskPlan(NamedTuple):
    """The masks of one field of Masks: (steps, B, width) for each of `widths`."""

    name: str
    """Name of the field, and of the random stream below the noise's key."""
    rate: float
    """The probability with which a unit is dropped."""
    steps: int
    widths: tuple[int, ...]


def mask_plans(config: RecurrentConfig, input_dim: int, length: int) -> tuple[MaskPlan, ...]:
    """The masks that the config's scheme needs for `length` steps of inputs (B, input_dim).

    The widths of the inputs' masks are (I, H, ..., H): into layer 0, between layers, out of the
    last.
    """
    scheme = SCHEMES[config.scheme]
    steps = 1 if scheme.shared else length
    hidden = (config.hidden_dim,) * config.num_layers
    widths = {"inputs": (input_dim, *hidden), "recurrent": hidden}
    return tuple(MaskPlan(name, rate, steps, widths[name]) for name, rate in rates(config).items())


def rates(config: RecurrentConfig) -> dict[str, float]:
    """The dropout rate of each field of Masks that the config's scheme fills, if it is not 0."""
    scheme = SCHEMES[config.scheme]
    result = {}
    if scheme.inputs and config.rate:
        result["inputs"] = config.rate
    if scheme.recurrent and config.hidden_rate:
        result["recurrent"] = config.hidden_rate
    return result
