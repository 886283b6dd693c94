"""The picture of vanishing gradients: how far back in time the gradient of a loss reaches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from diptych.site.pictures.chart import BELOW, HEIGHT, LEFT, TOP, WIDTH
from diptych.site.pictures.picture import Picture, join, line, path, scroller, svg, tag, text
from model_specs.common.key import Key
from model_specs.lstm import LSTMConfig
from model_specs.rnn import RNNConfig
from numpy_ref.lstm import LSTM
from numpy_ref.nn import random
from numpy_ref.rnn import RNN

LENGTH, UNITS, SYMBOLS, EXPONENTS = 60, 24, 9, (-16, 2)
"""Steps, H, number of symbols, and the powers of ten between which norms are drawn."""

Array = np.ndarray


@dataclass(frozen=True)
class Case:
    """A network whose gradient is measured."""

    label: str
    make: Callable[[], Any]
    style: str


def _rnn(gain: float) -> Any:
    sizes: dict[str, Any] = {"input_dim": SYMBOLS, "output_dim": SYMBOLS, "hidden_dim": UNITS}
    return RNN(RNNConfig(**sizes, seq_len=LENGTH, weight_std=0.1, recurrent_gain=gain), Key(0))


def _lstm(bias: float) -> Any:
    sizes: dict[str, Any] = {"vocab_size": SYMBOLS, "embedding_dim": UNITS, "hidden_dim": UNITS}
    return LSTM(LSTMConfig(**sizes, num_layers=1, seq_len=LENGTH, forget_bias=bias), Key(0))


CASES = {
    "rnn": [
        Case("RNN, W_hh ~ N(0, 0.1²)", lambda: _rnn(0.0), "third"),
        Case("RNN, W_hh + identity", lambda: _rnn(1.0), "second"),
        Case("LSTM, forget bias 3", lambda: _lstm(3.0), "first"),
    ],
    "lstm": [
        Case("LSTM, forget bias 0", lambda: _lstm(0.0), "third"),
        Case("LSTM, forget bias 1", lambda: _lstm(1.0), "second"),
        Case("LSTM, forget bias 3", lambda: _lstm(3.0), "first"),
    ],
}


def reach(model: Any) -> Array:
    """The norm of d (v · h_T) / d state_{T-k} for k = 1 ... LENGTH, by the vjp of `features`.

    v is a random direction of length 1, the same for every k. The network reads the last k of one
    sequence of random inputs, from the state that the steps before them leave behind.
    """
    x = random.uniform(Key(1), (LENGTH, 1))
    inputs = np.floor(x * SYMBOLS).astype(np.int64)
    if isinstance(model, RNN):
        inputs = np.eye(SYMBOLS)[inputs]
    direction = random.normal(Key(2), (UNITS,))
    masks, states = model.draw_noise(Key(3), 1), [model.zero_state(1)]
    for step in range(LENGTH):
        (_, state), _ = model.features(inputs[step : step + 1], states[-1], masks)
        states.append(state)
    norms = []
    for back in range(1, LENGTH + 1):
        (y, last), vjp = model.features(inputs[-back:], states[LENGTH - back], masks)
        dy = np.zeros_like(y)
        dy[-1, 0] = direction / np.linalg.norm(direction)
        _, *dstate = vjp(dy, *(None for _ in last))
        norms.append(np.sqrt(sum((part**2).sum() for part in dstate)))
    return np.array(norms)


def gradient_reach(model: str) -> Picture:
    """The norm of the gradient against the distance in time, for three networks."""
    norms = {case.label: reach(case.make()) for case in CASES[model]}
    parts = [_axes(), *(_curve(case, norms[case.label]) for case in CASES[model])]
    ends = "; ".join(f"{label}: {values[-1]:.0e}" for label, values in norms.items())
    label = f"Norm of the gradient after {LENGTH} steps back. {ends}."
    drawing = svg(
        WIDTH + 170, TOP + HEIGHT + BELOW - 24, *parts, label=label, class_="drawing chart"
    )
    caption = Markup(
        "The norm of the gradient of one output with respect to the state <i>k</i> steps before "
        "it, by the vjp of <code>features</code>, at initialisation and with {units} units; a "
        "line falls straight where every step shrinks the gradient by one factor. In the tanh "
        "network that factor comes from <i>W</i><sub>hh</sub> and tanh′, in the LSTM mostly from "
        "the forget gate, which is nearer to 1 the larger its bias is."
    ).format(units=UNITS)
    html = scroller(drawing, "Norm of the gradient over time")
    return Picture("reach", "How far the gradient reaches", caption, html)


def _x(back: int) -> float:
    return LEFT + (WIDTH - LEFT - 20) * back / LENGTH


def _y(exponent: Any) -> Any:
    low, high = EXPONENTS
    return TOP + HEIGHT * (high - exponent) / (high - low)


def _axes() -> Markup:
    parts: list[Markup] = [text(0, 14, "norm of the gradient", class_="chart-heading")]
    for exponent in range(EXPONENTS[0], EXPONENTS[1] + 1, 3):
        y = _y(exponent)
        parts.append(line(LEFT, y, _x(LENGTH), y, class_="gridline"))
        power = tag("tspan", str(exponent).replace("-", "−"), dy=-5, class_="subscript")
        parts.append(text(LEFT - 8, y + 4, join(["10", power]), class_="anchor-end faint"))
    for back in range(0, LENGTH + 1, 10):
        parts.append(text(_x(back), TOP + HEIGHT + 20, back, class_="anchor-middle faint"))
    middle = (_x(0) + _x(LENGTH)) / 2
    parts.append(text(middle, TOP + HEIGHT + 42, "steps back", class_="anchor-middle"))
    return join(parts)


def _curve(case: Case, norms: Array) -> Markup:
    """The curve, and its label where it ends."""
    exponents = np.log10(np.maximum(norms, 10.0 ** EXPONENTS[0]))
    points = [
        (back + 1, e) for back, e in enumerate(exponents) if norms[back] > 10.0 ** EXPONENTS[0]
    ]
    d = "M" + "L".join(f"{_x(back):.1f} {_y(e):.1f}" for back, e in points)
    back, exponent = points[-1]
    words = text(_x(back) + 8, _y(exponent) + 4, case.label)
    return tag("g", path(d), words, class_=f"series {case.style}")
