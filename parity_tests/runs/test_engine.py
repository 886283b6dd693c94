"""Options of the torch backend: mixed precision, channels-last, compiled."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from helpers.short_runs import StopAt, arrays_of, assert_same_arrays

from diptych import data
from diptych.arrays import to_numpy
from diptych.data import Corpus
from diptych.panels import make_panel
from diptych.panels.engine import Engine
from diptych.panels.right import AMP_DTYPES
from diptych.parity.measures.rows import normwise
from diptych.training.presets import settings
from diptych.training.train import train
from model_specs.common.key import Key
from model_specs.conv_vae import ConvVAEConfig
from model_specs.lstm import LSTMConfig
from model_specs.mlp_vae import MLPVAEConfig
from numpy_ref.nn import random
from torch_impl.lstm import LSTMLayers
from torch_impl.recurrent.fused import LSTM_KERNEL, half_precision_trains

KEY = Key(51)
CONFIG = ConvVAEConfig(
    latent_dim=5, base_channels=4, image_size=16, in_channels=3, recon_type="gaussian"
)
X = random.uniform(KEY, (6, 3, 16, 16), dtype="float32")


def panel_of(engine=Engine(), dtype="float32", **options):  # noqa: B008  (immutable)
    return make_panel("conv_vae", CONFIG, "torch", key=KEY, dtype=dtype, engine=engine, **options)


def gradients_of(panel):
    noise = panel.model.draw_noise(KEY, len(X))
    terms, _ = panel.forward_backward(X, noise)
    return terms, {n: to_numpy(g) for n, g in panel.model.gradients().items()}


def scaled(panel, scale=16.0):
    """The panel with that loss scale, where it has one: the first one overflows here."""
    state = panel.optimizer_state()
    if "scaler.scale" in state:
        panel.load_optimizer_state(state | {"scaler.scale": np.array(scale)})
    return panel


def whole(gradients):
    return np.concatenate([g.ravel() for g in gradients.values()])


@pytest.mark.parametrize("amp", ["bf16", "fp16"])
def test_mixed_precision_rounds_and_does_no_more(amp):
    """The error is a few times that of rounding the weights alone: each layer rounds its weight,
    its input and its output, forward and backward."""
    terms, gradients = gradients_of(panel_of())
    once = panel_of()
    kept = {n: torch.from_numpy(a) for n, a in once.weights().items()}
    for name, tensor in kept.items():
        kept[name] = tensor.to(AMP_DTYPES[amp]).to(tensor.dtype)
    once.load_weights({name: tensor.numpy() for name, tensor in kept.items()})
    unit = normwise(whole(gradients_of(once)[1]), whole(gradients))
    rounded_terms, rounded = gradients_of(scaled(panel_of(Engine(amp=amp))))
    assert unit / 4 < normwise(whole(rounded), whole(gradients)) < 16 * unit
    for name, value in terms.items():
        assert rounded_terms[name] == pytest.approx(value, rel=16 * unit)
    assert all(g.dtype == np.float32 for g in rounded.values())


def test_evaluation_is_never_rounded():
    plain, mixed = panel_of(), panel_of(Engine(amp="bf16"))
    noise = plain.model.draw_noise(KEY, len(X))
    with plain.evaluating(), mixed.evaluating():
        assert plain.terms(X, noise) == mixed.terms(X, noise)


def test_a_step_that_overflows_is_left_out():
    """In float16: the scale halves, and the step count that Adam divides by stays."""
    panel = panel_of(Engine(amp="fp16"))
    state = panel.optimizer_state()
    assert state["scaler.scale"] == 2.0**16
    scaled(panel, 2.0**40)
    before = panel.weights()
    for _ in range(2):
        gradients_of(panel)
        panel.step(1e-3, 1.0)
    learned = dict(panel.model.named_parameters())
    for name in learned:
        np.testing.assert_array_equal(panel.weights()[name], before[name])
    state = panel.optimizer_state()
    assert state["scaler.scale"] == 2.0**38 and state["step"] == 0
    gradients_of(scaled(panel))
    panel.step(1e-3, 1.0)
    assert panel.optimizer_state()["step"] == 1
    assert all((panel.weights()[name] != before[name]).any() for name in learned)


def test_gradients_that_overflow_at_any_scale_end_the_run():
    panel = panel_of(Engine(amp="fp16"))
    gradients_of(scaled(panel, 2.0**-19))
    overflow(panel)
    panel.step(1e-3, None)  # left out, as any that overflows
    assert panel.optimizer_state()["step"] == 0
    with pytest.raises(ValueError, match="amp: gradients overflow float16 though scaled by"):
        gradients_of(panel)
        overflow(panel)
        panel.step(1e-3, None)


def overflow(panel):
    """Let the gradients of the last loss be infinite."""
    for parameter in panel.model.parameters():
        parameter.grad.fill_(np.inf)
    panel._scaler._per_optimizer_states.clear()
    panel._scaling = panel.floats(panel._unscale())


@pytest.mark.parametrize("amp", ["bf16", "fp16"])
@pytest.mark.parametrize(("model", "name"), [("rnn", "copy:5:1"), ("lstm", "topics")])
def test_a_carried_state_is_not_rounded(model, name, amp, tmp_path):
    """It is kept in checkpoints, in the model's own dtype."""
    dataset = data.load(name)
    if isinstance(dataset, Corpus):
        dataset = dataclasses.replace(dataset, train=dataset.train[:900], valid=dataset.valid[:99])
    run = {"epochs": 1, "batch_size": 4, "amp": amp, "checkpoint_every": 3}
    config = settings(model, name, dataset, None, {"hidden_dim": 8}, run)
    outcome = train(config, dataset, tmp_path / "run")
    states = {k: v for k, v in arrays_of(outcome.folder)[1].items() if k.startswith("state.")}
    assert states and all(array.dtype == np.float32 for array in states.values())


