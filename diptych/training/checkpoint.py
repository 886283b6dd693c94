"""The contents of a checkpoint beside the arrays, and the checks of both when it is read.

Metadata: the position, the key of the run, and the extent of the metrics before it. Arrays:
model.*, average.*, optimizer.* and state.*, as the panel names them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from diptych.panels import Panel
from diptych.runs.config import RunConfig
from diptych.runs.metrics import Extent
from diptych.runs.old_versions import upgraded_position
from diptych.training.position import Position
from diptych.weights import placeholders
from model_specs.common.key import Key

SQUARES = (".exp_avg_sq", ".exp_inf", ".square_avg")
"""Buffers of optimisers that are never negative."""


def metadata(position: Position, key: Key, extent: Extent) -> dict[str, Any]:
    """Return the metadata of a checkpoint."""
    return {
        "position": vars(position) | {"best_loss": repr(position.best_loss)},
        "key": {"seed": key.seed, "path": key.path},
        "metrics": extent._asdict(),
    }


def position_of(contents: Mapping[str, Any]) -> Position:
    """Return the position in the metadata. Raises: ValueError if there is none."""
    fields = contents.get("position")
    if not isinstance(fields, dict):
        raise ValueError("not a checkpoint (no position in its metadata)")
    fields = upgraded_position(fields)
    missing = vars(Position()).keys() ^ fields.keys()
    if missing:
        raise ValueError(f"position: missing or unknown {', '.join(sorted(missing))}")
    if not isinstance(fields["best_loss"], str):
        raise ValueError(f"best_loss: got {fields['best_loss']!r}, takes a number as text")
    return Position(**fields | {"best_loss": float(fields["best_loss"])})


def check_key(contents: Mapping[str, Any], key: Key) -> None:
    """Raise ValueError unless the checkpoint is of a run with this key."""
    stored = contents.get("key")
    if stored != {"seed": key.seed, "path": list(key.path)}:
        raise ValueError(f"key: got {stored!r}, takes that of the run, seed {key.seed}")


def check_arrays(arrays: Mapping[str, np.ndarray], config: RunConfig, panel: Panel) -> None:
    """Check the dtypes and the values of the arrays; the panel checks their names and shapes.

    Raises: ValueError that names every array that has another dtype, or NaN or inf, or a negative
    mean of squares; and for a recurrent model without the state that it carries.
    """
    own = {f"model.{n}": a.dtype for n, a in placeholders(panel.model.state_dict()).items()}
    own["optimizer.step"] = np.dtype(np.int64)
    faults = []
    for name, array in arrays.items():
        dtype = own.get(name, np.dtype(config.dtype))
        if array.dtype != dtype and not name.startswith("optimizer.scaler."):
            faults.append(f"{name} is {array.dtype}, takes {dtype}")
        elif not np.isfinite(array).all():
            faults.append(f"NaN or inf in {name}")
        elif name.endswith(SQUARES) and array.size and array.min() < 0:
            faults.append(f"{name} has a negative value")
    if faults:
        raise ValueError("; ".join(faults))
    step = arrays.get("optimizer.step")
    if step is None or step.shape != () or step < 0:
        raise ValueError(f"optimizer.step: got {step!r}, takes a count of steps")
    _check_state(arrays, config, panel, int(step))


def _check_state(
    arrays: Mapping[str, np.ndarray], config: RunConfig, panel: Panel, steps: int
) -> None:
    """Check the presence and the batch size of the state that a recurrent model carries."""
    states = {name: array for name, array in arrays.items() if name.startswith("state.")}
    if bool(states) != (steps > 0 and hasattr(panel.model, "zero_state")):
        raise ValueError(f"state: got {len(states)} arrays after {steps} steps")
    for name, array in states.items():
        if array.ndim < 2 or array.shape[1] != config.batch_size:
            raise ValueError(
                f"{name}: got shape {array.shape}, takes a batch of {config.batch_size}"
            )
