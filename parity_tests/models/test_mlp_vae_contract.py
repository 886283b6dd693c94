"""The contract of the MLP VAE: pure losses, samples, state_dicts, and clear errors."""

import math

import numpy as np
import pytest
import torch
from helpers.random_vae_batches import KEY, batch, odd_config
from helpers.run_layers import tensors

from diptych import pairs
from model_specs import mlp_vae as spec
from model_specs.common.key import Key
from model_specs.mlp_vae import MLPVAEConfig, MLPVAENoise
from numpy_ref.nn.layers import Linear
from numpy_ref.nn.module import Sequential
from numpy_ref.nn.optim import SGD


def test_gradients_are_added_and_the_loss_is_pure(make_pair):
    left, _ = make_pair(odd_config())
    x, noise = batch(5, 13), left.draw_noise(KEY, 5)
    first, backward = left.loss(x, noise)
    left.zero_grad(), backward()
    once = {name: grad.copy() for name, grad in left.gradients().items()}
    backward()
    assert all(np.array_equal(2 * once[name], grad) for name, grad in left.gradients().items())
    assert left.loss(x, noise)[0] == first
    assert left.loss(x, left.draw_noise(KEY.fold_in(1), 5))[0] != first


def test_samples_and_reconstructions_are_the_same_on_both_panels(make_pair):
    for likelihood in spec.LIKELIHOODS:
        left, right = make_pair(odd_config(likelihood=likelihood))
        for mean in (True, False):
            ours, theirs = left.sample(KEY, 9, mean=mean), right.sample(KEY, 9, mean=mean).numpy()
            assert ours.shape == (9, 13)
            np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)
        samples = left.sample(KEY, 200)
        if likelihood in ("bernoulli", "bernoulli_clamped"):
            assert set(np.unique(samples)) == {0.0, 1.0}
        elif likelihood not in ("gaussian", "gaussian_learned"):
            assert samples.min() >= 0 and samples.max() <= 1 and len(np.unique(samples)) > 2000
        x = batch(4, 13)
        theirs = right.reconstruct(*tensors(x)).numpy()
        np.testing.assert_allclose(left.reconstruct(x), theirs, rtol=1e-12)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("input_dim", 0),
        ("hidden_dim", 1.5),
        ("latent_dim", True),
        ("samples", -1),
        ("posterior", "var"),
        ("estimator", "C"),
        ("likelihood", "poisson"),
        ("reduction", "max"),
        ("activation", "gelu"),
        ("init", "zeros"),
        ("beta", -0.1),
        ("beta", math.nan),
        ("gaussian_std", 0),
    ],
)
def test_impossible_configs_name_field_value_and_what_is_allowed(field, value):
    with pytest.raises(ValueError, match=f"{field}: got {value!r}, takes"):
        MLPVAEConfig(**{field: value})


def test_a_deterministic_posterior_has_no_kl_term_and_no_density(make_pair):
    """The loss of the plain autoencoder is the reconstruction at mu, for every noise and beta."""
    config = odd_config(posterior="deterministic")
    left, right = make_pair(config)
    assert not any("logvar" in name or "sigma" in name for name in left.state_dict())
    x, others = batch(5, 13), (np.full((5, 1, 3), 7.0), np.zeros((5, 1, 3)))
    noise = left.draw_noise(KEY, 5, samples=2)
    ours = [left.loss(x, n)[0] for n in (noise, *map(MLPVAENoise, others))]
    theirs = [right.loss(*tensors(x), MLPVAENoise(*tensors(n))) for n in (noise.eps, *others)]
    for loss, *again in (ours, theirs):
        assert loss.kl.item() == 0 and loss.total.item() == loss.recon.item()
        for other in again:
            assert other.total.item() == pytest.approx(loss.total.item(), rel=1e-14)
    no_density = "posterior: got 'deterministic', which has no density"
    with pytest.raises(ValueError, match=no_density):
        left.log_weight(x, noise)
    with pytest.raises(ValueError, match=no_density):
        right.log_weight(*tensors(x), MLPVAENoise(*tensors(noise.eps)))
    with pytest.raises(ValueError, match="estimator: got 'sampled', takes one of 'analytic'"):
        MLPVAEConfig(posterior="deterministic", estimator="sampled")


