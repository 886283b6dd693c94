"""Draw samples from a trained run: `diptych sample`."""

from __future__ import annotations

from pathlib import Path

from diptych.commands.open import check_same_data, load_data, open_run
from diptych.runs.vocabulary import has_vocabulary, read_vocabulary
from diptych.tasks import Options, make_task
from diptych.tasks.language import sample_text


def sample_run(
    path: Path,
    options: Options,
    *,
    last: bool = False,
    data_root: Path | None = None,
    device: str | None = None,
) -> str:
    """Draw from a trained run. Returns the text, or a sentence that names the picture file.

    A run on text needs its own folder only: its vocabulary is there. Runs of version 0.1.0 and runs
    on images read their data.
    """
    config, folder, panel = open_run(path, last=last, device=device)
    settings = folder.settings()
    if has_vocabulary(settings):
        if data_root is not None:
            raise ValueError(f"root: got '{data_root}' with a run on text, takes no folder")
        vocabulary = read_vocabulary(folder.path, settings)
        return sample_text(panel, vocabulary, options, config.data)
    dataset = load_data(config, data_root=data_root)
    check_same_data(folder, dataset)
    task = make_task(config, dataset)
    return task.sample(panel, folder.path, options)
