"""Options of the torch backend, none of which changes a result beyond its rounding."""

from __future__ import annotations

from dataclasses import dataclass

from model_specs.common.fields import check_choice

AMP = ("off", "bf16", "fp16")


@dataclass(frozen=True)
class Engine:
    """Options of the torch backend. Raises: ValueError for an unknown kind of mixed precision."""

    amp: str = "off"
    """Mixed precision: off, bf16 or fp16. In a training step the layers compute in bfloat16 or
    float16; weights, losses and evaluations stay float32. With fp16 the loss is scaled up and the
    gradients are scaled down again, because small ones would underflow; a step in which a gradient
    overflows is skipped (Micikevicius et al. 2018)."""
    channels_last: bool = False
    """True to store images and kernels as NHWC, the layout that tensor cores read."""
    compile: bool = False
    """True to compile the loss with torch.compile, and the random bits of a training step's noise.
    They are integers and keep their values; normal numbers are computed from them as without."""
    sync_batchnorm: bool = False
    """True to normalise a batch over all ranks. Otherwise each rank normalises its part by the
    statistics of this part alone, and the running statistics are those of rank 0."""

    def __post_init__(self) -> None:
        check_choice("amp", self.amp, AMP)
