"""The picture of the dropout schemes: the masks that both panels draw, over steps and units."""

from __future__ import annotations

import base64
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from markupsafe import Markup

import numpy_ref.lstm
import numpy_ref.rnn
import torch_impl.lstm
import torch_impl.rnn
from diptych.arrays import to_numpy
from diptych.site.pictures.picture import (
    Picture,
    controls,
    join,
    path,
    rect,
    scroller,
    slider,
    svg,
    tag,
    text,
)
from model_specs.common.key import Key
from model_specs.lstm import LSTMConfig
from model_specs.recurrent.dropout import SCHEMES, Masks, RecurrentConfig
from model_specs.rnn import RNNConfig

STEPS, INPUTS, UNITS, LAYERS = 12, 6, 8, 2
SEEDS, RATES = range(12), (0.1, 0.3, 0.5, 0.7, 0.9)
FIRST_RATE = 1
"""index of the rate that is drawn first"""
CELL, GAP, TOP, SIDE = 9.0, 26.0, 62.0, 176.0

MODELS: dict[str, tuple[Any, Any, RecurrentConfig]] = {
    "rnn": (
        numpy_ref.rnn.RNN,
        torch_impl.rnn.RNN,
        RNNConfig(hidden_dim=UNITS, num_layers=LAYERS, seq_len=STEPS, input_dim=INPUTS),
    ),
    "lstm": (
        numpy_ref.lstm.LSTM,
        torch_impl.lstm.LSTM,
        LSTMConfig(
            hidden_dim=UNITS,
            num_layers=LAYERS,
            seq_len=STEPS,
            embedding_dim=INPUTS,
            vocab_size=5,
        ),
    ),
}
"""Both panels of a model, and the config whose masks are drawn."""

SOURCES = {
    "none": "no dropout",
    "per_step": "Zaremba et al. 2014",
    "variational": "Gal & Ghahramani 2016, inputs only",
    "variational_recurrent": "Gal & Ghahramani 2016",
    "recurrent": "a new mask on h, at every step",
}


def connections(layers: int) -> list[str]:
    """The connections that a mask may lie on, in the order of `Masks`: inputs, then recurrent."""
    between = [f"layer {i} to layer {i + 1}" for i in range(1, layers)]
    over_time = [f"h of layer {i + 1}" for i in range(layers)]
    return ["inputs to layer 1", *between, f"layer {layers} to output", *over_time]


def masks_of_seeds(
    panel: Any, config: RecurrentConfig, scheme: str, rate: float
) -> list[list[np.ndarray | None]]:
    """The masks of each connection, for each seed, as one panel draws them for one sequence."""
    model = panel(replace(config, scheme=scheme, rate=0.0 if scheme == "none" else rate))
    keys = (Key(seed).fold_in("dropout") for seed in SEEDS)
    return [mask_list(model.draw_noise(key, 1), config.num_layers) for key in keys]


def mask_list(masks: Masks, layers: int) -> list[np.ndarray | None]:
    """The mask of each connection, (1 or T, units) of the first sequence, or None."""
    inputs = masks.inputs or (None,) * (layers + 1)
    recurrent = masks.recurrent or (None,) * layers
    return [None if m is None else to_numpy(m)[:, 0] for m in (*inputs, *recurrent)]


@cache
def scheme_masks(model: str) -> Picture:
    """The masks of each scheme, with sliders for the seed and the rate."""
    left, right, config = MODELS[model]
    blocks, count = [], 0
    for rate in RATES:
        by_scheme = {}
        for scheme in SCHEMES:
            both = (masks_of_seeds(panel, config, scheme, rate) for panel in (left, right))
            by_scheme[scheme] = [
                _equal_masks(f"{scheme}, rate {rate}, seed {seed}", *pair)
                for seed, pair in zip(SEEDS, zip(*both, strict=True), strict=True)
            ]
        for seed in SEEDS:
            masks = [mask for by_seed in by_scheme.values() for mask in by_seed[seed]]
            bits = np.concatenate([mask.ravel() for mask in masks if mask is not None])
            count += bits.size
            blocks.append(np.packbits(bits).tobytes())
        if rate == RATES[FIRST_RATE]:
            drawing, places = _drawing(
                {scheme: by_seed[0] for scheme, by_seed in by_scheme.items()}
            )
    _check_nested(blocks)
    html = controls(
        slider("seed", "Random seed", [str(seed) for seed in SEEDS]),
        slider("rate", "Dropout rate", [str(rate) for rate in RATES], FIRST_RATE),
    ) + scroller(drawing, "Dropout masks of five schemes")
    caption = Markup(
        "The masks of one sequence of {steps} steps: time runs to the right, units downwards. A "
        "cell is filled where the unit is kept, amber by the left panel and blue by the right. "
        "Both panels drew all {count} bits behind the two sliders, and no bit differs. "
        "<code>per_step</code> draws a new column at each step; the variational schemes draw one "
        "column and use it at all steps, so that their rows are stripes. The "
        "bits are compared with a threshold, so a unit that is dropped at one rate is dropped at "
        "every larger rate as well."
    ).format(steps=STEPS, count=f"{count:,}")
    data = {
        "bits": base64.b64encode(b"".join(blocks)).decode(),
        "bytes": len(blocks[0]),
        "seeds": len(SEEDS),
        "steps": STEPS,
        "cell": CELL,
        "masks": places,
    }
    return Picture("masks", "Dropout masks", caption, html, data)


