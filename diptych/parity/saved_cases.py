"""Saved cases: a comparison in one file, which `diptych compare case.safetensors` runs again."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from diptych import weights
from diptych.files import save_arrays
from diptych.names import lookup
from diptych.options.options import Options
from diptych.parity.api import compare
from diptych.parity.makers import make, parse
from diptych.parity.recording import check_path, run_pair
from diptych.parity.recordings import golden
from diptych.parity.recordings.packing import Reader, Writer
from diptych.parity.reports.report import Report
from diptych.parity.running.run import Run
from diptych.parity.versions import versions

FORMAT = "diptych case"
LABELS = ("left", "right")
NAMES = (*(f.name for f in fields(Options) if f.init), "name", "dtype", "device", "key")


@dataclass(frozen=True)
class SavedCase:
    """The arguments of a comparison; a side is a model, or the run of a model that was recorded."""

    left: Any
    right: Any
    batch: Any
    noise: Any
    options: Mapping[str, Any]

    def compare(self, **options: Any) -> Report:
        """Compare again; `options` replace those of the case."""
        arguments = self.left, self.right, self.batch, self.noise
        return compare(*arguments, **{**self.options, **options})


def save_case(
    path: str | os.PathLike[str],
    left: Any,
    right: Any,
    batch: Any = None,
    noise: Any = None,
    *,
    makers: tuple[str | None, str | None] = (None, None),
    **options: Any,
) -> None:
    """Write a comparison to one safetensors file that `diptych compare` runs again.

        parity.save_case("case.safetensors", left, right, batch, noise, bound=1e-9)
        parity.save_case("case.safetensors", "left.py:make", "right.py:make", batch)
        parity.save_case("case.safetensors", left, right, batch, makers=("left.py:make", "m:make"))

    Everything after `path` is passed to `compare`. The file holds the inputs, the options, and for
    each side one of the following:

    * With a maker, "file.py:function" or "package.module:function": the maker and the parameters
      and buffers of the model. The comparison then runs today's code on the stored weights. Paths
      are stored relative to the folder of the case. A string in place of a model is such a maker.
    * For two models without makers: a recording of both. The comparison then compares the stored
      arrays, and needs neither the code nor the machine.
    * The recording in a golden file, if the side is one.

    No pickle is involved: a case without makers runs no code but that of diptych.

    Raises: ValueError if a value cannot be stored, a maker cannot be called, its model does not
    take the weights, or only one of two models has a maker.
    """
    path = check_path(path)
    options = _storable(options)
    writer = Writer()
    sides = [
        _Side(label, value, maker)
        for label, value, maker in zip(LABELS, (left, right), makers, strict=True)
    ]
    if any(side.is_bare for side in sides):
        if not all(side.is_bare for side in sides):
            side = next(side for side in sides if side.is_bare)
            raise ValueError(
                f"makers: got none for the {side.label}, takes one for each model, or none at all"
            )
        options = {"name": type(left).__name__, **options}
        runs = run_pair(left, right, batch, noise, options)
        sides = [_Side(label, run, None) for label, run in zip(LABELS, runs, strict=True)]
    metadata = {
        "format": FORMAT,
        "version": golden.VERSION,
        "versions": versions(),
        "batch": writer.pack("batch", batch),
        "noise": writer.pack("noise", noise),
        "options": writer.pack("options", options),
        **{side.label: side.pack(writer, path.parent) for side in sides},
        "copies": writer.copies,
    }
    save_arrays(path, writer.arrays, metadata)


def load_case(path: str | os.PathLike[str]) -> SavedCase:
    """Read a saved case. Models are built by their makers, which runs their code.

    Raises: ValueError that names the file or the side, and the fault.
    """
    stored = golden.read(path, FORMAT, _unpack)
    sides: dict[str, Any] = {}
    for label in LABELS:
        maker, content = stored[label]
        if maker is not None:
            model = make(label, parse(label, maker, folder=Path(path).parent))
            _load(label, model, content, str(path))
            content = model
        sides[label] = content
    return SavedCase(
        sides["left"], sides["right"], stored["batch"], stored["noise"], stored["options"]
    )


class _Side:
    """A side that is to be stored: a model with or without a maker, or a run."""

    def __init__(self, label: str, value: Any, maker: str | None) -> None:
        self.label, self.maker = label, None
        if isinstance(value, str | os.PathLike):
            text = os.fspath(value)
            if text.endswith(golden.SUFFIX):
                value = golden.load_run(text)
            else:
                maker, value = text, None
        if maker is not None:
            self.maker = parse(label, maker)
            model = make(label, self.maker)
            if value is not None:  # proves now that the case can be compared later
                _load(label, model, dict(value.state_dict()), str(self.maker))
            value = model
        self.value = value

    @property
    def is_bare(self) -> bool:
        return self.maker is None and not isinstance(self.value, Run)

    def pack(self, writer: Writer, folder: Path) -> dict[str, Any]:
        prefix = f"{self.label}/"
        if self.maker is None:
            return {"run": golden.pack_run(writer, self.value, prefix)}
        state = weights.to_arrays(self.value.state_dict())
        names = [name for name, _ in self.value.named_parameters()]
        maker = str(self.maker.seen_from(folder))
        return {"maker": maker, **golden.pack_state(writer, state, names, prefix)}


def _unpack(reader: Reader, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The maker of each side, or None, and its state or run; batch, noise and options."""
    result = {name: reader.unpack(metadata[name]) for name in ("batch", "noise", "options")}
    for label in LABELS:
        packed, prefix = metadata[label], f"{label}/"
        if "run" in packed:
            result[label] = None, golden.unpack_run(reader, packed["run"], prefix)
        else:
            result[label] = packed["maker"], golden.unpack_state(reader, packed, prefix)
    return result


def _load(label: str, model: Any, state: Mapping[str, Any], source: str) -> None:
    """Load a state into a model that a maker built, with the dtypes of the state."""
    if not hasattr(model, "load_state_dict"):
        raise ValueError(f"{label}: the maker gave a {type(model).__qualname__}, takes a model")
    own, arrays = weights.to_arrays(model.state_dict()), weights.to_arrays(state)
    weights.load_state(model, arrays, f"{label}: {source}")
    for name, array in arrays.items():
        if own[name].dtype != array.dtype:
            raise ValueError(
                f"{label}: {name} is {own[name].dtype} in the maker's model, {array.dtype} in "
                f"{source}"
            )


def _storable(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with dtypes and devices as text."""
    result = dict(options)
    for name, value in options.items():
        lookup("option", name, dict.fromkeys(NAMES))
        if isinstance(value, torch.dtype | torch.device):
            result[name] = str(value).removeprefix("torch.")
        elif isinstance(value, type | np.dtype):
            result[name] = np.dtype(value).name
    Options(**{name: value for name, value in result.items() if hasattr(Options(), name)})
    return result
