"""Runs of a registered variant from its name and one key alone, reduced to three numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from helpers.call_either_panel import call

from diptych import pairs, weights
from diptych.arrays import map_arrays, to_numpy
from diptych.weights.state import tied_names
from model_specs.common.key import Key
from numpy_ref.nn import random

KEY = Key(2026).fold_in("golden losses")
SIZE = 5


def golden(name: str, side: str) -> tuple[float, float, float]:
    """(the initial weights, total in training mode, total in evaluation mode) of one panel.

    The initial weights are summed with the factors cos 1, cos 2, ...
    """
    initial = _make(name, side)
    fingerprint = sum(
        float(array.ravel() @ np.cos(np.arange(1, array.size + 1)))
        for array in weights.to_arrays(initial.state_dict()).values()
    )
    totals = []
    for training in (True, False):
        model, batch, noise = run_inputs(name, side, training=training)
        totals.append(float(call(model, "loss", batch, noise).total))
    return fingerprint, totals[0], totals[1]


def run_inputs(name: str, side: str = "left", *, training: bool = False) -> tuple[Any, Any, Any]:
    """(model, batch, noise); 0.1 times a normal number is added to each initial parameter, since
    zero biases would hide a missing bias."""
    pair, config = pairs.find(name)
    model = _make(name, side)
    parameters = {path for path, _ in model.named_parameters()}
    state = weights.to_arrays(model.state_dict())
    for path, array in state.items():
        if path in parameters:
            shift = random.normal(KEY.fold_in(path), array.shape)
            state[path] = array + 0.1 * shift
    for names in tied_names(model):  # the recorded losses are those of the last name's value
        state |= dict.fromkeys(names, state[names[-1]])
    weights.load_state(model, state, name)
    model.train(training)
    batch = pair.batch(config, KEY.fold_in("batch"), np.dtype("float64"), SIZE)
    return model, batch, map_arrays(to_numpy, model.draw_noise(KEY.fold_in("noise"), SIZE))


def _make(name: str, side: str) -> Any:
    pair, config = pairs.find(name)
    options = pairs.right_options(name) if side == "right" else {}
    return getattr(pair, side)(config, KEY.fold_in("weights"), **options)
