"""What the tests of the recurrent pairs share: small configs, windows, and bodies."""

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
from diptych.parity.report import normwise
from model_specs.common.key import Key
from model_specs.lstm import LSTMConfig
from model_specs.recurrent.dropout import Masks, plan
from model_specs.rnn import RNNConfig
from numpy_ref.nn import random
from numpy_ref.recurrent.stack import draw_masks

CELLS = ("rnn", "lstm")
KEY = Key(77)
WIDTH, H, T, B, V = 6, 7, 5, 9, 11  # and up to 3 layers: no two sizes alike
BODIES = {
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
    *(("scheme", "locked"), ("kernel", "cudnn"), ("num_layers", 0), ("hidden_dim", True)),
    *(("seq_len", 1.5), ("seq_len", -1)),
]


def make_config(cell: str, **options: Any) -> Any:
    """A config of sizes that are all different, one layer where nothing else is said."""
    config, sizes = CONFIGS[cell]
    return config(**{"hidden_dim": H, "num_layers": 1, "seq_len": T} | sizes | options)


def make_window(
    cell: str, config: Any, size: int = B, dtype: str = "float64", *, carried: bool = True
) -> Any:
    """Random data with a state that is not zero and weights on the steps; or with neither."""
    batch = pairs.get(cell).batch(config, KEY.fold_in("window"), np.dtype(dtype), size)
    if carried:
        return batch
    return batch._replace(state=map_arrays(np.zeros_like, batch.state), weight=None)


def tensors(value: Any) -> Any:
    """`value` with torch's arrays, not tracked."""
    return to_tensors(value, torch.device("cpu"), track=False)


def both_ways(left: Any, right: Any, *arguments: Any) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """(model, arguments of its own kind), left and then right."""
    yield left, arguments
    yield right, tensors(arguments)


def make_bodies(cell: str, config: Any, size: int = B) -> tuple[Any, Any, tuple[Any, ...]]:
    """The recurrent layers alone on both panels, and (x, state, masks): here x has a gradient."""
    left, right = (body(WIDTH, config) for body in BODIES[cell][:2])
    for name, parameter in left.named_parameters():
        parameter.data[...] = 0.4 * random.normal(KEY.fold_in(name), parameter.data.shape)
    weights.transfer(left, right)
    x = random.normal(KEY.fold_in("x"), (config.seq_len, size, WIDTH))
    state = make_window(cell, config, size).state
    return left, right, (x, state, make_masks(config, size))


def make_masks(config: Any, size: int = B) -> Masks:
    """The config's masks, for a body."""
    widths = (WIDTH, *[config.hidden_dim] * config.num_layers)
    plans = plan(config.scheme, config.rate, config.rate_through, config.seq_len, widths)
    return draw_masks(KEY.fold_in("noise"), plans, size)


# Training


def trajectories(
    cell: str, config: Any, optimizer: str, lr: float, clip: float | None
) -> tuple[float, float]:
    """How far the weights and the states of the panels are apart after 100 steps, each carrying
    its own state from window to window; and how far the weights came from where they began."""
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
    apart = max(normwise(ours[name], theirs[name]) for name in ours)
    return apart, min(normwise(ours[name], start[name]) for name in start)


# Memory


def memory_of_a_step(cell: str, layers: int, outputs: int, units: int) -> float:
    """Numbers that the left panel holds between forward and backward, of a step and a sequence.

    Asserts that each step takes as much as any other, and that at no time, forward or backward,
    there are as many numbers again as half of (T, B, outputs) beside what is held.
    """
    sizes = {"rnn": ("output_dim", "input_dim"), "lstm": ("vocab_size", "embedding_dim")}[cell]
    options = dict(zip(sizes, (outputs, units), strict=True)) | {"hidden_dim": units}
    options |= {"num_layers": layers, "scheme": "per_step", "rate": 0.3}
    lengths, held = (16, 32, 48), []
    for length in lengths:
        config = make_config(cell, seq_len=length, **options)
        model = pairs.get(cell).left(config)
        batch, noise = make_window(cell, config), model.draw_noise(KEY, B)
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
        if spare >= length * B * outputs * model.dtype.itemsize / 2:
            raise AssertionError(f"{cell}: {spare} bytes beside the {kept - before} that are held")
    slopes = np.diff(held) / np.diff(lengths) / B
    np.testing.assert_allclose(slopes, slopes.mean(), rtol=1e-2)
    return slopes.mean()


# Bad input


def refusals(left: Any, right: Any, batch: Any, noise: Any) -> list[str]:
    """The ValueError of each panel's loss, in words that both have."""
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
    """(what is wrong, a window with it, how the error begins), of what both models read."""
    weight = batch.weight
    nan, negative = weight.copy(), weight.copy()
    nan[1, 2], negative[1, 2] = np.nan, -1e-3
    yield "weight: shape", batch._replace(weight=weight[:, :-1]), "weight: got shape"
    yield "weight: dtype", batch._replace(weight=weight.astype(np.float32)), "weight: got dtype"
    yield "weight: NaN", batch._replace(weight=nan), "weight: got NaN"
    yield "weight: negative", batch._replace(weight=negative), "weight: got a negative one"
    yield "weight: zero", batch._replace(weight=0 * weight), "weight: got .* none above 0"
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
