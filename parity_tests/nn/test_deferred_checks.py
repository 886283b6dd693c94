"""Checks of values whose verdicts are read together with the loss terms, after the loss."""

from __future__ import annotations

import threading
from functools import partial

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from diptych import pairs, weights
from diptych.arrays import map_arrays, to_numpy
from diptych.panels import TorchPanel
from diptych.panels.engine import Engine
from diptych.tasks import TrainingBatch
from diptych.training.step import gradient_norm, training_step
from model_specs.common.key import Key
from torch_impl.nn import checks

N = 3
ARRAYS = {"mlp_vae": ("x", "eps"), "conv_vae": ("x", "eps"), "vlae": ("x", "eps")}
ARRAYS |= {
    "rnn": ("x", "y", "weight", "state.h"),
    "lstm": ("x", "y", "weight", "state.h", "state.c"),
}
BAD_VALUES = {
    "NaN": np.nan,
    "inf": -np.inf,
    "above": 700,
    "below": -2,
    "grey": 0.37,
}
WRONG = {  # of each kind of array, the values that are refused
    "image": ("NaN", "inf", "above", "below"),
    "binary": ("NaN", "inf", "above", "below", "grey"),
    "numbers": ("NaN", "inf"),
    "tokens": ("above", "below"),
    "weight": ("NaN", "inf", "below"),
}


def make_panel(name, dtype="float64", engine=Engine()):  # noqa: B008  (immutable)
    pair = pairs.PAIRS[name]
    config = pair.variants[""]
    panel = TorchPanel(pair.right(config, Key(1), dtype=dtype), "adam", 0.1, 0.0, engine)
    panel.keep_average(0.9)
    return panel, pair.batch(config, Key(2), np.dtype(dtype), N)


def kind_of(name, array, values):
    if array == "weight":
        return "weight"
    if values.dtype.kind == "i":
        return "tokens"
    if array != "x":
        return "numbers"
    return {"mlp_vae": "image", "conv_vae": "image", "vlae": "binary"}.get(name, "numbers")


def with_bad_value(name, array, batch, noise, value):
    """The batch and the noise, with one value of one array replaced."""

    def spoil(values):
        values = values.clone() if isinstance(values, torch.Tensor) else np.array(values)
        values[(-1,) * values.ndim] = value
        return values

    if array == "eps":
        return batch, noise._replace(eps=spoil(noise.eps))
    if name in ("rnn", "lstm"):
        field, _, part = array.partition(".")
        if part:
            state = batch.state._replace(**{part: spoil(getattr(batch.state, part))})
            return batch._replace(state=state), noise
        return batch._replace(**{field: spoil(getattr(batch, field))}), noise
    return spoil(batch), noise


def cases():
    for name, arrays in ARRAYS.items():
        panel, batch = make_panel(name)
        noise = panel.model.draw_noise(Key(3), N)
        for array in arrays:
            values = noise.eps if array == "eps" else batch
            if name in ("rnn", "lstm"):
                field, _, part = array.partition(".")
                values = getattr(batch, field) if not part else getattr(batch.state, part)
            for wrong in WRONG[kind_of(name, array, to_numpy(values))]:
                yield pytest.param(name, array, wrong, id=f"{name}, {array}, {wrong}")


def error_of(call):
    with pytest.raises(ValueError) as caught:
        call()
    assert type(caught.value) is ValueError
    return str(caught.value)


def contents(panel):
    """All that a step may change, as arrays."""
    state = {n: torch.as_tensor(v).clone() for n, v in panel.model.state_dict().items()}
    average = {f"average.{n}": a for n, a in panel.average_state().items()}
    return weights.to_arrays(state) | average | panel.optimizer_state()


