"""Quick checks of a command's options, which run before torch is imported.

Each raises ValueError that names the argument, what it got and what it takes.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from diptych.names import DTYPES, EXPERIMENTS, MODELS, lookup
from model_specs.common.fields import LARGEST, check_choice

RUN_FILES = ("run.json", "evaluation.json")
"""Files of a run that a record must not replace."""
TRAINED_FILES = ("run.json", "metrics.jsonl", "checkpoint.safetensors", "weights.safetensors")
"""Files that a training writes into the folder of its run."""
LONGEST_NAME = 240
"""Bytes of a file's name; a file system takes 255, and a file is written under a longer name."""


def check_model(name: str) -> None:
    """Raise unless `name` is the name of a model."""
    lookup("model", name, MODELS)


def check_pairs(names: Iterable[str], others: Iterable[str] = ()) -> None:
    """Raise unless each name, without its [variant], is a model or one of `others`."""
    for name in names:
        lookup("model", name.partition("[")[0] or name, {**dict.fromkeys(others), **MODELS})


def check_dtype(dtype: str | None) -> None:
    """Raise unless `dtype` is None or a dtype of both panels."""
    if dtype is not None:
        check_choice("dtype", dtype, DTYPES)


def check_device(device: str | None) -> None:
    """Raise unless `device` is None or has the form of a device; this machine may still lack it."""
    if device is not None and not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise ValueError(f"device: got {device!r}, takes cpu, cuda or cuda:N")


def check_sizes(text: str | None) -> tuple[int, ...] | None:
    """The batch sizes in "1,16,256", sorted. Raises unless each is an int of at least 1."""
    if text is None:
        return None
    sizes = []
    for part in text.split(","):
        if not re.fullmatch(r"\s*\d{1,10}\s*", part) or not 1 <= int(part) <= LARGEST:
            raise ValueError(f"sizes: got {text!r}, takes batch sizes >= 1, as in 1,16,256")
        sizes.append(int(part))
    return tuple(sorted(set(sizes)))


def check_preset(name: str | None, model: str) -> None:
    """Raise unless `name` is None or a preset of this model."""
    from diptych.training.presets import PRESETS

    if name is not None and (owner := lookup("preset", name, PRESETS).model) != model:
        raise ValueError(f"preset: got {name!r} for {model}, it is one of {owner}")


def check_experiment(name: str) -> None:
    """Raise unless `name` is an experiment of the laboratory."""
    lookup("experiment", name, dict.fromkeys(EXPERIMENTS))


def check_runs(*paths: Path) -> None:
    """Raise unless each path is the folder of a run."""
    for path in paths:
        if not (path / "run.json").is_file():
            raise ValueError(f"{path}: not a run folder (it has no file run.json)")


def is_text_run(path: Path) -> bool:
    """Return True if the run in this folder was trained on text."""
    from diptych import data

    try:
        name = json.loads((path / "run.json").read_bytes())["config"]["data"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        from diptych.runs.folder import RunFolder

        name = RunFolder(path).config().data  # an old version, or an error that names the fault
    return data.is_text(str(name))


def check_data(name: str | None) -> None:
    """Raise unless `name` is None or the name of a data set; no file is read."""
    from diptych import data

    if name is None or name in data.DATASETS:
        return
    head, colon, _ = name.partition(":")
    if not colon and ("/" in name or os.path.exists(name)):
        raise ValueError(
            f"data: got '{name}', takes the name of a data set (see `diptych list data`); "
            "--data-root is the folder of its files, and text:PATH reads a text file"
        )
    if not colon or head not in {form.partition(":")[0] for form in data.PARAMETRIC}:
        data.load(name)  # raises the error that lists the names


def check_file(argument: str, path: Path | None, *suffixes: str) -> None:
    """Raise unless `path` is None or a file with one of these suffixes that can be written."""
    if path is None:
        return
    _check_names(argument, path)
    if path.suffix.lower() not in suffixes:
        takes = " or ".join(suffixes)
        raise ValueError(f"{argument}: got '{path}', takes a name that ends in {takes}")
    if path.is_dir():
        raise ValueError(f"{argument}: got '{path}', which is a folder, takes a file")
    if path.exists() and not path.is_file():
        raise ValueError(f"{argument}: got '{path}', which is no regular file, takes a file")
    _check_writable(argument, path, path.parent)


def check_folder(
    argument: str, path: Path, files: Iterable[str] = (), folders: Iterable[str] = ()
) -> None:
    """Raise unless `path` is a folder that can be written or created, and so are its contents.

    `files` and `folders` are the names in it that the command will write.
    """
    _check_names(argument, path)
    _check_writable(argument, path, path)
    for name in files:
        if (path / name).is_dir():
            raise ValueError(f"{argument}: got '{path}', where '{name}' is a folder, takes a file")
    for name in folders:
        _check_writable(argument, path / name, path / name)


def check_distinct(outputs: Mapping[str, Path | None], others: Iterable[Path] = ()) -> None:
    """Raise if two options name the same file, or one names a file that the command itself uses."""
    places: dict[str, str] = {os.path.realpath(other): "" for other in others}
    for argument, path in outputs.items():
        if path is None:
            continue
        earlier = places.setdefault(os.path.realpath(path), argument)
        if not earlier:
            raise ValueError(f"{argument}: got '{path}', which the command uses itself")
        if earlier != argument:
            raise ValueError(f"{argument}: got '{path}', takes another file than {earlier}")


def check_record(path: Path | None, *runs: Path) -> None:
    """Raise unless `path` is None or a JSON file that can be written and is none of these runs'."""
    check_file("record", path, ".json")
    check_distinct({"record": path}, [run / name for run in runs for name in RUN_FILES])


def _check_names(argument: str, path: Path) -> None:
    longest = max((len(os.fsencode(part)) for part in path.parts), default=0)
    if longest > LONGEST_NAME:
        raise ValueError(
            f"{argument}: got a name of {longest} bytes, takes at most {LONGEST_NAME}: '{path}'"
        )


def _check_writable(argument: str, path: Path, folder: Path) -> None:
    """Create a nameless file in the nearest folder that exists: permissions do not tell it all."""
    nearest = next(p for p in (folder, *folder.absolute().parents) if os.path.lexists(p))
    if not nearest.is_dir():
        raise ValueError(f"{argument}: got '{path}', cannot write there ('{nearest}' is no folder)")
    try:
        tempfile.TemporaryFile(dir=nearest).close()
    except OSError as error:
        reason = (error.strerror or "no permission").lower()
        raise ValueError(f"{argument}: got '{path}', cannot write there ({reason})") from None
