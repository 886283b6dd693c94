"""Check every file of run folders: `diptych verify`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.text import Text

from diptych import weights
from diptych.commands.open import load_data
from diptych.data import Data
from diptych.display import Table
from diptych.files import load_arrays, reading, write_json
from diptych.panels import Panel
from diptych.runs.config import RunConfig
from diptych.runs.data_identity import TRAINED_ON, differing_parts
from diptych.runs.folder import RunFolder, read_metrics
from diptych.runs.old_versions import version_of
from diptych.runs.vocabulary import has_vocabulary, read_vocabulary
from diptych.tasks import make_task
from diptych.training.train import Trainer, build

MARKS = {True: "ok", False: "WRONG", None: "not checked"}


class Claim(NamedTuple):
    """One row of the table: what a file should be, and whether it is."""

    file: str
    claim: str
    ok: bool | None
    """None if it could not be checked."""
    message: str


def verify_runs(
    paths: list[Path],
    *,
    console: Console,
    data_root: Path | None = None,
    json_file: Path | None = None,
) -> bool:
    """Check every file of these runs, print a table for each, and return True if all are right.

    Data are compared with their digests where they are embedded or found in `data_root`. Nothing in
    the folders is changed.
    """
    summaries = []
    for path in paths:
        claims = verify(RunFolder(path), data_root)
        table = Table(title=Text(f"{path}"))
        for heading in ("file", "claim", "result", ""):
            table.add_column(heading)
        for row in claims:
            table.add_row(*map(Text, (row.file, row.claim, MARKS[row.ok], row.message)))
        console.print(table)
        ok = all(row.ok is not False for row in claims)
        rows = [row._asdict() for row in claims]
        summaries.append({"path": str(path), "ok": ok, "claims": rows})
    if json_file is not None:
        write_json(json_file, {"runs": summaries}, allow_nan=False)
    return all(summary["ok"] for summary in summaries)


def verify(folder: RunFolder, data_root: Path | None = None) -> list[Claim]:
    """Return the claims about one run folder, in the order in which a reader needs its files."""
    rows = _Rows(folder.path)
    config = rows.add(folder.settings_file, "settings", folder.config, _settings_of(folder))
    rows.add(folder.metrics_file, "lines", lambda: _lines(folder))
    if config is None:
        return rows.claims
    if has_vocabulary(settings := folder.settings()):
        file = folder.path / "vocabulary.json"
        rows.add(file, "digest", lambda: read_vocabulary(folder.path, settings), "the run's")
    panel = rows.add(folder.settings_file, "model", lambda: build(replace(config, device="cpu")))
    for file in (folder.checkpoint_file, folder.best_file, folder.last_file, *_partial(folder)):
        if file.exists():
            _check_tensors(rows, folder, file, panel)
    dataset = _check_data(rows, folder, config, data_root)
    if panel is not None:
        _check_position(rows, folder, config, panel, dataset)
    return rows.claims


class _Rows:
    """The claims about one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.claims: list[Claim] = []

    def add(
        self,
        file: Path,
        claim: str,
        check: Callable[[], Any],
        message: str | Callable[[Any], str] = "",
    ) -> Any:
        """Add the outcome of a check, which raises ValueError if the claim is wrong.

        Returns its result, or None if it is wrong. The message is `message`, or the result itself
        if that is a string.
        """
        name = str(file.relative_to(self.folder))
        try:
            with reading(file):
                result = check()
        except ValueError as error:
            reason = str(error).removeprefix(f"{file}: ").removeprefix(f"{self.folder}: ")
            self.claims.append(Claim(name, claim, False, reason))
            return None
        text = message(result) if callable(message) else message
        text = result if isinstance(result, str) else text
        self.claims.append(Claim(name, claim, True, text))
        return result


def _settings_of(folder: RunFolder) -> Callable[[RunConfig], str]:
    def describe(config: RunConfig) -> str:
        settings = folder.settings()
        form = f"form {settings.get('schema', 1)}, by diptych {version_of(settings)}"
        if not folder.has_digests:
            return f"{form}, which wrote no digests"
        edited = ", edited by hand" if settings["digest"] is None else ""
        return f"{form}: {config.model} on {config.backend}{edited}"

    return describe


def _lines(folder: RunFolder) -> str:
    """Check the lines of the metrics, and those that the checkpoint counts."""
    extent = folder.counted()
    folder.check_metrics()
    lines = read_metrics(folder.metrics_file)
    folder.history()
    if extent is None:
        return f"{len(lines)} lines, counted by no checkpoint"
    late = len(lines) - extent.lines
    return f"{extent.lines} lines" + (f", and {late} after the checkpoint" if late else "")


def _partial(folder: RunFolder) -> Iterator[Path]:
    """The files of unfinished evaluations."""
    return iter(sorted(folder.path.glob("nll-*.safetensors")))


def _check_tensors(rows: _Rows, folder: RunFolder, file: Path, panel: Panel | None) -> None:
    """Check the digest and the values of a tensor file, and that weights fit the model."""
    is_weights = file in (folder.best_file, folder.last_file)
    required = folder.has_digests and (is_weights or file == folder.checkpoint_file)

    def load() -> str:
        arrays, _ = load_arrays(file, digest_required=required)
        if is_weights or file == folder.checkpoint_file:
            broken = [name for name, array in arrays.items() if not np.isfinite(array).all()]
            if broken:
                raise ValueError(f"NaN or inf in {', '.join(broken)}")
        size = sum(array.nbytes for array in arrays.values())
        return f"{len(arrays)} arrays, {size / 2**20:.2f} MiB"

    # runs of form 1 have no digests to check
    rows.add(file, "digest, finite" if folder.has_digests else "finite (no digest)", load)
    if is_weights and panel is not None:
        rows.add(file, "fits the model", lambda: weights.load(panel.model, file))


def _check_data(
    rows: _Rows, folder: RunFolder, config: RunConfig, data_root: Path | None
) -> Data | None:
    """Compare each part of the data with its digest; return the data if they are the run's."""
    try:
        dataset = load_data(config, None, data_root)
    except (ValueError, OSError) as error:
        rows.claims.append(Claim("data", config.data, None, str(error)))
        return None
    settings = folder.settings()
    other = differing_parts(settings, dataset)
    for part in {**settings.get("data_digests", {}), **dataset.contents}:
        checked = "data_digests" in settings or part in TRAINED_ON  # form 1 has one digest of these
        message = "not those of the run" if part in other else "" if checked else "has no digest"
        rows.claims.append(Claim("data", part, part not in other if checked else None, message))
    return None if other else dataset


def _check_position(
    rows: _Rows, folder: RunFolder, config: RunConfig, panel: Panel, dataset: Data | None
) -> None:
    """Restore the checkpoint as `--resume` does, and say how far the run is."""
    file = folder.checkpoint_file
    if dataset is None or not file.exists():
        reason = (
            "the data of the run are not there" if dataset is None else "there is no checkpoint"
        )
        rows.claims.append(Claim(file.name, "position", None, reason))
        return

    def position() -> str:
        trainer = Trainer(config, make_task(config, dataset), folder, panel)
        trainer.restore()
        step, total = trainer.position.step, config.epochs * trainer.task.steps_per_epoch
        if trainer.is_complete():
            return f"step {step}: the run is finished"
        reason = folder.stop_reason()
        return f"step {step} of {total}" + (f"; the run stopped: {reason}" if reason else "")

    rows.add(file, "position", position)
