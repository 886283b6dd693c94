"""`compare` of a registered pair: the panels' own draws, evaluation mode, and values.

Each test plants a fault that the training loss alone does not show.
"""

import pytest
import torch
from torch.nn import functional as F

import numpy_ref.nn.layers
import torch_impl.nn.random
from diptych import pairs, parity
from diptych.parity import registered
from diptych.parity.measures.rows import ROOT_CAUSE
from numpy_ref.mlp_vae import MLPVAE as NumpyMLPVAE
from torch_impl.mlp_vae import MLPVAE as TorchMLPVAE
from torch_impl.recurrent import network
from torch_impl.vlae import VLAE as TorchVLAE


def root_causes(name, **options):
    """The failing rows of a pair by name: those at which the divergence begins."""
    report = parity.compare(name, **options)
    assert not report.ok
    return {row.name: row for row in report.failures if row.origin == ROOT_CAUSE}


def replace(monkeypatch, owner, name, change):
    """Replace a function by `change(original, *arguments)`."""
    original = getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *a, **options: change(original, *a, **options))


# the panels' own draws


def test_a_normal_draw_of_the_right_that_is_off_by_1e_9_is_named(monkeypatch):
    replace(
        monkeypatch,
        torch_impl.nn.random,
        "normal",
        lambda normal, *a, **options: normal(*a, **options) * (1 + 1e-9),
    )
    assert "noise.eps" in root_causes("mlp_vae[gaussian]")


@pytest.mark.parametrize("panel", [NumpyMLPVAE, TorchMLPVAE], ids=["left", "right"])
def test_an_initial_parameter_that_is_off_by_1e_9_is_named(monkeypatch, panel):
    def scaled(init, self, *arguments, **options):
        init(self, *arguments, **options)
        self.decoder_hidden.weight.data[0, 0] *= 1 + 1e-9

    replace(monkeypatch, panel, "__init__", scaled)
    assert list(root_causes("mlp_vae[gaussian]")) == ["decoder_hidden.weight"]


def test_a_layer_that_only_the_right_calls_twice_is_a_failing_row(monkeypatch):
    """Its output is not used, so that every value and gradient stays equal."""

    def twice(decode, self, z):
        self.decoder_hidden(z)
        return decode(self, z)

    replace(monkeypatch, TorchMLPVAE, "decode", twice)
    assert "missing on the left" in root_causes("mlp_vae[tanh]")["decoder_hidden#2"].note


# values


def reconstruct_nothing(reconstruct, self, x, *arguments, **options):
    """Encode another image, which does not depend on x."""
    return reconstruct(self, torch.zeros_like(x), *arguments, **options)


def sample_at_half_of_z(sample, self, key, count, **options):
    normal = torch_impl.nn.random.normal
    torch_impl.nn.random.normal = lambda *a, **o: 0.5 * normal(*a, **o)
    try:
        return sample(self, key, count, **options)
    finally:
        torch_impl.nn.random.normal = normal


def log_weight_without_the_kl_term(log_weight, self, x, noise):
    z = self.reparameterize(*self.encode(x), noise.eps)
    return -self.likelihood.nll(self.decode(z), x)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("method", "fault"),
    [
        ("reconstruct", reconstruct_nothing),
        ("sample", sample_at_half_of_z),
        ("log_weight", log_weight_without_the_kl_term),
    ],
)
def test_a_fault_in_a_value_is_named_after_it(monkeypatch, method, fault, dtype):
    replace(monkeypatch, TorchMLPVAE, method, fault)
    rows = root_causes("mlp_vae[beta=4,sum]", dtype=dtype)
    names = {method, f"{method}, drawn"} if dtype == "float64" else {method}
    assert method in rows and set(rows) <= names and rows[method].kind == "value"


@pytest.mark.parametrize("name", ["vlae", "vlae[gaussian,latent]", "vlae[iaf_posterior,affine]"])
def test_a_lossy_reconstruction_that_does_not_depend_on_x_fails(monkeypatch, name):
    replace(monkeypatch, TorchVLAE, "reconstruct", reconstruct_nothing)
    assert "reconstruct" in root_causes(name)


def test_pixels_drawn_from_another_stream_fail(monkeypatch):
    def next_image(sample_pixels, self, code, key, mean, progress, first=0):
        return sample_pixels(self, code, key, mean, progress, first + 1)

    replace(monkeypatch, TorchVLAE, "_sample_pixels", next_image)
    assert {"sample, drawn", "reconstruct"} <= set(root_causes("vlae"))


def test_values_in_jumps_are_listed_as_not_compared_in_float32():
    report = parity.compare("mlp_vae[tanh]", dtype="float32")
    reason = "one rounding can change its discrete results, so it is compared in float64 only"
    assert f"sample, drawn ({reason})" in report.not_compared
    assert "sample, drawn" not in {row.name for row in report.rows}