@pytest.mark.parametrize(("name", "array", "wrong"), [*cases()])
def test_a_step_raises_the_error_of_the_loss_and_changes_nothing(name, array, wrong):
    panel, batch = make_panel(name)
    with panel.training():
        noise = panel.model.draw_noise(Key(3), N)
        training_step(panel, TrainingBatch(batch, noise, N, N), lr=0.1, clip=1.0)
        bad, bad_noise = with_bad_value(name, array, batch, noise, BAD_VALUES[wrong])
        at_once = error_of(lambda: panel.model.loss(panel.convert(bad), bad_noise))
        assert at_once.startswith(f"{array}: got") and ", takes " in at_once
        before = contents(panel)
        step = TrainingBatch(bad, bad_noise, N, N)
        assert error_of(lambda: training_step(panel, step, lr=0.1, clip=1.0)) == at_once
        assert error_of(lambda: panel.terms(bad, bad_noise)) == at_once
    after = contents(panel)
    assert after.keys() == before.keys()
    for key, value in before.items():
        np.testing.assert_array_equal(after[key], value, err_msg=key)


def test_a_weight_of_zeros_alone_is_refused_in_a_step():
    panel, batch = make_panel("lstm")
    bad = batch._replace(weight=0 * batch.weight)
    noise = panel.model.draw_noise(Key(3), N)
    assert "zeros alone" in error_of(lambda: panel.forward_backward(bad, noise))


@pytest.mark.parametrize("name", pairs.PAIRS)
def test_deferred_checks_change_no_bit_of_a_loss_and_its_gradients(name):
    panel, batch = make_panel(name, "float32")
    batch = panel.convert(batch)
    noise = panel.model.draw_noise(Key(3), N)
    panel.model.loss(batch, noise).total.backward()
    expected = {n: g.clone() for n, g in panel.model.gradients().items()}
    terms, _ = panel.forward_backward(batch, noise)
    assert terms["total"] == panel.model.loss(batch, noise).total.item()
    for n, gradient in panel.model.gradients().items():
        assert torch.equal(gradient, expected[n]), n


