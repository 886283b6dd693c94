"""Small configs, windows and stacks of layers for the tests of the recurrent pairs."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

import numpy_ref.lstm
import numpy_ref.rnn
import torch_impl.lstm
import torch_impl.rnn
from diptych import pairs, weights
from diptych.arrays import map_arrays, to_tensors
from diptych.panels import make_panel
from diptych.parity.measures.rows import normwise
from model_specs.common.effects import effective
from model_specs.common.key import Key
from model_specs.lstm import LSTMConfig
from model_specs.recurrent.dropout import Masks
from model_specs.rnn import RNNConfig
from numpy_ref.nn import random
from numpy_ref.recurrent.masks import draw_masks

CELLS = ("rnn", "lstm")
KEY = Key(77)
WIDTH, H, T, B, V = 6, 7, 5, 9, 11  # and up to 3 layers: no two sizes alike
LAYERS = {
    "rnn": (numpy_ref.rnn.TanhLayers, torch_impl.rnn.TanhLayers, torch.nn.RNN),
    "lstm": (numpy_ref.lstm.LSTMLayers, torch_impl.lstm.LSTMLayers, torch.nn.LSTM),
}
CONFIGS: dict[str, tuple[Any, dict[str, Any]]] = {
    "rnn": (RNNConfig, {"input_dim": WIDTH, "output_dim": V, "weight_std": 0.4}),
    "lstm": (LSTMConfig, {"embedding_dim": WIDTH, "vocab_size": V, "init_scale": 0.5}),
}
BAD_RATES = (1, 1.0, -0.1, 1.5, float("nan"), float("inf"), "0.3", True)
BAD_FIELDS = [
    *((name, rate) for name in ("rate", "recurrent_rate") for rate in BAD_RATES),
    *(("scheme", "locked"), ("num_layers", 0), ("hidden_dim", True)),
    *(("seq_len", 1.5), ("seq_len", -1)),
]


def make_config(cell: str, **options: Any) -> Any:
    """A config of sizes that are all different; one layer by default.

    Rates that have no effect under the `scheme` are left out.
    """
    config, sizes = CONFIGS[cell]
    options = effective(config, options) if "scheme" in options else options
    return config(**{"hidden_dim": H, "num_layers": 1, "seq_len": T} | sizes | options)


def make_window(
    cell: str, config: Any, size: int = B, dtype: str = "float64", *, carried: bool = True
) -> Any:
    """Random data; a random state and weights on the steps too if `carried`, else neither."""
    batch = pairs.get(cell).batch(config, KEY.fold_in("window"), np.dtype(dtype), size)
    if carried:
        return batch
    return batch._replace(state=map_arrays(np.zeros_like, batch.state), weight=None)


def tensors(value: Any) -> Any:
    """`value` with tensors, which need no gradient, in place of arrays."""
    return to_tensors(value, torch.device("cpu"), track=False)


def both_ways(left: Any, right: Any, *arguments: Any) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """Yield (model, arguments as its panel's arrays), left and then right."""
    yield left, arguments
    yield right, tensors(arguments)


def make_layers(
    cell: str, config: Any, size: int = B, kernel: str = "fused"
) -> tuple[Any, Any, tuple[Any, ...]]:
    """The recurrent layers alone on both panels, and (x, state, masks): here x has a gradient."""
    left_layers, right_layers, _ = LAYERS[cell]
    left, right = left_layers(WIDTH, config), right_layers(WIDTH, config, kernel=kernel)
    for name, parameter in left.named_parameters():
        parameter.data[...] = 0.4 * random.normal(KEY.fold_in(name), parameter.data.shape)
    weights.transfer(left, right)
    x = random.normal(KEY.fold_in("x"), (config.seq_len, size, WIDTH))
    state = make_window(cell, config, size).state
    return left, right, (x, state, make_masks(config, size))


def make_masks(config: Any, size: int = B) -> Masks:
    """The masks of the config's scheme for layers of inputs (size, WIDTH)."""
    return draw_masks(numpy_ref.rnn.TanhLayers(WIDTH, config), KEY.fold_in("noise"), size)


# Training


def trajectories(
    cell: str, config: Any, optimizer: str, lr: float, clip: float | None
) -> tuple[float, float]:
    """Train both panels for 100 steps, each carrying its own state from window to window.

    Returns the largest relative difference between their final weights and states, and the
    smallest relative change of a weight from its start.
    """
    ends = []
    for backend in ("numpy", "torch"):
        panel = make_panel(
            cell, config, backend, key=Key(3), dtype="float64", optimizer=optimizer, lr=lr
        )
        start, state = panel.weights(), panel.model.zero_state(4)
        for step in range(100):
            key = KEY.fold_in(step)
            batch = pairs.get(cell).batch(config, key, np.dtype("float64"), 4)
            noise = panel.model.draw_noise(key, 4)
            _, state = panel.forward_backward(batch._replace(state=state), noise)
            panel.step(lr, clip)
        ends.append(panel.weights() | panel.state_arrays(state))
    ours, theirs = ends
    assert ours.keys() == theirs.keys()
    difference = max(normwise(ours[name], theirs[name]) for name in ours)
    return difference, min(normwise(ours[name], start[name]) for name in start)


# Memory


def memory_of_a_step(cell: str, layers: int, outputs: int, units: int) -> float:
    """Count the numbers that the left panel keeps between forward and backward, per step and
    sequence: as many of them as arrays (T, B) would take the same memory.

    Asserts that this count does not depend on T, and that temporary arrays, forward or backward,
    never take half as much memory as one (T, B, outputs) array. The batch is large, since Python's
    objects, of which there are some at each step, are counted too.
    """
    size = 4 * B
    sizes = {"rnn": ("output_dim", "input_dim"), "lstm": ("vocab_size", "embedding_dim")}[cell]
    options = dict(zip(sizes, (outputs, units), strict=True)) | {"hidden_dim": units}
    options |= {"num_layers": layers, "scheme": "per_step", "rate": 0.3}
    lengths, held = (16, 32, 48), []
    for length in lengths:
        config = make_config(cell, seq_len=length, **options)
        model = pairs.get(cell).left(config)
        batch, noise = make_window(cell, config, size), model.draw_noise(KEY, size)
        gc.collect()
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        loss, backward = model.loss(batch, noise)
        kept, forward = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        backward()
        _, later = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        del loss
        held.append((kept - before) / model.dtype.itemsize)
        spare = max(forward, later) - kept
        if spare >= length * size * outputs * model.dtype.itemsize / 2:
            raise AssertionError(f"{cell}: {spare} bytes beside the {kept - before} that are held")
    slopes = np.diff(held) / np.diff(lengths) / size
    np.testing.assert_allclose(slopes, slopes.mean(), rtol=1e-2)
    return slopes.mean()


# Bad input


def refusals(left: Any, right: Any, batch: Any, noise: Any) -> list[str]:
    """The message of each panel's ValueError, with torch's names replaced by NumPy's."""
    result = []
    for model, arguments in both_ways(left, right, batch, noise):
        try:
            model.loss(*arguments)
        except ValueError as error:
            result.append(str(error).replace("torch.Tensor", "numpy.ndarray").replace("torch.", ""))
        else:
            result.append("accepted")
    return result


def bad_windows(batch: Any) -> Iterator[tuple[str, Any, str]]:
    """Yield (the fault, a window with it, the start of the error message)."""
    weight = batch.weight
    nan, negative = weight.copy(), weight.copy()
    nan[1, 2], negative[1, 2] = np.nan, -1e-3
    yield "weight: shape", batch._replace(weight=weight[:, :-1]), "weight: got shape"
    yield "weight: dtype", batch._replace(weight=weight.astype(np.float32)), "weight: got dtype"
    yield "weight: NaN", batch._replace(weight=nan), "weight: got NaN"
    yield "weight: negative", batch._replace(weight=negative), "weight: got a negative one"
    yield "weight: zero", batch._replace(weight=0 * weight), "weight: got .* zeros alone"
    for i, name in enumerate(batch.state._fields):
        good = batch.state[i]
        nan = np.where(good == good.flat[3], np.inf, good)
        for what, bad in (
            ("shape", good[:, :-1]),
            ("shape", good[..., :-1]),
            ("shape", good[0]),
            ("dtype", good.astype(np.float32)),
            ("NaN", nan),
        ):
            state = batch.state._replace(**{name: bad})
            what_of = f"state.{name}: {what} {bad.shape}"
            yield what_of, batch._replace(state=state), rf"state\.{name}: got {what}"
