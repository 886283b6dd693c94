"""Options of the torch backend, none of which changes a result beyond its rounding."""

from __future__ import annotations

from dataclasses import dataclass

from model_specs.common.fields import check_choice

AMP = ("off", "bf16", "fp16")


@dataclass(frozen=True)
class Engine:
    """Options of the torch backend.   Raises: ValueError for an unknown kind of mixed precision."""

    amp: str = "off"
    """mixed precision: in a training step layers hand on bfloat16 or float16; weights, losses and
    all evaluation stay float32. float16 underflows, so its loss is scaled up
    and its gradients down again; a step in which one overflowed is left out (Micikevicius et al.
    2018)"""
    channels_last: bool = False
    """images and kernels in memory as N H W C, which tensor cores read in place"""
    compile: bool = False
    """torch.compile of the loss"""
    sync_batchnorm: bool = False
    """batches are normalised over all ranks; otherwise each rank normalises its part by that part's
    own statistics, and the running ones are rank 0's"""

    def __post_init__(self) -> None:
        check_choice("amp", self.amp, AMP)
