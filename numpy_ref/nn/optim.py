"""Optimisers and clipping.   Right panel: torch.optim, with the same numbers.

An optimiser takes `model.named_parameters()`, for a state with names, or `model.parameters()`, for
a state named by position.

Shapes: a buffer has the shape of its parameter.
Source: the rules of torch.optim; each class names its paper.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from model_specs.common.fields import check_rate, check_real
from model_specs.common.state import check_state, shapes_of
from numpy_ref.nn.module import Array, Parameter

BLOCK = 32768
Parameters = Iterable[tuple[str, Parameter] | Parameter]


class Optimizer:
    """Base class: `lr`, `step_count`, and for each name in `buffers` one array per parameter.

    `weight_decay` adds weight_decay * p to the gradient of every parameter p, as in torch.
    """

    buffers: tuple[str, ...] = ()

    def __init__(self, parameters: Parameters, lr: float, weight_decay: float = 0.0) -> None:
        check_real("lr", lr, above=0)
        check_real("weight_decay", weight_decay, above=0, inclusive=True)
        self.parameters: dict[str, Parameter] = {}
        for i, item in enumerate(parameters):
            name, parameter = (str(i), item) if isinstance(item, Parameter) else item
            self.parameters[name] = parameter
        for parameter in self.parameters.values():
            parameter.data = np.ascontiguousarray(parameter.data).reshape(parameter.data.shape)
        self.lr, self.weight_decay = lr, weight_decay
        self.step_count = 0
        self.state = {
            name: {buffer: np.zeros_like(p.data) for buffer in self.buffers}
            for name, p in self.parameters.items()
        }

    def step(self) -> None:
        """Update every parameter by its `.grad`."""
        self.step_count += 1
        for name, parameter in self.parameters.items():
            # blocks stay in the cache; passes over whole arrays take twice as long
            data, grad = parameter.data.reshape(-1), parameter.grad.reshape(-1)
            state = {buffer: array.reshape(-1) for buffer, array in self.state[name].items()}
            for start in range(0, data.size, BLOCK):
                block = slice(start, start + BLOCK)
                state_block = {buffer: array[block] for buffer, array in state.items()}
                g = grad[block]
                g = g + self.weight_decay * data[block] if self.weight_decay else g
                self._update(data[block], g, state_block)

    def _update(self, data: Array, grad: Array, state: dict[str, Array]) -> None:
        """Update one block of one parameter, in place."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Array]:
        """Copies of the buffers, named "name.buffer", and "step"."""
        flat = {
            f"{name}.{buffer}": array.copy()
            for name, buffers in self.state.items()
            for buffer, array in buffers.items()
        }
        return flat | {"step": np.array(self.step_count, np.int64)}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Copy a state_dict. Raises ValueError that lists every entry that does not fit."""
        check_state(shapes_of(self.state_dict()), shapes_of(state), "optimizer state")
        self.step_count = int(state["step"])
        for name, buffers in self.state.items():
            for buffer, array in buffers.items():
                array[...] = state[f"{name}.{buffer}"]


class SGD(Optimizer):
    """b <- momentum b + g;   p <- p - lr b.   The first b is g, as in torch.optim.SGD.

    Without momentum b is g, and there is no state.
    """

    def __init__(
        self,
        parameters: Parameters,
        lr: float = 1e-3,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        check_real("momentum", momentum, above=0, inclusive=True)
        self.momentum = momentum
        self.buffers = ("momentum_buffer",) if momentum else ()
        super().__init__(parameters, lr, weight_decay)

    def _update(self, data: Array, grad: Array, state: dict[str, Array]) -> None:
        b = grad
        if self.momentum:
            b = state["momentum_buffer"]
            b *= self.momentum
            b += grad
        data -= self.lr * b


class RMSprop(Optimizer):
    """v <- alpha v + (1 - alpha) g^2;   p <- p - lr g / (sqrt(v) + eps)

    With momentum, b <- momentum b + g / (sqrt(v) + eps) and p <- p - lr b. If `centered`,
    m <- m + (1 - alpha)(g - m), and sqrt(v - m^2) takes the place of sqrt(v).
    There is no correction as in Adam: v starts at 0, and by default the first step has the length
    lr / sqrt(1 - alpha) = 10 lr. Where a gradient stays the same, v - m^2 goes to 0; rounding can
    take it below, and then the step is NaN, as in torch.
    Source: Tieleman & Hinton (2012), lecture 6.5, with alpha 0.9 and without eps; Graves (2013),
    page 23, centered and with momentum, where eps is under the root and b contains lr. This is the
    order of operations of torch.optim.RMSprop.
    """

    def __init__(
        self,
        parameters: Parameters,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
    ) -> None:
        check_rate("alpha", alpha)
        check_real("eps", eps, above=0, inclusive=True)
        check_real("momentum", momentum, above=0, inclusive=True)
        self.alpha, self.eps, self.momentum, self.centered = alpha, eps, momentum, centered
        self.buffers = (
            "square_avg",
            *(("momentum_buffer",) if momentum else ()),
            *(("grad_avg",) if centered else ()),
        )
        super().__init__(parameters, lr, weight_decay)

    def _update(self, data: Array, grad: Array, state: dict[str, Array]) -> None:
        v = state["square_avg"]
        square = grad * grad
        square *= 1 - self.alpha
        v *= self.alpha
        v += square

        if self.centered:
            m = state["grad_avg"]
            m += (1 - self.alpha) * (grad - m)
            denominator = np.subtract(v, np.multiply(m, m, out=square), out=square)
            np.sqrt(denominator, out=denominator)
        else:
            denominator = np.sqrt(v, out=square)
        denominator += self.eps

        if self.momentum:
            b = state["momentum_buffer"]
            b *= self.momentum
            b += np.divide(grad, denominator, out=denominator)
            data -= self.lr * b
        else:
            data -= np.divide(self.lr * grad, denominator, out=denominator)


class Adam(Optimizer):
    """m <- m + (1 - beta1)(g - m);   v <- beta2 v + (1 - beta2) g^2;   at step t

        p <- p - lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps)

    Source: Kingma & Ba (2014), algorithm 1, in the order of operations of torch.optim.Adam.
    """

    buffers = ("exp_avg", "exp_avg_sq")

    def __init__(
        self,
        parameters: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, lr, weight_decay)
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"betas: got {betas!r}, takes two numbers in [0, 1)")
        check_real("eps", eps, above=0, inclusive=True)
        self.betas, self.eps = betas, eps

    def _update(self, data: Array, grad: Array, state: dict[str, Array]) -> None:
        (beta1, beta2), t = self.betas, self.step_count
        m, v = state["exp_avg"], state["exp_avg_sq"]

        change = grad - m
        change *= 1 - beta1
        m += change

        square = np.multiply(grad, grad, out=change)
        square *= 1 - beta2
        v *= beta2
        v += square

        denominator = np.sqrt(v, out=square)
        denominator /= math.sqrt(1 - beta2**t)
        denominator += self.eps

        update = np.divide(m, denominator, out=denominator)
        update *= self.lr / (1 - beta1**t)
        data -= update


class Adamax(Adam):
    """m as in Adam;   u <- max(beta2 u, |g| + eps);   at step t

        p <- p - lr / (1 - beta1^t) * m / u

    Source: Kingma & Ba (2014), algorithm 2, in the order of operations of torch.optim.Adamax. The
    paper has no eps, and divides 0 by 0 for a parameter that never had a gradient.
    """

    buffers = ("exp_avg", "exp_inf")

    def __init__(self, parameters: Parameters, lr: float = 2e-3, **options: Any) -> None:
        super().__init__(parameters, lr, **options)

    def _update(self, data: Array, grad: Array, state: dict[str, Array]) -> None:
        (beta1, beta2), t = self.betas, self.step_count
        m, u = state["exp_avg"], state["exp_inf"]

        change = grad - m
        change *= 1 - beta1
        m += change

        size = np.abs(grad, out=change)
        size += self.eps
        u *= beta2
        np.maximum(u, size, out=u)

        update = np.multiply(m, self.lr / (1 - beta1**t), out=size)
        update /= u
        data -= update


def clip_grad_norm(parameters: Iterable[Parameter], max_norm: float) -> float:
    """Scale all gradients by min(1, max_norm / (norm + 1e-6)); returns the norm before.

    norm is the 2-norm of all gradients together. If it is NaN, every gradient becomes NaN; if it is
    inf, every finite gradient becomes 0.   Source: torch.nn.utils.clip_grad_norm_.
    """
    check_real("max_norm", max_norm, above=0)
    grads = [parameter.grad for parameter in parameters]
    with np.errstate(over="ignore", invalid="ignore"):
        norm = math.hypot(*(float(np.linalg.norm(grad)) for grad in grads))
        scale = max_norm / (norm + 1e-6)
        if not scale >= 1:  # NaN too
            for grad in grads:
                np.multiply(grad, scale, out=grad)
    return norm