def test_a_kernel_without_half_precision_training_runs_in_float32():
    """The island is the same layer in float32: what the loop computes without autocast."""

    def run(*arguments):
        if torch.is_autocast_enabled("cpu"):
            raise RuntimeError("could not create a primitive descriptor for the LSTM")
        return LSTM_KERNEL.run(*arguments)

    kernel = LSTM_KERNEL._replace(run=run)
    config = LSTMConfig(vocab_size=7, embedding_dim=5, hidden_dim=6, num_layers=1)
    layers = LSTMLayers(5, config, "float32")
    for parameter in layers.parameters():
        torch.nn.init.uniform_(parameter, generator=torch.Generator().manual_seed(3))
    layers.fused_kernel = kernel
    x, h0, c0 = torch.ones(4, 3, 5), torch.zeros(3, 6), torch.zeros(3, 6)
    plain = torch.lstm(x, (h0[None], c0[None]), layers.weights(0), True, 1, 0.0, True, False, False)
    with torch.autocast("cpu", torch.float16):
        assert not half_precision_trains(kernel)
        h, h_T, c_T = layers.layer(x.bfloat16(), (h0, c0), None, 0)
    assert h.dtype == h_T.dtype == c_T.dtype == torch.float32
    assert torch.equal(h, plain[0]) and torch.equal(c_T, plain[2][0])


def test_a_precision_that_the_processor_cannot_train_is_one_clear_error(monkeypatch):
    message = "could not create a primitive descriptor for the matmul primitive. Run with verbose"
    panel = panel_of(Engine(amp="bf16"))
    noise = panel.model.draw_noise(KEY, len(X))

    def refuse(*_):
        raise RuntimeError(message)

    monkeypatch.setattr(panel, "_loss", refuse)
    with pytest.raises(ValueError, match=r"amp: got 'bf16'.*matmul primitive\), takes 'off' here"):
        panel.forward_backward(X, noise)
    plain = panel_of()
    monkeypatch.setattr(plain, "_loss", refuse)
    with pytest.raises(RuntimeError, match="could not create"):
        plain.forward_backward(X, noise)


