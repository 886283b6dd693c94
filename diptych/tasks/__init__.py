"""Tasks: for each kind of data, the batches of a run and the evaluation of its model."""

from __future__ import annotations

from typing import Any

from diptych.data import Corpus, Data, Dataset, MemoryTask
from diptych.runs.config import RunConfig
from diptych.tasks.base import Options, Task, TrainingBatch
from diptych.tasks.images import Images
from diptych.tasks.language import Language
from diptych.tasks.memory import Memory

__all__ = ["TASKS", "Options", "Task", "TrainingBatch", "make_task"]

TASKS: dict[type, type[Task]] = {Dataset: Images, Corpus: Language, MemoryTask: Memory}


def make_task(config: RunConfig, data: Data) -> Task:
    """Make the task for this kind of data."""
    kind: Any = TASKS[type(data)]
    return kind(config, data)
