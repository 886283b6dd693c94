"""Reading and decoding the latent of a model of images, in one way for both panels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from model_specs.common.key import Key
from numpy_ref.nn.module import Module

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Latent:
    """The latent of a configured model; each function takes a model of either panel.

    A code is the latent as the decoder reads it: z, or for an IAF posterior the flow's u.
    Shapes: N images, Z = dim; codes and eps (N, Z).
    """

    dim: int
    """The number of dimensions of a code."""
    codes: Callable[[Any, Any], Any]
    """A function (model, batch) -> the codes at the means of q(z|x)."""
    images: Callable[[Any, Any, Key, bool, Progress | None], Any]
    """A function (model, codes, key, mean, progress) -> the means of p(x|z). A VLAE draws pixels
    here, by the same uniform numbers for every code, so that two images differ by their codes
    alone; with `mean` it gives the mean by which each was drawn. Only the VLAE uses the last three
    arguments."""
    generate: Callable[[Any, Any], Any] | None = lambda model, eps: eps
    """A function (model, eps) -> codes of p(z) if eps ~ N(0, I); None for a model without p(z)."""
    symbol: str = "z"
    """The letter of a code on the axes of a picture."""
    flow: bool = False
    """True if `generate` is a flow; else the prior of the codes is N(0, I), or there is none."""


def value(model: Any, result: Any) -> Any:
    """The result of a forward function without its vjp, which the left panel returns with it."""
    return result[0] if isinstance(model, Module) else result
