"""Compare a registered pair on a random batch, with its own draws of weights and noise."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from diptych import pairs, weights
from diptych.arrays import leaves
from diptych.options.options import Options
from diptych.pairs import Pair
from diptych.parity.comparing.comparison import Comparison
from diptych.parity.measures.bounds import ELEMENTWISE, rounding_bound
from diptych.parity.measures.rows import ROOT_CAUSE, compare_named, masks_equal
from diptych.parity.reports.report import Report
from diptych.parity.running.numpy_side import NumpySide
from diptych.parity.running.torch_side import TorchSide
from diptych.parity.values import Panels, compare_values
from diptych.parity.windows import NumpyWindows, TorchWindows
from model_specs.common.key import Key
from numpy_ref.nn.module import as_dtype

BATCH_SIZE = 7
"""Batch size for a registered pair: odd, and different from every other dimension."""


@dataclass(frozen=True)
class PreparedPair:
    """The panels of a registered pair, each with its own weights and noise, and their batch."""

    pair: Pair
    config: Any
    panels: Panels
    """both models, for values in evaluation mode"""
    left: Any
    right: Any
    """both models, or several windows of them, for the training loss"""
    batch: Any
    noise: Any
    right_noise: Any
    dtype: np.dtype

    def share_weights(self) -> Exception | None:
        """Initialise the left by the batch, as training does, and copy its weights to the right.

        Before the initialisation every bias is 0. An exception of it is returned: the comparison
        that follows names the layer that raised it.
        """
        raised = None
        try:
            if hasattr(self.left, "initialize"):
                self.left.initialize(self.batch, self.noise)
        except Exception as error:
            raised = error
        weights.transfer(self.left, self.right)
        return raised


def prepare(
    name: str,
    dtype: Any = "float64",
    device: torch.device = torch.device("cpu"),  # noqa: B008  (immutable)
    key: Key = Key(0),  # noqa: B008
) -> PreparedPair:
    """Make the panels of a registered "pair" or "pair[variant]", a random batch and the noise."""
    pair, config = pairs.find(name)
    left_dtype = as_dtype(
        str(dtype).removeprefix("torch.") if isinstance(dtype, torch.dtype | str) else dtype
    )
    left = pair.left(config, key.fold_in("weights"), dtype=left_dtype)
    right = pair.right(
        config,
        key.fold_in("weights"),
        dtype=str(left_dtype),
        device=device,
        **pairs.right_options(name),
    )
    batch = pair.batch(config, key.fold_in("batch"), left_dtype, BATCH_SIZE)
    panels = Panels(left, right, batch, BATCH_SIZE, key)
    draw: dict[str, Any] = {}
    if (count := pairs.windows(name)) > 1:
        left, right, draw = NumpyWindows(left), TorchWindows(right), {"windows": count}
        later = [key.fold_in("batch").fold_in(i) for i in range(1, count)]
        batch = [batch, *(pair.batch(config, k, left_dtype, BATCH_SIZE) for k in later)]
    noise = left.draw_noise(key.fold_in("noise"), BATCH_SIZE, **draw)
    right_noise = right.draw_noise(key.fold_in("noise"), BATCH_SIZE, **draw)
    return PreparedPair(pair, config, panels, left, right, batch, noise, right_noise, left_dtype)


def compare_registered(
    name: str, dtype: Any, device: torch.device, key: Key, options: Options
) -> Report:
    """Compare a registered "pair" or "pair[variant]" on a random batch.

    First the weights and the noise that each panel draws itself, then a training loss with all its
    gradients, then the loss and other values in evaluation mode (see diptych.parity.values).
    """
    prepared = prepare(name, dtype, device, key)
    left, right, batch, noise = prepared.left, prepared.right, prepared.batch, prepared.noise
    left_dtype = prepared.dtype

    # each panel draws its own weights and noise; after their comparison both use the left panel's
    bound = rounding_bound(left_dtype, ELEMENTWISE)
    draws = compare_named(
        left.state_dict(), weights.to_arrays(right.state_dict()), "parameter", bound
    )
    draws += compare_named(
        dict(leaves(noise, "noise")), dict(leaves(prepared.right_noise, "noise")), "noise", bound
    )
    draws = [row if row.ok else replace(row, origin=ROOT_CAUSE) for row in draws]
    raised = prepared.share_weights()
    sides = NumpySide(left, "left"), TorchSide(right, "right")
    comparison = Comparison(*sides, batch, noise, options, left_dtype)
    report = comparison.report(name)
    if raised is not None:  # a layer would have raised in the comparison as well
        raise ValueError(f"left: initialize raised {type(raised).__name__}: {raised}") from raised
    rows = [*draws, *(row for row in report.rows if row.kind != "parameter")]
    notes: tuple[str, ...] = ()
    if not report.problem:
        failures = tuple(row for row in rows if not row.ok)
        run = comparison.references.first
        values, notes = compare_values(
            prepared.pair, prepared.config, prepared.panels, options, left_dtype, run, failures
        )
        rows += values
    return replace(
        report,
        rows=tuple(rows),
        masks_equal=masks_equal(rows),
        not_compared=(*report.not_compared, *notes),
        key=str(key),
        reproducer=reproduce(name, str(left_dtype), str(device)),
    )


def reproduce(name: str, dtype: str, device: str) -> str:
    """The command that repeats the comparison of a registered pair."""
    return f"diptych check {name!r} --dtype {dtype} --device {device} -v"
