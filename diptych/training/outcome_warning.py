"""A warning at the end of a training run whose loss exceeds that of a uniform distribution."""

from __future__ import annotations

from diptych.data import Data
from diptych.runs.config import RunConfig
from diptych.tasks import make_task
from diptych.training.train import Outcome


def outcome_warning(outcome: Outcome, config: RunConfig, dataset: Data) -> str | None:
    """Warn if the last validation of a run is worse than a uniform distribution; else None."""
    epochs = outcome.folder.history().epochs
    if not epochs or not config.validates:
        return None
    return make_task(config, dataset).warning(outcome.panel, epochs[-1]["valid"])
