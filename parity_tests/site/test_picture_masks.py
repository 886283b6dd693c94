"""The pictures of recurrent networks: the bits of the masks, and the places where they act."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from diptych.site.pictures import gradients, schemes, unrolled
from diptych.site.pictures.schemes import MODELS, RATES, SEEDS, scheme_masks
from model_specs.common.key import Key
from model_specs.recurrent.dropout import SCHEMES
from numpy_ref.nn import random
from numpy_ref.rnn import RNN


def bits_of(model: str, rate: int, seed: int) -> list[np.ndarray]:
    """The masks of one place of both sliders, unpacked as the script does."""
    data = scheme_masks(model).data
    raw = np.frombuffer(base64.b64decode(data["bits"]), np.uint8)
    block = raw.reshape(len(RATES), len(SEEDS), data["bytes"])[rate, seed]
    bits, masks, start = np.unpackbits(block), [], 0
    for steps, units in data["masks"]:
        masks.append(bits[start : start + steps * units].reshape(steps, units))
        start += steps * units
    return masks


@pytest.mark.parametrize("model", MODELS)
def test_bits_are_those_of_the_named_streams_of_the_noise(model: str) -> None:
    key = Key(3).fold_in("dropout")
    masks = bits_of(model, 2, 3)
    streams = [("inputs", i) for i in range(3)], [("recurrent", i) for i in range(2)]
    per_scheme = [streams[0], streams[0], streams[0] + streams[1], streams[1]]
    names = [name for scheme in per_scheme for name in scheme]
    assert len(names) == len(masks)
    for (field, index), mask in zip(names, masks, strict=True):
        stream = key.fold_in(field).fold_in(index)
        expected = random.dropout_mask(stream, (1, *mask.shape), RATES[2])
        np.testing.assert_array_equal(mask, expected[0])


def test_the_share_of_dropped_bits_is_the_rate_of_the_slider() -> None:
    for place, rate in enumerate(RATES):
        bits = [mask.ravel() for seed in SEEDS for mask in bits_of("rnn", place, seed)]
        assert 1 - np.concatenate(bits).mean() == pytest.approx(rate, abs=0.02)


def test_the_first_drawing_shows_the_bits_of_the_first_place() -> None:
    picture = scheme_masks("lstm")
    masks = bits_of("lstm", schemes.FIRST_RATE, 0)
    for index, mask in enumerate(masks):
        (d,) = re.findall(rf'<path d="([^"]*)" id="mask-{index}"', picture.html)
        columns = np.broadcast_to(mask, (schemes.STEPS, mask.shape[1]))
        assert d.count("M") == columns.sum()
    assert "no bit differs" in picture.caption


def test_masks_that_differ_between_the_panels_are_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left, right, config = MODELS["rnn"]

    class Wrong(right):  # type: ignore[misc]
        def draw_noise(self, key: Key, *sizes: int) -> Any:
            masks = super().draw_noise(key, *sizes)
            return masks._replace(inputs=tuple(~mask for mask in masks.inputs))

    monkeypatch.setitem(MODELS, "rnn", (left, Wrong, config))
    with pytest.raises(ValueError, match=r"per_step, rate 0.1, seed 0: mask 0 of the panels"):
        scheme_masks.__wrapped__("rnn")


def test_a_mask_that_grows_with_the_rate_is_an_error() -> None:
    count = len(SEEDS)
    schemes._check_nested([b"\x0f"] * count + [b"\x03"] * count)
    with pytest.raises(ValueError, match="rate: got a mask that keeps more units"):
        schemes._check_nested([b"\x0f"] * count + [b"\x03"] * (count - 1) + [b"\x10"])


@pytest.mark.parametrize("scheme", [s for s in SCHEMES if s != "none"])
def test_a_mask_acts_first_at_the_arrow_that_has_its_number(scheme: str) -> None:
    """Dropping all units of one row of a mask changes nothing before the first such arrow."""
    steps, layers = unrolled.STEPS, unrolled.LAYERS
    config = replace(MODELS["rnn"][2], scheme=scheme, rate=0.3, seq_len=steps)
    model = RNN(replace(config, weight_std=0.7), Key(1))
    masks = model.draw_noise(Key(2), 1)
    connections = unrolled.unroll(masks, steps, layers)
    names = {c.mask for c in connections if c.mask is not None}
    assert names
    plain = states_of_steps(model, masks)
    for field, index, row in names:
        arrays = [mask.copy() for mask in getattr(masks, field)]
        arrays[index][row] = False
        changed = states_of_steps(model, masks._replace(**{field: tuple(arrays)}))
        with_mask = [c for c in connections if c.mask == (field, index, row)]
        step, level = min(c.target for c in with_mask)
        # a mask on the arrow to the output acts on y alone, which is behind the last state
        for layer in range(layers + 1):
            differ = np.flatnonzero((plain[layer] != changed[layer]).any(-1))
            if layer + 1 < level:
                assert differ.size == 0
            elif layer + 1 == level:
                assert differ[0] + 1 == step
        if level == layers + 1:
            affected = {c.target[0] for c in with_mask}
            differ = np.flatnonzero((plain[layers] != changed[layers]).any(-1))
            assert set(differ + 1) == affected


def states_of_steps(model: RNN, masks: Any) -> list[np.ndarray]:
    """h (T, H) of every layer of the first sequence, and the inputs of the output layer."""
    x = random.normal(Key(5), (unrolled.STEPS, 1, model.config.input_dim))
    zero = model.zero_state(1)
    state, result = type(zero)(random.normal(Key(6), zero.h.shape)), []  # 0 would hide its mask
    network = model.rnn
    original = network.layer

    def layer(*arguments: Any) -> Any:
        output = original(*arguments)
        result.append(output[0][0][:, 0].copy())
        return output

    network.__dict__["layer"] = layer
    try:
        (y, _), _ = network(x, state, masks)
    finally:
        del network.__dict__["layer"]
    return [*result, y[:, 0]]


def test_the_masks_on_the_way_grow_with_time_only_where_the_state_is_dropped() -> None:
    counts = {}
    for scheme in SCHEMES:
        rate = 0.0 if scheme == "none" else 0.3
        model = RNN(replace(MODELS["rnn"][2], scheme=scheme, rate=rate, seq_len=4), Key(0))
        connections = unrolled.unroll(model.draw_noise(Key(0), 1), 4, 2)
        way = unrolled.masks_on_the_way(connections, 4, 2)
        counts[scheme] = len(way), len(set(way))
    assert counts == {
        "none": (0, 0),
        "per_step": (3, 3),
        "variational": (3, 3),
        "variational_recurrent": (6, 4),
        "recurrent": (3, 3),
    }


def test_arrows_of_one_mask_have_one_number_and_one_hue() -> None:
    html = unrolled.unrolled_network("rnn", "rnn").html
    start = html.index('data-when="variational_recurrent"')
    drawing = html[start : html.index("</svg>", start)]
    arrows = re.findall(r'--hue:(\d+)"></path><path [^>]*></path><text [^>]*>(\d+)<', drawing)
    assert len(arrows) == 4 * 3 + 4 * 2
    assert len({number for _, number in arrows}) == len(set(arrows)) == 5


@pytest.mark.parametrize("model", gradients.CASES)
def test_the_norm_of_the_gradient_is_that_of_central_differences(model: str) -> None:
    case = gradients.CASES[model][1]
    norms, network, back = gradients.reach(case.make()), case.make(), 4
    x = np.floor(random.uniform(Key(1), (gradients.LENGTH, 1)) * gradients.SYMBOLS).astype(np.int64)
    inputs = np.eye(gradients.SYMBOLS)[x] if isinstance(network, RNN) else x
    masks, direction = network.draw_noise(Key(3), 1), random.normal(Key(2), (gradients.UNITS,))
    (_, state), _ = network.features(inputs[:-back], network.zero_state(1), masks)
    flat = np.concatenate([part.ravel() for part in state])

    def output(values: np.ndarray) -> float:
        parts = np.split(values, len(state))
        start = type(state)(
            *(part.reshape(old.shape) for part, old in zip(parts, state, strict=True))
        )
        (y, _), _ = network.features(inputs[-back:], start, masks)
        return float(y[-1, 0] @ direction / np.linalg.norm(direction))

    steps = 1e-6 * np.eye(len(flat))
    slopes = [(output(flat + step) - output(flat - step)) / 2e-6 for step in steps]
    assert norms[back - 1] == pytest.approx(np.linalg.norm(slopes), rel=1e-6)


def test_a_plain_tanh_network_forgets_and_a_large_forget_bias_keeps_the_gradient() -> None:
    plain, _, lstm = (gradients.reach(case.make()) for case in gradients.CASES["rnn"])
    assert plain[-1] < 1e-15
    assert lstm[-1] > 0.1
