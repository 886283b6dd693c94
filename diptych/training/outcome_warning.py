"""A warning at the end of a training run whose loss exceeds that of a uniform distribution."""

from __future__ import annotations

from diptych.data import Data
from diptych.runs.config import RunConfig
from diptych.runs.folder import read_metrics
from diptych.tasks import make_task
from diptych.training.train import Outcome


def outcome_warning(outcome: Outcome, config: RunConfig, dataset: Data) -> str | None:
    """Warn if the last validation of a run is worse than a uniform distribution; else None."""
    lines = read_metrics(outcome.folder.metrics_file)
    scores = [line["valid"] for line in lines if line["kind"] == "epoch"]
    return make_task(config, dataset).warning(outcome.panel, scores[-1]) if scores else None
