"""A stack of recurrent layers, of either cell: torch.nn's, by finite difference, and its state."""

import numpy as np
import pytest
import torch
from helpers.finite_differences import derivative_errors
from helpers.small_recurrent_networks import (
    CELLS,
    KEY,
    LAYERS,
    WIDTH,
    B,
    H,
    T,
    V,
    both_ways,
    make_config,
    make_layers,
    make_window,
    tensors,
)

from diptych.arrays import leaves, to_numpy, to_tensors
from diptych.parity.measures.rows import normwise
from model_specs.recurrent.dropout import Masks

STATES = {"rnn": "h", "lstm": "hc"}
on_both_cells = pytest.mark.parametrize("cell", CELLS)


def torch_errors(cell, layers, into_torch, rng):
    """Relative errors of outputs, final states and gradients against plain torch.nn.RNN or LSTM.

    The state_dict is loaded unchanged, into torch's module or from it.
    """
    config = make_config(cell, num_layers=layers)
    left, _, (x, state, masks) = make_layers(cell, config)
    with torch.random.fork_rng(devices=[]):  # its init draws from torch's global state
        torch.manual_seed(5)
        theirs = LAYERS[cell][2](WIDTH, H, layers, dtype=torch.float64)
    if into_torch:
        theirs.load_state_dict(tensors(left.state_dict()))
    else:
        left.load_state_dict(theirs.state_dict())

    (y, last), vjp = left(x, state, masks)
    cotangents = [rng.normal(size=array.shape) for array in (y, *last)]
    dx, *dfirst = vjp(*cotangents)
    read, *first = to_tensors((x, *state), torch.device("cpu"))
    out, final = theirs(read, first[0] if cell == "rnn" else tuple(first))
    finals = (final,) if cell == "rnn" else final
    torch.autograd.backward((out, *finals), tensors(cotangents))

    ours = {"y": y, "dx": dx} | left.gradients()
    result = {"y": out, "dx": read.grad} | {n: p.grad for n, p in theirs.named_parameters()}
    for i, name in enumerate(state._fields):
        ours |= {f"last {name}": last[i], f"d first {name}": dfirst[i]}
        result |= {f"last {name}": finals[i], f"d first {name}": first[i].grad}
    assert ours.keys() == result.keys()
    return {name: normwise(array, to_numpy(result[name])) for name, array in ours.items()}


@pytest.mark.parametrize("into_torch", [True, False])
@pytest.mark.parametrize("layers", [1, 2, 3])
@on_both_cells
def test_the_layers_are_those_of_torch_nn(cell, layers, into_torch, rng):
    """Without dropout, by plain torch.nn.RNN or LSTM and its own state_dict, either way."""
    errors = torch_errors(cell, layers, into_torch, rng)
    states = {f"{which} {part}" for which in ("last", "d first") for part in STATES[cell]}
    assert {"y", "dx", "weight_hh_l0", "bias_ih_l0"} | states <= errors.keys()
    assert max(errors.values()) <= 1e-13, errors


@on_both_cells
@pytest.mark.parametrize("scheme", ["none", "per_step", "variational_recurrent", "recurrent"])
def test_layers_by_finite_difference(cell, scheme, rng):
    """One layer, with masks on h_{t-1} and without, and the stack: x, first state, every weight."""
    config = make_config(cell, num_layers=2, scheme=scheme, rate=0.3, recurrent_rate=0.65)
    left, _, (x, state, masks) = make_layers(cell, config)
    m = left.recurrent_dropout.scale(masks.recurrent[0] if masks.recurrent else None, x.dtype)
    mine = {name: p for name, p in left.named_parameters() if name.endswith("l0")}
    arguments = (x, *(part[0] for part in state))
    errors = derivative_errors(lambda x, *first: left.layer(x, first, m, 0), arguments, mine, rng)
    assert errors.keys() == {f"[{i}]" for i in range(len(arguments))} | mine.keys()
    assert max(errors.values()) < 1e-8, errors
    errors = derivative_errors(left, (x, state, masks), left.named_parameters(), rng)
    firsts = {f"[1].{part}" for part in STATES[cell]}
    assert errors.keys() == {"[0]"} | firsts | dict(left.named_parameters()).keys()
    assert max(errors.values()) < 1e-8, errors


# The contract


@on_both_cells
def test_a_carried_state_makes_two_windows_one(make_pair, cell):
    """The losses of two windows in a row, the state carried over, add up to that of both."""
    config = make_config(cell, num_layers=3)
    left, right = make_pair(config, name=cell)
    window = make_window(cell, config)
    parts = [
        window._replace(x=window.x[s], y=window.y[s], weight=window.weight[s])
        for s in (slice(0, 2), slice(2, T))
    ]
    for model, (whole, *two) in both_ways(left, right, window, *parts):
        totals, state = [], whole.state
        for part in (*two, whole):
            first = whole.state if part is whole else state
            loss = model.loss(part._replace(state=first), Masks())
            loss = loss[0] if model is left else loss
            totals.append(loss.total.item())
            before, state = state, loss.state
        assert totals[0] + totals[1] == pytest.approx(totals[2], rel=1e-13)
        for (_, one), (_, all_at_once) in zip(leaves(before), leaves(state), strict=True):
            np.testing.assert_allclose(to_numpy(one), to_numpy(all_at_once), rtol=1e-13)


def _blunders(cell):
    """(what, its call with a model and data of the model's own kind, how the error begins)."""
    lost = Masks(inputs=(None, None))
    yield "masks", lambda m, batch: m.loss(batch, lost), r"noise\.inputs\[0\]: got NoneType"
    yield "noise", lambda m, batch: m.loss(batch, None), "noise: got NoneType"
    yield "state", lambda m, batch: m.loss(batch._replace(state=None), Masks()), "state: got None"
    yield "length", lambda m, batch: m.draw_noise(KEY, B, length=0), "length: got 0"
    if cell == "rnn":
        words = Masks(words=np.ones((B, V), bool))
        yield "words", lambda m, batch: m.loss(batch, words), r"noise\.words: got"
    else:
        yield "ids", lambda m, batch: m.predict(batch.x - V, batch.state), "x: got values"


@pytest.mark.parametrize(
    ("cell", "call", "match"),
    [pytest.param(c, *rest, id=f"{c}-{what}") for c in CELLS for what, *rest in _blunders(c)],
)
def test_blunders_are_one_clear_error(make_pair, cell, call, match):
    left, right = make_pair(make_config(cell), name=cell)
    for model, (batch,) in both_ways(left, right, make_window(cell, left.config)):
        with pytest.raises(ValueError, match=f"^{match}.*takes"):
            call(model, batch)
