"""Save, load and transfer model weights, in safetensors files with torch's names and layouts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from diptych.files import load_arrays, save_arrays
from model_specs.common.state import check_state
from numpy_ref.nn.module import DTYPES


def save(model: Any, path: str | os.PathLike[str]) -> None:
    """Save the state_dict of a model of either panel to `path`, atomically."""
    save_arrays(path, to_arrays(model.state_dict()))


def load(model: Any, path: str | os.PathLike[str]) -> None:
    """Load `path` into a model of either panel. On any error the model keeps its weights.

    Raises: ValueError that names the file and what is wrong with it: missing, truncated, not
    safetensors, or with missing, unexpected, misshapen or non-finite entries (all are listed).
    """
    arrays, _ = load_arrays(path)
    own = to_arrays(model.state_dict())
    counts = {name for name, array in own.items() if array.dtype.kind == "i"}
    faults = [
        f"{name} is {array.dtype}"
        for name, array in arrays.items()
        if (array.dtype != own[name].dtype if name in counts else array.dtype not in DTYPES)
    ]
    if faults:
        expected = "weights are float32 or float64" + (", counts int64" if counts else "")
        raise ValueError(f"{path}: {'; '.join(faults)}: {expected}")
    non_finite = [name for name, array in arrays.items() if not np.isfinite(array).all()]
    if non_finite:
        raise ValueError(f"{path}: NaN or inf in {', '.join(non_finite)}")
    load_state(model, arrays, source=str(path))


def transfer(
    source: Any,
    target: Any,
    *,
    rename: Mapping[str, str] | None = None,
    layout: Mapping[str, str] | None = None,
) -> None:
    """Copy the weights of a model into another, of the same panel or of the other one.

        transfer(ours, gpt2, rename={"q.*": "c_attn.*[..., 0:768]"}, layout={"q.weight": "oi->io"})

    `rename` and `layout` are those of `parity.compare`, with `source` on the left. A weight of the
    target of which slices are named keeps its values elsewhere.

    Raises: ValueError that lists every missing, unexpected and misshapen entry.
    """
    arrays = to_arrays(source.state_dict())
    if rename or layout:
        arrays = _converted(arrays, to_arrays(target.state_dict()), rename or {}, layout or {})
    load_state(target, arrays, source=type(source).__name__)


def _converted(
    arrays: Mapping[str, np.ndarray],
    own: Mapping[str, np.ndarray],
    rename: Mapping[str, str],
    layout: Mapping[str, str],
) -> dict[str, np.ndarray]:
    """The arrays under the target's names and in its layouts; `own` are the target's."""
    from diptych.options.options import Options  # noqa: PLC0415  (parity needs this module)

    options = Options(rename=rename, layout=layout)
    options.check(arrays, own)
    result: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        right_name, value = options.right_name(name), options.to_right(name, array)
        if not options.is_sliced(name):
            result[right_name] = value
            continue
        if right_name not in own:
            raise ValueError(f"{name}: got the name {right_name!r}, takes a weight of the target")
        result.setdefault(right_name, own[right_name].copy())
        part = np.asarray(options.part_of_right(name, result))
        if part.shape != value.shape:
            raise ValueError(f"{name}: got shape {value.shape}, takes {part.shape} of the target")
        part[...] = value
    options.check_patterns()
    return result


def load_state(model: Any, arrays: Mapping[str, np.ndarray], source: str) -> None:
    """Load `arrays` into a model of either panel, all of them or, on an error, none."""
    own = to_arrays(model.state_dict())
    check_state(
        {name: array.shape for name, array in own.items()},
        {name: array.shape for name, array in arrays.items()},
        f"{source}: state_dict",
    )
    state: Mapping[str, Any] = arrays
    if isinstance(model, torch.nn.Module):
        state = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    model.load_state_dict(state)


def to_arrays(state: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Convert a state_dict of either panel to NumPy arrays."""
    return {
        name: value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
        for name, value in state.items()
    }
