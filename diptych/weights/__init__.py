"""Save, load and transfer model weights, in safetensors files with torch's names and layouts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from diptych.files import save_arrays
from diptych.weights import stored
from diptych.weights.state import (
    cast,
    load_state,
    placeholders,
    range_problem,
    tied_names,
    to_arrays,
    unwrapped,
    with_tied_copies,
    without_wrappers,
)
from model_specs.common.state import Shapes, check_state, shapes_of

__all__ = ["load", "load_state", "placeholders", "save", "to_arrays", "transfer"]


def save(model: Any, path: str | os.PathLike[str]) -> None:
    """Save the state_dict of a model of either panel to `path`, atomically."""
    save_arrays(path, to_arrays(unwrapped(model).state_dict()))


def load(
    model: Any,
    path: str | os.PathLike[str],
    *,
    rename: Mapping[str, str] | None = None,
    layout: Mapping[str, str] | None = None,
) -> None:
    """Load `path` into a model of either panel. On any error the model keeps its weights.

        load(lstm, "language_model.safetensors", rename={"encoder": "embedding", "rnn": "lstm"})

    The file may hold float64, float32, float16 or bfloat16; the values are cast to the model's
    dtype, see `load_state`. The names that wrappers prepend ("module.", "_orig_mod.") are dropped,
    and one name of a tied parameter suffices. `rename` and `layout` go from the names and layouts
    of the file to those of the model, as in `transfer`.

    Raises: ValueError that names the file and what is wrong with it, in this order: it is missing,
    truncated or not safetensors; it has missing, unexpected and misshapen entries (all are listed);
    entries of another dtype; NaN or inf; values that the model's dtype cannot hold; two values for
    one tied parameter.
    """
    model = unwrapped(model)
    state = model.state_dict()
    own = placeholders(state)
    arrays, unsupported = stored.read(path)
    arrays = without_wrappers(arrays, own)
    if rename or layout:
        arrays = _converted(arrays, state, rename or {}, layout or {}, str(path))
    arrays = with_tied_copies(arrays, tied_names(model))
    shapes = {name: array.shape for name, array in arrays.items()}
    _check_names(own, shapes, str(path))
    counts = {name for name, array in own.items() if array.dtype.kind == "i"}
    faults = [f"{name} is {dtype}" for name, dtype in unsupported.items()]
    faults += [
        f"{name} is {array.dtype}"
        for name, array in arrays.items()
        if (array.dtype != own[name].dtype if name in counts else array.dtype.kind != "f")
    ]
    if faults:
        expected = "weights are float32 or float64, or float16 or bfloat16"
        expected += ", counts int64" if counts else ""
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

    Raises: ValueError that lists every missing, unexpected and misshapen entry; and see
    `load_state`.
    """
    arrays, name = to_arrays(source.state_dict()), type(source).__name__
    if rename or layout:
        arrays = _converted(arrays, target.state_dict(), rename or {}, layout or {}, name)
    load_state(target, arrays, source=name)


def _converted(
    arrays: Mapping[str, np.ndarray],
    state: Mapping[str, Any],
    rename: Mapping[str, str],
    layout: Mapping[str, str],
    source: str,
) -> dict[str, np.ndarray]:
    """The arrays under the target's names and in its layouts; `state` is its state_dict."""
    from diptych.options.options import Options  # noqa: PLC0415  (parity needs this module)

    own = placeholders(state)
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
        if right_name not in result:
            values = to_arrays({right_name: state[right_name]})
            result[right_name] = values[right_name].copy()
        part = np.asarray(options.part_of_right(name, result))
        if part.shape != value.shape:
            raise ValueError(f"{name}: got shape {value.shape}, takes {part.shape} of the target")
        problem = range_problem(name, value, part.dtype)
        if problem:
            raise ValueError(f"{source}: {problem}")
        part[...] = cast(value, part.dtype)
    options.check_patterns()
    return result


def _check_names(own: Mapping[str, np.ndarray], shapes: Shapes, source: str) -> None:
    """Raise ValueError unless names and shapes are the model's; say so if no name is in common."""
    try:
        check_state(shapes_of(own), shapes, source)
    except ValueError as error:
        if own.keys() & shapes.keys():
            raise
        hint = "no name is in common: `rename` maps names, see docs/weights.md"
        raise ValueError(f"{error} ({hint})") from None