def _check_nested(blocks: list[bytes]) -> None:
    """Raises: ValueError if a unit is kept at a larger rate that is dropped at a smaller one."""
    bits = np.array([np.frombuffer(block, np.uint8) for block in blocks])
    smaller, larger = bits[: -len(SEEDS)], bits[len(SEEDS) :]
    if (larger & ~smaller).any():
        raise ValueError("rate: got a mask that keeps more units than at a smaller rate")


def _equal_masks(name: str, left: list[Any], right: list[Any]) -> list[np.ndarray | None]:
    """The masks of the left. Raises: ValueError if those of the right differ."""
    for i, (a, b) in enumerate(zip(left, right, strict=True)):
        if (a is None) != (b is None) or (a is not None and not np.array_equal(a, b)):
            raise ValueError(f"{name}: mask {i} of the panels differs, takes equal bits")
    return left


def _drawing(masks: dict[str, list[np.ndarray | None]]) -> tuple[Markup, list[list[int]]]:
    """The five schemes under each other, and (steps, units) of each mask in the order drawn."""
    widths, names = [INPUTS, *[UNITS] * LAYERS, *[UNITS] * LAYERS], connections(LAYERS)
    lefts = [SIDE + i * (STEPS * CELL + GAP) + (i > LAYERS) * GAP for i in range(len(names))]
    height = UNITS * CELL + 34
    parts = [_heading(lefts[0], lefts[LAYERS], "between layers, W_ih and the output")]
    parts.append(_heading(lefts[LAYERS + 1], lefts[-1], "through time, W_hh"))
    parts += [text(x, TOP - 12, name, class_="faint") for x, name in zip(lefts, names, strict=True)]
    places: list[list[int]] = []
    for row, scheme in enumerate(SCHEMES):
        y = TOP + row * height
        parts.append(text(0, y + 12, scheme, class_="mono"))
        parts += [
            text(0, y + 29 + 14 * i, words, class_="faint")
            for i, words in enumerate(SOURCES[scheme].split(", "))
        ]
        for x, width, mask in zip(lefts, widths, masks[scheme], strict=True):
            size = STEPS * CELL, width * CELL
            if mask is None:
                parts.append(rect(x, y, *size, class_="no-mask"))
                parts.append(
                    text(
                        x + size[0] / 2,
                        y + size[1] / 2 + 4,
                        "no mask",
                        class_="anchor-middle faint",
                    )
                )
                continue
            name = f"mask-{len(places)}"
            shape = path(cells(mask), id=name, transform=f"translate({x:g} {y:g})")
            amber = tag("g", shape, class_="kept-left")
            blue = tag("use", href=f"#{name}", x=CELL / 2 - 0.5, class_="kept-right")
            parts += [rect(x, y, *size, class_="ground"), amber, blue]
            words = "one mask" if len(mask) == 1 else f"{len(mask)} masks"
            parts.append(text(x, y + size[1] + 13, words, class_="faint smaller"))
            places.append([len(mask), width])
    size = lefts[-1] + STEPS * CELL + 2, TOP + len(SCHEMES) * height - 12
    label = "Dropout masks: for each scheme and connection, the units kept at each step."
    return svg(*size, *parts, label=label, class_="drawing masks"), places


def cells(mask: np.ndarray) -> str:
    """A path of the left half of each kept cell; one column of units serves all steps."""
    columns = np.broadcast_to(mask, (STEPS, mask.shape[1]))
    places = zip(*np.nonzero(columns), strict=True)
    return "".join(f"M{t * CELL + 0.5:g} {unit * CELL + 0.5:g}h4v8h-4z" for t, unit in places)


def _heading(start: float, last: float, words: str) -> Markup:
    """A line over several columns with words above."""
    end = last + STEPS * CELL
    bracket = path(f"M{start:g} {TOP - 34:g}H{end:g}", class_="bracket")
    return join([text(start, TOP - 42, words), bracket])
