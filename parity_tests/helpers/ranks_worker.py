"""Run by each of several ranks for test_ranks.py: gradients of its part of every case's batch.

torchrun --nproc-per-node 2 ranks_worker.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple

from diptych import pairs
from diptych.arrays import to_numpy
from diptych.files import save_arrays
from diptych.panels import Panel, make_panel
from diptych.panels.engine import Engine
from diptych.panels.ranks import Ranks, joined
from model_specs.common.fields import check_positive_int
from model_specs.common.key import Key
from model_specs.conv_vae import ConvVAEConfig
from model_specs.mlp_vae import MLPVAEConfig
from numpy_ref.nn.module import as_dtype


class Case(NamedTuple):
    model: str
    config: Any
    size: int


CONV: dict[str, Any] = {"latent_dim": 5, "base_channels": 3, "image_size": 16, "in_channels": 2}
MLP: dict[str, Any] = {"input_dim": 13, "hidden_dim": 11, "latent_dim": 3, "samples": 2}
CASES = {
    "dense": Case("mlp_vae", MLPVAEConfig(**MLP), 6),
    "dense, odd, sum": Case("mlp_vae", MLPVAEConfig(**MLP, reduction="sum"), 7),
    "dense, fewer than ranks": Case("mlp_vae", MLPVAEConfig(**MLP), 1),
    "dense, fewer than ranks, sum": Case("mlp_vae", MLPVAEConfig(**MLP, reduction="sum"), 1),
    "normalised": Case("conv_vae", ConvVAEConfig(**CONV, beta=0.7), 6),
    "normalised, odd": Case("conv_vae", ConvVAEConfig(**CONV, recon_type="gaussian"), 7),
    "normalised, odd, sum": Case("conv_vae", ConvVAEConfig(**CONV, reduction="sum"), 5),
}
KEY = Key(41)


def panel_of(case: Case, backend: str, ranks: Ranks, *, synchronised: bool = True) -> Panel:
    normalised = synchronised and case.model == "conv_vae" and backend == "torch"
    engine = Engine(sync_batchnorm=normalised)
    return make_panel(
        case.model,
        case.config,
        backend,
        key=KEY.fold_in("weights"),
        dtype="float64",
        engine=engine,
        ranks=ranks,
    )


def gradients(case: Case, panel: Panel, ranks: Ranks) -> dict[str, Any]:
    """Terms, gradients and buffers after this rank's part of the case's batch."""
    batch = pairs.get(case.model).batch(case.config, KEY, as_dtype("float64"), case.size)
    rows, share = ranks.shard(case.size, case.config.reduction)
    noise = panel.model.draw_noise(KEY, rows.stop - rows.start, first=rows.start)
    terms, _ = panel.forward_backward(batch[rows], noise, share)
    result = {f"term {name}": value for name, value in terms.items()}
    result |= {f"gradient {name}": value for name, value in panel.model.gradients().items()}
    return result | {f"state {name}": value for name, value in panel.weights().items()}


def main(folder: Path) -> None:
    with joined("cpu") as ranks:
        for name, case in CASES.items():
            result = gradients(case, panel_of(case, "torch", ranks), ranks)
            arrays = {key: to_numpy(value) for key, value in result.items()}
            save_arrays(folder / f"{name}-{ranks.rank}.safetensors", arrays)
        message = {"flag": ranks.any(ranks.rank == 1), "none": ranks.any(False)}
        message["answer"] = ranks.broadcast(lambda: 40 + ranks.rank)
        try:
            ranks.broadcast(lambda: check_positive_int("asked", -1 - ranks.rank))
        except ValueError as error:
            message["error"] = str(error)
        save_arrays(folder / f"answers-{ranks.rank}.safetensors", {}, message)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
