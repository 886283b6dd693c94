"""The update rules of torch.optim with the numbers of each step in a tensor.

torch.optim's `step` computes the bias corrections in Python and passes them to the kernels as
numbers, which a CUDA graph would freeze. Here they are computed in Python alike, for a block of
steps at a time, and each step reads its row of the table. The moments are the tensors in the state
of the torch optimiser itself, so that checkpoints do not depend on the path.

On the CPU a step has the bits of torch.optim's (tested). On CUDA the two may differ by rounding:
torch.optim computes p + rate (m / d) there, the rules here p + (rate m) / d, and Adam in float32 is
torch's fused kernel, one launch instead of nine.
The panels take no options but the learning rate and weight decay, so SGD and RMSprop have no
momentum here.
Shapes: each list has one tensor for each parameter; `numbers` is one row, a vector.
Source: torch.optim 2.13; Kingma & Ba (2015), algorithms 1 and 2; Tieleman & Hinton (2012).
"""

from __future__ import annotations

import torch
from torch import Tensor

from diptych.training.resident.capture import is_capturable


class Rule:
    """Base class: one update of all parameters that have a gradient, from one row of numbers."""

    buffers: tuple[str, ...] = ()
    """The names of the moments in the state of the torch optimiser."""
    captures_rate = False
    """True if the captured step contains the learning rate: a new rate takes a new capture."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer
        (self.group,) = optimizer.param_groups

    def numbers(self, lr: float, step: int) -> tuple[float, ...]:
        """The numbers of a step, counted from 1, that differ between steps."""
        return ()

    @torch.no_grad()
    def update(self, numbers: Tensor, lr: float) -> None:
        """Move the parameters by their gradients."""
        parameters = [p for p in self.group["params"] if p.grad is not None]
        gradients = [p.grad for p in parameters]
        decay = self.group["weight_decay"]
        if decay:
            gradients = [*torch._foreach_add(gradients, parameters, alpha=decay)]
        moments = [[self._state(p)[name] for p in parameters] for name in self.buffers]
        self._move(parameters, gradients, moments, numbers, lr)

    def set_steps(self, count: int) -> None:
        """Set the number of steps in the state of the torch optimiser."""
        for state in self.optimizer.state.values():
            if "step" in state:
                state["step"].fill_(count)

    def _state(self, parameter: Tensor) -> dict[str, Tensor]:
        state = self.optimizer.state[parameter]
        if not state and self.buffers:
            state["step"] = torch.tensor(0.0)
            for name in self.buffers:
                state[name] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
        return state

    def _move(
        self,
        parameters: list[Tensor],
        gradients: list[Tensor],
        moments: list[list[Tensor]],
        numbers: Tensor,
        lr: float,
    ) -> None:
        raise NotImplementedError(f"{type(self).__name__} has no rule")


class Adam(Rule):
    """m <- b1 m + (1 - b1) g;   v <- b2 v + (1 - b2) g^2

    p <- p - lr / (1 - b1^t) m / (sqrt(v) / sqrt(1 - b2^t) + eps)
    """

    buffers = ("exp_avg", "exp_avg_sq")

    def numbers(self, lr: float, step: int) -> tuple[float, ...]:
        beta1, beta2 = self.group["betas"]
        return -(lr / (1 - beta1**step)), (1 - beta2**step) ** 0.5

    def _move(
        self,
        parameters: list[Tensor],
        gradients: list[Tensor],
        moments: list[list[Tensor]],
        numbers: Tensor,
        lr: float,
    ) -> None:
        m, v = moments
        beta1, beta2 = self.group["betas"]
        negative_rate, correction = numbers.unbind()
        torch._foreach_lerp_(m, gradients, 1 - beta1)
        torch._foreach_mul_(v, beta2)
        torch._foreach_addcmul_(v, gradients, gradients, 1 - beta2)
        denominators = [*torch._foreach_sqrt(v)]
        torch._foreach_div_(denominators, correction)
        torch._foreach_add_(denominators, self.group["eps"])
        _add_quotients(parameters, m, denominators, negative_rate)


class FusedAdam(Adam):
    """Adam as one kernel of torch, which computes the bias corrections itself, in float32."""

    def numbers(self, lr: float, step: int) -> tuple[float, ...]:
        return lr, float(step)

    def _move(
        self,
        parameters: list[Tensor],
        gradients: list[Tensor],
        moments: list[list[Tensor]],
        numbers: Tensor,
        lr: float,
    ) -> None:
        m, v = moments
        beta1, beta2 = self.group["betas"]
        rate, step = numbers.unbind()
        torch._fused_adam_(
            parameters,
            gradients,
            m,
            v,
            [],
            [step] * len(parameters),
            lr=rate,
            beta1=beta1,
            beta2=beta2,
            weight_decay=0.0,  # the gradients contain it
            eps=self.group["eps"],
            amsgrad=False,
            maximize=False,
        )


class Adamax(Rule):
    """m <- b1 m + (1 - b1) g;   u <- max(b2 u, |g| + eps);   p <- p - lr / (1 - b1^t) m / u"""

    buffers = ("exp_avg", "exp_inf")

    def numbers(self, lr: float, step: int) -> tuple[float, ...]:
        beta1, _ = self.group["betas"]
        return (-(lr / (1 - beta1**step)),)

    def _move(
        self,
        parameters: list[Tensor],
        gradients: list[Tensor],
        moments: list[list[Tensor]],
        numbers: Tensor,
        lr: float,
    ) -> None:
        m, u = moments
        beta1, beta2 = self.group["betas"]
        torch._foreach_lerp_(m, gradients, 1 - beta1)
        torch._foreach_mul_(u, beta2)
        sizes = torch._foreach_abs(gradients)
        torch._foreach_add_(sizes, self.group["eps"])
        torch._foreach_maximum_(u, sizes)
        _add_quotients(parameters, m, u, numbers[0])


class RMSprop(Rule):
    """v <- a v + (1 - a) g^2;   p <- p - lr g / (sqrt(v) + eps)"""

    buffers = ("square_avg",)

    def numbers(self, lr: float, step: int) -> tuple[float, ...]:
        return (-lr,)

    def _move(
        self,
        parameters: list[Tensor],
        gradients: list[Tensor],
        moments: list[list[Tensor]],
        numbers: Tensor,
        lr: float,
    ) -> None:
        (v,) = moments
        alpha = self.group["alpha"]
        torch._foreach_mul_(v, alpha)
        torch._foreach_addcmul_(v, gradients, gradients, 1 - alpha)
        denominators = [*torch._foreach_sqrt(v)]
        torch._foreach_add_(denominators, self.group["eps"])
        _add_quotients(parameters, gradients, denominators, numbers[0])


class SGD(Rule):
    """p <- p - lr g. The rate is constant within an epoch, and the captured step contains it."""

    captures_rate = True

    def _move(
        self,
        parameters: list[Tensor],
        gradients: list[Tensor],
        moments: list[list[Tensor]],
        numbers: Tensor,
        lr: float,
    ) -> None:
        torch._foreach_add_(parameters, gradients, alpha=-lr)


def _add_quotients(
    parameters: list[Tensor], numerators: list[Tensor], denominators: list[Tensor], rate: Tensor
) -> None:
    """p <- p + (rate numerator) / denominator."""
    updates = torch._foreach_mul(numerators, rate)
    torch._foreach_div_(updates, denominators)
    torch._foreach_add_(parameters, updates)


def rule_of(optimizer: torch.optim.Optimizer, device: torch.device) -> Rule:
    """The update rule of a torch optimiser for parameters on `device`."""
    dtype = optimizer.param_groups[0]["params"][0].dtype
    if type(optimizer) is torch.optim.Adam and is_capturable(device) and dtype == torch.float32:
        return FusedAdam(optimizer)
    return RULES[type(optimizer)](optimizer)


RULES: dict[type[torch.optim.Optimizer], type[Rule]] = {
    torch.optim.Adam: Adam,
    torch.optim.Adamax: Adamax,
    torch.optim.RMSprop: RMSprop,
    torch.optim.SGD: SGD,
}