def test_gradients_are_clipped_after_they_are_scaled_down():
    """The norm is that without the loss scale: with SGD the weights move by lr times the clip."""
    moved = []
    for engine in (Engine(), Engine(amp="fp16")):
        panel = scaled(panel_of(engine, optimizer="sgd"))
        before = panel.weights()
        gradients_of(panel)
        panel.step(0.5, 1e-3)
        learned = [name for name, _ in panel.model.named_parameters()]
        moved.append(np.concatenate([(panel.weights()[n] - before[n]).ravel() for n in learned]))
        assert np.linalg.norm(moved[-1]) == pytest.approx(0.5e-3, rel=1e-3)
    assert normwise(*moved) < 0.05  # in the same direction


def test_channels_last_is_a_matter_of_memory():
    panel = panel_of(Engine(channels_last=True), "float64")
    kernels = [p for p in panel.model.parameters() if p.ndim == 4]
    assert kernels and all(p.is_contiguous(memory_format=torch.channels_last) for p in kernels)
    assert panel.array(X).is_contiguous(memory_format=torch.channels_last)
    plain = panel_of(dtype="float64")
    for name, array in plain.weights().items():
        np.testing.assert_array_equal(panel.weights()[name], array)
        assert panel.weights()[name].flags.c_contiguous
    assert normwise(*(whole(gradients_of(p)[1]) for p in (panel, plain))) <= 1e-13


def test_compiled_is_the_same_loss():
    config = MLPVAEConfig(input_dim=13, hidden_dim=11, latent_dim=3)
    x, result = random.uniform(KEY, (5, 13)), []
    for engine in (Engine(), Engine(compile=True)):
        panel = make_panel("mlp_vae", config, "torch", key=KEY, dtype="float64", engine=engine)
        terms, _ = panel.forward_backward(x, panel.model.draw_noise(KEY, 5))
        result.append((terms, whole({n: to_numpy(g) for n, g in panel.model.gradients().items()})))
    (plain, g), (compiled, h) = result
    assert compiled == pytest.approx(plain, rel=1e-13) and normwise(h, g) <= 1e-13


@pytest.mark.parametrize(
    "engine", [Engine(amp="fp16"), Engine(amp="bf16", channels_last=True)], ids=lambda e: e.amp
)
def test_a_run_goes_on_bit_for_bit(engine, tmp_path, monkeypatch):
    """The loss scale and the layout are part of where it stands."""
    dataset = data.load("digits16")
    run = {"epochs": 1, "batch_size": 300} | dataclasses.asdict(engine)
    fields = {"base_channels": 2, "latent_dim": 3}
    config = settings("conv_vae", "digits16", dataset, None, fields, run)
    whole_run = train(config, dataset, tmp_path / "whole")
    with monkeypatch.context() as patch:
        StopAt(patch, 3)
        assert train(config, dataset, tmp_path / "stopped").interrupted
    resumed = train(config, dataset, tmp_path / "stopped", resume=True)
    for a, b in zip(arrays_of(whole_run.folder), arrays_of(resumed.folder), strict=True):
        assert_same_arrays(a, b)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"amp": "fp8"}, "amp: got 'fp8'"),
        ({"amp": "bf16", "backend": "numpy"}, "amp: got 'bf16' with backend 'numpy', takes 'off'"),
        (
            {"channels_last": True, "backend": "numpy"},
            "channels_last: got True with backend 'numpy'",
        ),
        ({"compile": True, "backend": "numpy"}, "compile: got True with backend 'numpy'"),
        ({"amp": "bf16", "dtype": "float64"}, "amp: got 'bf16' with float64, takes float32"),
        ({"patience": 0}, "patience: got 0"),
        ({"pictures": -1}, "pictures: got -1"),
    ],
)
def test_what_does_not_go_together_is_named(options, message, tmp_path):
    dataset = data.load("digits16")
    with pytest.raises(ValueError, match=message):
        config = settings("conv_vae", "digits16", dataset, None, {}, {"epochs": 1} | options)
        train(config, dataset, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("option", ["channels_last", "sync_batchnorm"])
def test_an_option_that_a_model_has_no_use_for_is_refused(option):
    with pytest.raises(ValueError, match=f"{option}: got MLPVAE, takes a model with"):
        make_panel("mlp_vae", MLPVAEConfig(), "torch", key=KEY, engine=Engine(**{option: True}))
