"""Several processes that train one model: each takes a part of every batch.

    torchrun --nproc-per-node 4 -m diptych train conv_vae --data cifar10 --out runs/four

The batches, the noise (addressed by the position of an example in its batch) and, beyond rounding,
the steps are those of one process, whatever the number of ranks; a run may be resumed on another
number. A rank computes on its own rows only, so batch normalisation differs without
`sync_batchnorm`: its statistics are then of fewer images, and the running ones are rank 0's.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from diptych.panels import liveness
from torch_impl.nn.module import as_device

T = TypeVar("T")

STEP_MINUTES = 15
"""Minutes that the ranks wait for each other at a step."""
BROADCAST_MINUTES = 120
"""Minutes that they wait for rank 0, which validates alone."""


@dataclass(frozen=True)
class Ranks:
    """The rank of this process among those that train together; by default it is the only one."""

    rank: int = 0
    size: int = 1
    group: Any = None
    """The process group of `broadcast`, which has time for a validation; None is the default."""

    @property
    def first(self) -> bool:
        """True on rank 0, which alone writes files, draws pictures and prints."""
        return self.rank == 0

    def shard(self, examples: int, reduction: str) -> tuple[slice, float]:
        """Return this rank's rows of a batch, and the share of their loss in the whole loss.

            whole loss = sum over ranks of share * loss(rows),   share = n_rows / n, or 1 for "sum"

        No row is in two parts. If a batch has fewer than two rows for each rank, every rank takes
        all of it with the share 1 / size, because a single row cannot be normalised.
        """
        if examples < 2 * self.size:
            return slice(0, examples), 1 / self.size
        rows = slice(*(examples * r // self.size for r in (self.rank, self.rank + 1)))
        return rows, 1.0 if reduction == "sum" else (rows.stop - rows.start) / examples

    def all_reduce(self, terms: Mapping[str, float]) -> dict[str, float]:
        """Sum each term over the ranks."""
        if self.size == 1:
            return dict(terms)
        total = torch.tensor(list(terms.values()), dtype=torch.float64, device=_device())
        dist.all_reduce(total)
        return dict(zip(terms, total.tolist(), strict=True))

    def any(self, flag: bool) -> bool:
        """True if `flag` is true on any rank."""
        return self.all_reduce({"flag": float(flag)})["flag"] > 0

    def broadcast(self, compute: Callable[[], T]) -> T:
        """Call `compute` on rank 0 and return its result, or raise its error, on every rank."""
        if self.size == 1:
            return compute()
        outcome: list[Any] = [None, None]
        if self.first:
            try:
                outcome[0] = compute()
            except (ValueError, OSError, RuntimeError) as error:
                outcome[1] = error
        device = _device() if self.group is None else torch.device("cpu")
        dist.broadcast_object_list(outcome, group=self.group, device=device)
        if outcome[1] is not None:
            raise outcome[1]
        return outcome[0]


@contextlib.contextmanager
def joined(
    device: str, minutes: float = STEP_MINUTES, silence: float = liveness.SILENCE
) -> Iterator[Ranks]:
    """Join the process group that torchrun started; without torchrun, yield the only rank.

    A rank that is killed or that is silent for `silence` seconds ends the run (see
    diptych.panels.liveness); so does one that keeps the others waiting for `minutes` at a step.
    Raises: ValueError for a device other than "cpu" or "cuda" (each rank takes a GPU of its own),
    or for a device that this machine lacks; LostRankError on one rank if another is lost.
    """
    size = int(os.environ.get("WORLD_SIZE") or 1)
    if size == 1:
        yield Ranks()
        return
    if device not in ("cpu", "cuda"):
        raise ValueError(f"device: got {device!r}, several ranks take 'cpu' or 'cuda'")
    if as_device(device).type == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK") or 0))
    backend = {"cpu": "gloo", "cuda": "nccl"}[device]
    dist.init_process_group(backend, timeout=timedelta(minutes=minutes))
    rank = dist.get_rank()
    alive = liveness.Liveness(rank, size, silence)
    dist.barrier()  # each rank has reported once
    with alive.watching():
        patience = timedelta(minutes=BROADCAST_MINUTES)
        yield Ranks(rank, size, dist.new_group(backend="gloo", timeout=patience))
    dist.destroy_process_group()  # not after an error: it would wait for the other ranks


def _device() -> torch.device:
    """Return the device on which the process group expects its tensors."""
    return torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")
