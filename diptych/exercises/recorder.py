"""A record of a run: what was asked for, what came out, and what the numbers depend on."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

import numpy as np

from diptych.runs.environment import command_line, environment
from model_specs.common.key import Key


class RunRecorder:
    """A folder that holds a whole record or does not exist.

        with RunRecorder("runs/mine", config, seed=0) as record:
            record.log(step=0, loss=1.5)

    run.json        config, seed, command, machine, versions, git commit, seconds
    metrics.jsonl   a JSON object a line, one for each `log`

    Both are written in a hidden folder beside `path`, which becomes `path` in one rename when the
    block ends, and is removed where it ends with an exception.
    Raises: ValueError where `path` holds something already or cannot be written, and for a config
    or a seed that cannot be recorded.
    """

    def __init__(self, path: str | os.PathLike[str], config: Any, seed: int) -> None:
        self.path = Path(path)
        if dataclasses.is_dataclass(config) and not isinstance(config, type):
            config = dataclasses.asdict(config)
        if not isinstance(config, Mapping):
            raise ValueError(f"config: got {config!r}, takes a dataclass or a mapping")
        # as text now, so that nothing changes what was asked for
        self._settings = {"config": json.loads(_json("config", config)), "seed": Key(seed).seed}
        self._staged: Path | None = None
        self._lines: TextIO | None = None
        self._begun = 0.0

    def __enter__(self) -> Self:
        self._check_free()
        with self._writing():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._staged = Path(
                tempfile.mkdtemp(dir=self.path.parent, prefix=f".{self.path.name}.")
            )
            self._lines = (self._staged / "metrics.jsonl").open("w")
        self._begun = time.perf_counter()
        return self

    def log(self, **metrics: Any) -> None:
        """Add one line to the metrics.

        Raises: ValueError for NaN, inf or what JSON has not, and outside of the `with` block.
        """
        if self._lines is None:
            raise ValueError(f"{self.path}: is not being recorded, log inside of the with block")
        self._lines.write(_json("metrics", metrics) + "\n")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._staged is not None and self._lines is not None
        staged, lines = self._staged, self._lines
        self._staged = self._lines = None
        try:
            if kind is None:
                with self._writing():
                    _close(lines)
                    self._write_settings(staged / "run.json")
                    staged.chmod(0o755)
                    self._check_free()  # again: another run may have been faster
                    staged.rename(self.path)
            else:
                lines.close()
        finally:
            shutil.rmtree(staged, ignore_errors=True)

    def _write_settings(self, path: Path) -> None:
        metadata = self._settings | {"command": command_line(), **environment()}
        metadata["seconds"] = time.perf_counter() - self._begun
        with path.open("w") as file:
            file.write(_json("run", metadata, indent=1) + "\n")
            _close(file)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ValueError(f"{self.path}: cannot be written ({error.strerror})") from None

    def _check_free(self) -> None:
        if self.path.is_dir() and not any(self.path.iterdir()):
            return
        if self.path.exists():
            what = "a run" if (self.path / "run.json").exists() else "other files"
            what = what if self.path.is_dir() else "a file"
            raise ValueError(f"{self.path}: holds {what} already, takes a new folder")


def _close(file: TextIO) -> None:
    file.flush()
    os.fsync(file.fileno())
    file.close()


def _json(name: str, value: Any, indent: int | None = None) -> str:
    try:
        return json.dumps(value, indent=indent, allow_nan=False, default=_plain)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: got {value!r}, takes what JSON can hold ({error})") from None


def _plain(value: Any) -> Any:
    """What JSON does not know: NumPy's numbers, small arrays, paths."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is no JSON")