@pytest.mark.parametrize("name", pairs.PAIRS)
def test_every_pair_has_values_and_a_loss_in_evaluation_mode(name):
    names = {row.name for row in parity.compare(name).rows if row.kind == "value"}
    pair, config = pairs.find(name)
    assert "eval: loss.total" in names
    for value in (*pair.values(config), *pair.draws(config)):
        assert any(name.startswith(value) for name in names)


# evaluation mode


def test_batch_statistics_in_evaluation_mode_are_located_at_their_layer(monkeypatch):
    def always_training(batch_norm, x, mean, var, weight, bias, training, *rest):
        return batch_norm(x, None, None, weight, bias, True, *rest)

    def only_in_evaluation(batch_norm, x, mean, var, weight, bias, training, *rest):
        function = batch_norm if training else always_training
        first = () if training else (batch_norm,)
        return function(*first, x, mean, var, weight, bias, training, *rest)

    replace(monkeypatch, F, "batch_norm", only_in_evaluation)
    (first, *_) = root_causes("conv_vae[gaussian]").values()
    assert first.name == "eval: encoder.3" and first.kind == "output"


def test_dropout_masks_drawn_in_evaluation_mode_are_named(monkeypatch):
    def in_training(draw_masks, layers, *arguments, **options):
        mode = layers.training
        masks = draw_masks(layers.train(), *arguments, **options)
        layers.train(mode)
        return masks

    replace(monkeypatch, torch_impl.rnn, "draw_masks", in_training)
    rows = root_causes("rnn[per_step]")
    assert rows and all(name.startswith("eval: noise") for name in rows)


def test_running_statistics_that_evaluation_changes_are_named(monkeypatch):
    batch_norm = numpy_ref.nn.layers.BatchNorm2d

    def drifting(forward, self, x):
        if not self.training:
            self.running_mean.data += 1e-3
        return forward(self, x)

    replace(monkeypatch, batch_norm, "forward", drifting)
    rows = root_causes("conv_vae")
    notes = {row.note for row in rows.values()}
    assert "changed by evaluation on the left" in notes


def test_the_models_are_in_training_mode_again(monkeypatch):
    panels = []

    def kept(compare_values, pair, config, models, *rest):
        panels.append(models)
        return compare_values(pair, config, models, *rest)

    replace(monkeypatch, registered, "compare_values", kept)
    assert parity.compare("conv_vae").ok
    ((left, right, *_),) = panels
    assert all(module.training for _, module in left.named_modules())
    assert all(module.training for module in right.modules())


# square sizes and two windows


@pytest.mark.parametrize("name", pairs.PAIRS)
def test_every_pair_has_a_variant_whose_weights_are_square(name):
    pair, config = pairs.find(f"{name}[square]")
    shapes = [p.data.shape for p in pair.left(config).parameters() if p.data.ndim == 2]
    assert any(a == b for a, b in shapes)


def test_a_transposed_square_weight_is_located(monkeypatch):
    """With all widths different it raises instead."""

    def transposed(forward, self, x):
        return F.linear(x, self.weight.T, self.bias)

    replace(monkeypatch, torch.nn.Linear, "forward", transposed)
    first = next(iter(root_causes("mlp_vae[square]").values()))
    assert (first.name, first.kind) == ("encoder_hidden", "output")
    with pytest.raises(ValueError, match="right: encoder_hidden raised RuntimeError"):
        parity.compare("mlp_vae[tanh]")


@pytest.mark.parametrize("name", ["rnn[two windows]", "lstm[two windows]"])
def test_a_gradient_that_leaves_a_window_through_its_state_fails(monkeypatch, name):
    """The loss of one window is right, and so are its gradients."""

    def attached(loss, self, batch, noise):
        h, state = self.features(batch.x, batch.state, noise)
        terms = network.weighted_loss(self.decoder(h, batch.y), batch.weight)
        return self.loss_type(*terms, state)

    replace(monkeypatch, network.SequenceModel, "loss", attached)
    assert parity.compare(name.replace("two windows", "variational")).ok
    kinds = {row.kind for row in root_causes(name).values()}
    assert kinds and kinds <= {"parameter gradient", "output gradient", "input gradient"}


@pytest.mark.parametrize("name", ["rnn[two windows]", "lstm[two windows]"])
def test_both_windows_are_compared_with_their_states(name):
    names = {row.name for row in parity.compare(name).rows}
    for window in (0, 1):
        assert f"loss.windows[{window}].total" in names
        assert f"loss.windows[{window}].state.h" in names