def test_the_letters_of_the_paper_name_the_estimators():
    assert MLPVAEConfig(estimator="A") == MLPVAEConfig(estimator="sampled")
    assert MLPVAEConfig(estimator="B") == MLPVAEConfig()
    assert MLPVAEConfig().estimator == "analytic"


def _bad_batches():
    good = batch(5, 13)
    yield "shape", good[:, :12]
    yield "shape", good[0]
    yield "shape", good[:0]
    yield "dtype", good.astype(np.float32)
    yield "dtype", (good > 0.5).astype(np.int64)
    for what, value in (
        ("NaN or inf", np.nan),
        ("NaN or inf", np.inf),
        ("values", 1.01),
        ("values", -0.01),
    ):
        bad = good.copy()
        bad[2, 3] = value
        yield what, bad


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(("what", "x"), list(_bad_batches()))
def test_bad_batches_are_one_clear_error(make_pair, side, what, x):
    left, right = make_pair(odd_config())
    noise = left.draw_noise(KEY, 5)
    with pytest.raises(ValueError, match=f"x: got .*{what.split()[0]}.*takes"):
        if side == "left":
            left.loss(x, noise)
        else:
            right.loss(*tensors(x), MLPVAENoise(*tensors(noise.eps)))
    with pytest.raises(ValueError, match="x: got"):
        left.encode(x) if side == "left" else right.encode(*tensors(x))


@pytest.mark.parametrize("side", ["left", "right"])
def test_bad_noise_is_one_clear_error(make_pair, side):
    model = make_pair(odd_config())[side == "right"]
    x, eps = batch(5, 13), np.zeros((5, 1, 3))
    for bad in (eps[:4], eps[..., :2], eps[:, 0], eps[:, :0], np.full_like(eps, np.nan)):
        arguments = (x, bad) if side == "left" else tensors(x, bad)
        with pytest.raises(ValueError, match=r"eps: got .*takes"):
            model.loss(arguments[0], MLPVAENoise(arguments[1]))


def test_state_dicts_cross_the_panels_and_errors_list_everything(make_pair):
    left, right = make_pair(odd_config())
    assert list(left.state_dict()) == list(right.state_dict())
    before = left.state_dict()
    left.load_state_dict(right.state_dict())
    right.load_state_dict(left.state_dict())
    state = left.state_dict()
    state["encoder_hidden.weight"] += 1
    state["decoder_hidden.bias"] = np.ones(3)
    state["extra"] = state.pop("posterior.mu.weight")
    for model in (left, right):
        match = r"missing posterior\.mu\.weight.*extra.*decoder_hidden\.bias has shape \(3,\)"
        with pytest.raises(ValueError, match=match):
            model.load_state_dict(state)
        for name, array in model.state_dict().items():
            np.testing.assert_array_equal(before[name], np.asarray(array))


def test_a_model_cast_by_torch_takes_the_new_dtype(make_pair):
    _, right = make_pair(odd_config(), "float32")
    right.double()
    assert right.loss(*tensors(batch(5, 13)), right.draw_noise(KEY, 5)).total.dtype == torch.float64


def test_a_tied_parameter_is_learned_once_and_saved_under_both_names():
    left = Sequential(Linear(3, 3, Key(1)), Linear(3, 3, Key(2)))
    first, second = (getattr(left, name) for name in "01")
    second.weight = first.weight
    assert [name for name, _ in left.named_parameters()] == ["0.weight", "0.bias", "1.bias"]
    assert set(left.state_dict()) == {"0.weight", "0.bias", "1.weight", "1.bias"}
    before = first.weight.data.copy()
    first.weight.grad += 1
    SGD(left.named_parameters(), lr=0.5).step()
    np.testing.assert_array_equal(first.weight.data, before - 0.5)


@pytest.mark.parametrize("dtype", ["float16", "int64", "nonsense", "float", "f8", int, None])
def test_other_dtypes_are_refused(dtype):
    pair = pairs.get("mlp_vae")
    for side in (pair.left, pair.right):
        with pytest.raises(ValueError, match="dtype"):
            side(odd_config(), dtype=dtype)


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="device"):
        pairs.get("mlp_vae").right(odd_config(), device="cuda:99")
