"""`diptych compare`: compare two models of your own, golden files or a saved case."""

from __future__ import annotations

import re
from collections import namedtuple
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from diptych import weights
from diptych.files import load_arrays, write_atomically
from diptych.options.options import Options
from diptych.parity.api import compare
from diptych.parity.makers import make, parse
from diptych.parity.recordings import golden
from diptych.parity.reports.report import Report
from diptych.parity.saved_cases import FORMAT, load_case


def compare_sides(
    left: str,
    right: str | None,
    console: Console,
    *,
    inputs: Path | None = None,
    options: Mapping[str, Any],
    copy_weights: bool = False,
    name: str | None = None,
    reproducer: str = "",
    verbose: bool = False,
    files: Mapping[str, Path | None],
) -> Report:
    """Compare two sides, print the report, and write it to `files`.

    A side is a maker or a golden file; a saved case is given as `left` alone. `files` maps the
    name of a method of Report, such as "to_json", to a file.
    Raises: ValueError for a side, inputs or options that cannot be used.
    """
    Options(**options)  # before any model is built
    arguments = dict(options) if name is None else {**options, "name": name}
    batch, noise = (None, None) if inputs is None else read_inputs(inputs)
    if right is None:
        case = load_case(left)
        if inputs is not None:
            case = replace(case, batch=batch, noise=noise)
        models = case.left, case.right
        run, arguments = case.compare, {**case.options, **arguments}
    else:
        models = _side("left", left), _side("right", right)
        if inputs is None and not any(isinstance(model, str) for model in models):
            raise ValueError("inputs: got none, takes a file, since no golden file holds them")

        def run(**settings: Any) -> Report:
            return compare(*models, batch, noise, **settings)

    if copy_weights:
        settings = {f.name: arguments[f.name] for f in fields(Options) if f.name in arguments}
        transfer(*models, Options(**settings))
    report = _run(run, arguments)
    report = report if report.ok else replace(report, reproducer=reproducer)
    text = report.full() if verbose else str(report)
    console.print(text, markup=False, highlight=False, soft_wrap=True, end="")
    for method, file in files.items():
        if file is not None:
            write_atomically(file, getattr(report, method)().encode())
    return report


def _side(label: str, text: str) -> Any:
    """The path of a golden file, or the model that a maker builds."""
    if text.endswith(golden.SUFFIX):
        kind = golden.format_of(text)
        if kind == FORMAT:
            raise ValueError(f"{label}: '{text}' is a saved case, which is compared alone")
        return text
    return make(label, parse(label, text, " or a golden file (.safetensors)"))


def _run(run: Any, arguments: Mapping[str, Any]) -> Report:
    """Compare; an exception in the user's code becomes a ValueError with its type."""
    try:
        return run(**arguments)
    except ValueError:
        raise
    except TypeError as error:  # of a side that is no model
        raise ValueError(str(error)) from error
    except Exception as error:
        raise ValueError(f"the comparison raised {type(error).__name__}: {error}") from error


def read_inputs(path: Path) -> tuple[Any, Any]:
    """Read (batch, noise) from an .npz, .npy or .safetensors file.

    The arrays of an .npz file are the arguments in their order, those of a .safetensors file in the
    order of their names. An array "noise" is the noise, and arrays "noise.eps", ... are its fields.
    Raises: ValueError that names the file and the fault.
    """
    if path.suffix == golden.SUFFIX:
        arrays = load_arrays(path)[0]
        arrays = {name: arrays[name] for name in sorted(arrays, key=_natural)}
    else:
        arrays = _read_numpy(path)
    noise = {n: array for n, array in arrays.items() if n == "noise" or n.startswith("noise.")}
    batch = tuple(array for name, array in arrays.items() if name not in noise)
    if not batch:
        raise ValueError(f"{path}: holds no array of the batch")
    if "noise" in noise and len(noise) > 1:
        raise ValueError(f"{path}: holds 'noise' and its fields, takes one of them")
    return batch, noise.get("noise", _tuple_of_fields(noise))


def _read_numpy(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as file:
            content = np.load(file, allow_pickle=False)
            arrays = {"0": content} if isinstance(content, np.ndarray) else dict(content)
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except Exception as error:  # zipfile and zlib have errors of their own
        detail = f"{type(error).__name__}: {error}"
        raise ValueError(f"{path}: not a whole file of NumPy arrays ({detail})") from None
    return arrays


def _natural(name: str) -> list[Any]:
    """A sort key for which "x10" follows "x9"."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def _tuple_of_fields(noise: Mapping[str, np.ndarray]) -> Any:
    """A NamedTuple of the arrays "noise.eps", ...; None without any."""
    names = [name.removeprefix("noise.") for name in noise]
    return namedtuple("Noise", names)(*noise.values()) if names else None


def transfer(left: Any, right: Any, options: Options) -> None:
    """Copy the left model's parameters and buffers to the right, renamed and in its layout.

    Raises: ValueError for a side that is no model, and for entries that do not fit.
    """
    for label, model in (("left", left), ("right", right)):
        if not hasattr(model, "load_state_dict"):
            raise ValueError(f"copy_weights: the {label} is a recording, takes two models")
    source, target = (weights.to_arrays(dict(m.state_dict())) for m in (left, right))
    target = {name: array.copy() for name, array in target.items()}
    faults = [f"{name} is missing" for name in options.unmatched(source, target)]
    for name, array in source.items():
        part = options.part_of_right(name, target)
        value = options.to_right(name, array)
        if part is None:
            faults.append(f"{options.right_name(name)} is unexpected")
        elif part.shape != value.shape:
            faults.append(f"{name} has shape {value.shape}, the right takes {part.shape}")
        else:
            part[...] = value
    if faults:
        raise ValueError(f"copy_weights: {'; '.join(faults)}")
    weights.load_state(right, target, "copy_weights")