class CountedReads(TorchDispatchMode):
    """Counts the numbers of tensors that Python reads, as `item` and `bool` do."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = str(func)
        reads = ("_local_scalar_dense", "nonzero", "masked_select", "aten.equal", "is_nonzero")
        self.count += any(part in name for part in reads)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", pairs.PAIRS)
@pytest.mark.parametrize("amp", ["off", "bf16", "fp16"])
def test_loss_terms_and_verdicts_are_read_once(name, amp, monkeypatch):
    """On CUDA each read would wait for the device."""
    panel, batch = make_panel(name, "float32", Engine(amp=amp))
    batch, lists = panel.convert(batch), []
    noise = panel.model.draw_noise(Key(3), N)
    plain = torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "tolist", lambda t: lists.append(1) or plain(t))
    with CountedReads() as reads:
        panel.forward_backward(batch, noise)
    assert (len(lists), reads.count) == (1, 0)


@pytest.mark.parametrize("name", pairs.PAIRS)
def test_a_gradient_norm_is_read_once(name, monkeypatch):
    panel, batch = make_panel(name)
    panel.forward_backward(batch, panel.model.draw_noise(Key(3), N))
    lists, plain = [], torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "tolist", lambda t: lists.append(1) or plain(t))
    with CountedReads() as reads:
        norm = gradient_norm(panel)
    assert (len(lists), reads.count) == (1, 0)
    squares = sum((p.grad**2).sum().item() for p in panel.model.parameters())
    assert norm == pytest.approx(squares**0.5, rel=1e-14)


def test_float16_goes_on_after_a_refused_batch():
    """The scaler has divided the gradients of the refused batch; it must not divide the next."""
    panel, batch = make_panel("mlp_vae", "float32", Engine(amp="fp16"))
    noise = panel.model.draw_noise(Key(3), N)
    error_of(lambda: panel.forward_backward(batch + 7, noise))
    terms, _ = panel.forward_backward(batch, noise)
    panel.step(0.1, None)
    assert panel.optimizer_state()["step"] == 1 and np.isfinite(terms["total"])


def test_verdicts_are_judged_again_with_the_numbers_of_another_step():
    """A captured step runs no Python: its verdicts are read again from the same tensor."""
    panel, batch = make_panel("vlae")
    noise = panel.model.draw_noise(Key(3), N)
    numbers = {}
    for what, x in (("good", batch), ("grey", np.where(batch > 0, 0.25, 0.0))):
        with checks.deferred() as pending:
            panel.model.loss(panel.array(x), noise)
        numbers[what] = pending.tensor().tolist()
    with checks.deferred() as pending:
        panel.model.loss(panel.array(batch), noise)
    pending.raise_for(numbers["good"])
    count = int((batch > 0).sum())
    with pytest.raises(ValueError, match=f"x: got {count} values such as 0.25, takes 0 and 1"):
        pending.raise_for(numbers["grey"])
    pending.raise_for(numbers["good"])


def test_numbers_and_verdicts_are_one_tensor_of_float64_without_a_gradient():
    panel, batch = make_panel("lstm", "float32")
    batch = panel.convert(batch)
    with checks.deferred() as pending:
        loss = panel.model.loss(batch, panel.model.draw_noise(Key(3), N))
    result = pending.tensor(loss.total)
    assert result.dtype == torch.float64 and result.ndim == 1 and not result.requires_grad
    assert result[0] == loss.total.double()
    tokens = batch.x.aminmax()
    assert tuple(tokens) == tuple(result[1:3].long())
    assert checks.Verdicts().tensor().shape == (0,)


def test_tokens_are_clamped_only_while_their_verdict_waits():
    tokens = torch.tensor([-4, 2, 9])
    assert checks.safe_tokens(tokens, 5) is tokens
    with checks.deferred():
        assert checks.safe_tokens(tokens, 5).tolist() == [0, 2, 4]


def test_the_context_is_of_its_thread_and_of_its_block():
    panel, batch = make_panel("mlp_vae")
    bad, noise = panel.array(batch + 7), panel.model.draw_noise(Key(3), N)
    errors = []

    def compute():
        errors.append(error_of(lambda: panel.model.loss(bad, noise)))

    with checks.deferred() as outer:
        thread = threading.Thread(target=compute)
        thread.start()
        thread.join()
        with checks.deferred() as inner:
            panel.model.loss(bad, noise)
        panel.model.loss(panel.array(batch), noise)
    assert len(errors) == 1
    compute()  # after the context
    assert errors[0] == errors[1]
    outer.raise_for(outer.tensor().tolist())
    assert error_of(lambda: inner.raise_for(inner.tensor().tolist())) == errors[0]


def test_an_error_inside_the_context_ends_it():
    with pytest.raises(ValueError, match="shape"), checks.deferred():
        raise ValueError("shape")
    panel, batch = make_panel("mlp_vae")
    error_of(lambda: panel.model.loss(panel.array(batch + 7), panel.model.draw_noise(Key(3), N)))


def test_a_prediction_reads_its_checks_once(monkeypatch):
    panel, batch = make_panel("lstm")
    batch, lists = panel.convert(batch), []
    plain = torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "tolist", lambda t: lists.append(1) or plain(t))
    panel.model.eval().predict(batch.x, batch.state)
    assert len(lists) == 1
    state = map_arrays(partial(torch.full_like, fill_value=torch.nan), batch.state)
    message = error_of(lambda: panel.model.predict(batch.x, state))
    assert message == "state.h: got NaN or inf, takes finite values"


@pytest.mark.parametrize("name", ["mlp_vae", "vlae"])
def test_a_compiled_step_checks_its_values_too(name):
    """The verdicts are outputs of the one graph, which has no break."""
    panel, batch = make_panel(name, "float32", Engine(compile=True))
    noise = panel.model.draw_noise(Key(3), N)
    torch._dynamo.utils.counters.clear()
    panel.forward_backward(batch, noise)
    assert not torch._dynamo.utils.counters["graph_break"]
    for bad, wrong in ((batch + 7, noise), (batch, noise._replace(eps=noise.eps * torch.nan))):
        at_once = error_of(lambda: panel.model.loss(panel.array(bad), wrong))  # noqa: B023
        assert error_of(lambda: panel.forward_backward(bad, wrong)) == at_once  # noqa: B023
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
