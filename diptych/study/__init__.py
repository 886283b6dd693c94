"""The main job (`make study`): check the pairs, train both panels, and show that they are one."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from diptych import data, figures, pairs
from diptych.check import check_pairs
from diptych.data import Dataset
from diptych.evaluation import elbo_terms, importance_weighted
from diptych.panels import BACKENDS, Panel
from diptych.parity.report import normwise
from diptych.parity.tree import to_numpy
from diptych.run import RunConfig, RunFolder, environment
from diptych.training import Outcome, train
from diptych.weights import write_atomically
from model_specs.key import Key

EVALUATION = Key(0).fold_in("study")
TRAJECTORY = 1e-10
"""The contract for 100 steps in float64. Beyond, rounding grows exponentially with the steps, as in
any training: no fixed bound holds for an arbitrary number of them."""


def study(out: Path, epochs: int, console: Console) -> bool:
    """Run the whole of it into `out`; returns whether every comparison agreed.

    Both panels train in float64 from the same key, hence from the same weights, on the same
    batches and the same noise; what parts their curves is rounding alone.
    """
    begun = time.perf_counter()
    console.rule("1  the two panels compute the same")
    reports = check_pairs(None, "float64", "cpu", console, out / "check.json")

    console.rule("2  the two panels learn the same")
    dataset = data.load("digits")
    console.print(dataset.found, style="dim")
    outcomes = {backend: _train(backend, dataset, epochs, out, console) for backend in BACKENDS}

    console.rule("3  what they learned")
    summary = _summary(outcomes, dataset)
    summary |= {"parity": {report.name: report.ok for report in reports}, **environment()}
    written = _draw(outcomes, dataset, out / "figures", console)
    summary["seconds_in_all"] = time.perf_counter() - begun
    write_atomically(out / "summary.json", (json.dumps(summary, indent=1) + "\n").encode())

    _tell(summary, console)
    for path in [*written, out / "check.json", out / "summary.json"]:
        console.print(f"  {path}", highlight=False)
    for backend in BACKENDS:
        console.print(f"  {out / backend}/  weights, checkpoint, metrics", highlight=False)
    return all(report.ok for report in reports) and summary["curves_error_100"] <= TRAJECTORY


def _train(backend: str, dataset: Dataset, epochs: int, out: Path, console: Console) -> Outcome:
    folder = RunFolder(out / backend)
    config = RunConfig(
        model="mlp_vae",
        model_config=vars(pairs.get("mlp_vae").for_data(64, {"hidden_dim": 128})).copy(),
        data="digits",
        backend=backend,
        dtype="float64",
        epochs=epochs,
        batch_size=64,
        lr=2e-3,
        log_every=1,
    )
    if folder.settings_file.exists():
        if replace(folder.config(), epochs=epochs) != config:
            raise ValueError(
                f"{folder.path}: holds a run that is not a study's; take another --out"
            )
        shutil.rmtree(folder.path)  # an older study's
    outcome = train(config, dataset, folder.path, console=console)
    if outcome.interrupted:
        raise KeyboardInterrupt
    return outcome


def _summary(outcomes: dict[str, Outcome], dataset: Dataset) -> dict[str, Any]:
    left, right = (outcomes[backend] for backend in BACKENDS)
    ours, theirs = left.panel.weights(), right.panel.weights()
    error = max(normwise(ours[name], theirs[name]) for name in ours)
    panels = {}
    for backend, outcome in outcomes.items():
        x = dataset.test.x
        found = importance_weighted(outcome.panel, x, EVALUATION, samples=128)
        panels[backend] = {
            "seconds": outcome.seconds,
            "steps": outcome.steps,
            "test": elbo_terms(outcome.panel, x, EVALUATION) | {"nll": found.nll},
        }
    a, b = _curves(left)["total"][:100], _curves(right)["total"][:100]
    return {
        "data": dataset.found,
        "panels": panels,
        "curves_error_100": float(np.max(np.abs(a - b) / np.abs(b))),
        "weights_error": error,
    }


def _draw(
    outcomes: dict[str, Outcome], dataset: Dataset, folder: Path, console: Console
) -> list[Path]:
    panel = outcomes["torch"].panel
    height, width = dataset.image_shape[-2:]
    x, labels = dataset.test.x, dataset.test.y
    assert labels is not None
    originals = x[:16]

    def framed(images: np.ndarray) -> np.ndarray:
        """A black pixel around each digit, which fills its 8 x 8 to the edge."""
        return np.pad(images.reshape(-1, height, width), ((0, 0), (1, 1), (1, 1)))

    pictures = {
        "loss_curves": lambda: figures.loss_curves({b: _curves(o) for b, o in outcomes.items()}),
        "samples": lambda: figures.image_grid(
            framed(to_numpy(panel.model.sample(EVALUATION, 64, mean=True))), 16
        ),
        "reconstructions": lambda: figures.reconstructions(
            framed(originals),
            framed(to_numpy(panel.model.reconstruct(panel.array(originals)))),
        ),
        "latent_scatter": lambda: figures.latent_scatter(_codes(panel, x), labels),
        "latent_manifold": lambda: figures.latent_manifold(
            lambda z: framed(_decode(outcomes["numpy"].panel, z)).reshape(len(z), -1),
            side=18,
            image_shape=(height + 2, width + 2),
        ),
    }
    written = []
    with console.status("drawing") as status:
        for name, draw in pictures.items():
            status.update(f"drawing {name}")
            written.append(folder / f"{name}.png")
            figures.save(draw(), written[-1])
    return written


def _curves(outcome: Outcome) -> dict[str, np.ndarray]:
    lines = [line for line in outcome.folder.metrics if line["kind"] == "step"]
    return {
        name: np.array([line[name] for line in lines]) for name in ("step", "total", "recon", "kl")
    }


def _codes(panel: Panel, x: np.ndarray) -> np.ndarray:
    return to_numpy(panel.model.encode(panel.array(x)).mu)


def _decode(panel: Panel, z: np.ndarray) -> np.ndarray:
    logits, _ = panel.model.decode(panel.array(z))
    return panel.model.likelihood.mean(logits)


def _tell(summary: dict[str, Any], console: Console) -> None:
    for backend, found in summary["panels"].items():
        console.print(
            f"{backend:>6}: {found['steps']} steps in {found['seconds']:.1f} s; on the test digits "
            f"ELBO {-found['test']['total']:.4f}, log p(x) {-found['test']['nll']:.4f} nats"
        )
    early, error = summary["curves_error_100"], summary["weights_error"]
    console.print(
        f"The curves differ by at most {early:.1e} in the first 100 steps "
        f"(bound {TRAJECTORY:.0e}), the weights by {error:.1e} at the end."
    )
    console.print(f"All of it took {summary['seconds_in_all']:.0f} s. Written:")
