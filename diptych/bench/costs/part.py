"""The operations of a loss, each with its products and the values that it reads and writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Products(NamedTuple):
    """FLOPs of the matrix products of an operation; a product and its addition count as two."""

    forward: int = 0
    dx: int = 0
    """Gradient of the input."""
    dw: int = 0
    """Gradient of the weight."""

    @property
    def backward(self) -> int:
        return self.dx + self.dw


NO_PRODUCTS = Products()


@dataclass(frozen=True, eq=False)
class Part:
    """One operation of the loss. A part that occurs twice in a Work uses one weight twice."""

    name: str
    inputs: int
    """Values that it reads, without weights."""
    outputs: int
    """Values that it writes."""
    weights: int = 0
    """Values of weights that it reads in a forward pass."""
    parameters: int = 0
    """Values of the parameters behind these weights."""
    needed: Products = NO_PRODUCTS
    """FLOPs of the products that the equation has: without masked weights, without the zeros of a
    padding, without outputs that nothing reads."""
    dense: Products = NO_PRODUCTS
    """FLOPs of dense kernels, which multiply those too. torch's flop counter counts these."""
    differentiable: bool = True
    """False for an input that takes no gradient, because it is data."""

    @property
    def forward_values(self) -> int:
        """Values that a forward pass reads and writes."""
        return self.inputs + self.weights + self.outputs

    @property
    def backward_values(self) -> int:
        """Values that a backward pass reads and writes.

        dx reads dy, and the weight or the saved input, and writes as many values as the input has;
        dw reads the input and dy, and writes as many values as the weight has.
        """
        dw = self.inputs + self.outputs + self.weights if self.weights else 0
        if not self.differentiable:
            return dw
        return self.outputs + (self.weights or self.inputs) + self.inputs + dw


@dataclass(frozen=True)
class Work:
    """The work of one training step of a model on one batch."""

    parts: Sequence[Part]
    data: int
    """Floating-point values of the batch, its noise and its state that the loss reads."""
    optimizer: int
    """Values that the optimiser reads or writes for each value of the parameters."""
    other_bytes: int = 0
    """Bytes of the tokens and the masks, whose size does not depend on the dtype."""
    unread: int = 0
    """Parameter values that the forward pass does not read: embeddings of other words."""

    @property
    def parameters(self) -> int:
        """Number of values of all parameters."""
        return sum(part.parameters for part in set(self.parts))


ADAM = 7
"""Adam reads p, g, m and v, and writes p, m and v; Adamax likewise."""
CLIPPED_SGD = 4
"""Clipping reads g once for its norm. SGD reads p and g, and writes p."""


def elementwise(name: str, values: int, reads: int = 1, *, differentiable: bool = True) -> Part:
    """An operation on each of `values` outputs, which reads `reads` arrays of that size."""
    return Part(name, reads * values, values, differentiable=differentiable)
