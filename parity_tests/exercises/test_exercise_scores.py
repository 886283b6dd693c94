"""Evaluation and inference of VAEs: the same on both panels, and by torch.distributions."""

import numpy as np
import pytest
import torch
from helpers.panels_for_exercises import (
    CONV,
    IMAGES,
    KEY,
    MLP,
    assert_close,
    build_panel,
    each_backend,
    each_image_config,
    images,
)
from torch import distributions as td

from diptych.exercises import Predictor, evaluate
from diptych.panels import BACKENDS
from diptych.parity.measures.rows import normwise
from model_specs.common.effects import changed
from model_specs.mlp_vae import POSTERIORS
from model_specs.vlae import VLAEConfig

# test_vlae_density.py has the witnesses of an autoregressive decoder
FACTORISED = {name: c for name, c in IMAGES.items() if not isinstance(c, VLAEConfig)}

# Evaluation


@each_image_config
def test_scores_are_the_same_on_both_panels_however_cut(config):
    x = images(config, 5)
    ours, theirs = (
        evaluate(build_panel(config, backend), x, KEY).numbers() for backend in BACKENDS
    )
    assert_close(ours, theirs)
    assert_close(ours, evaluate(build_panel(config, "numpy"), x, KEY, batch_size=2).numbers())
    assert ("neg_elbo" in ours) == (getattr(config, "recon_type", "") != "mse")


@pytest.mark.parametrize("config", FACTORISED.values(), ids=FACTORISED)
def test_scores_are_what_torch_distributions_say(config):
    """-log p(x|z) + KL of every image, whatever beta, the reduction and the mean over pixels."""
    panel, x = build_panel(config, "torch"), images(config, 4)
    model, there = panel.model.eval(), torch.from_numpy(x)
    with torch.no_grad():
        mu, scale = model.encode(there)
        sigma = hasattr(config, "posterior") and config.posterior == "sigma"
        q = td.Normal(mu, scale.abs() if sigma else (scale / 2).exp())
        eps = model.draw_noise(KEY, 4).eps.movedim(0, -2)  # (L, N, Z), or (N, Z)
        outputs = model.decode(q.loc + (scale if sigma else q.scale) * eps)
        if getattr(config, "recon_type", "bce") == "bce":
            p = td.Bernoulli(logits=outputs, validate_args=False)  # which takes grey values
        else:
            p = td.Normal(model.activate(outputs), config.gaussian_std)
        nll = -p.log_prob(there).flatten(eps.ndim - 1).sum(-1).mean()
        kl = td.kl_divergence(q, td.Normal(0.0, 1.0)).sum(1).mean()
        error = (model.reconstruct(there) - there).square().mean().sqrt()
    result = evaluate(panel, x, KEY)
    assert result.rmse == pytest.approx(error.item(), rel=1e-13)
    if result.neg_elbo is not None:  # the sigma form has log(sigma^2 + 1e-8)
        rel = 1e-6 if sigma else 1e-12
        assert result.neg_elbo == pytest.approx((nll + kl).item(), rel=rel)


@each_backend
def test_evaluation_leaves_the_panel_as_it_was(backend):
    panel = build_panel(CONV, backend)
    before = panel.weights()
    evaluate(panel, images(CONV, 5), KEY)
    Predictor(panel)(images(CONV, 5))
    assert panel.model.training
    for name, array in panel.weights().items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)
    panel.model.eval()
    Predictor(panel)(images(CONV, 5))
    assert not panel.model.training


def test_nothing_cannot_be_evaluated():
    with pytest.raises(ValueError, match=r"x: got shape \(0, 13\)"):
        evaluate(build_panel(MLP, "numpy"), images(MLP, 1)[:0], KEY)


# Inference


@each_image_config
def test_predictions_are_the_same_on_both_panels(config):
    x = images(config, 4)
    ours, theirs = (
        Predictor(build_panel(config, backend))(x, KEY)._asdict() for backend in BACKENDS
    )
    if ours["elbo"] is None:
        assert theirs.pop("elbo") is ours.pop("elbo")
    assert_close(ours, theirs)
    assert all(isinstance(array, np.ndarray) for array in theirs.values())


@each_image_config
def test_predictions_are_what_the_model_says(config):
    panel, x = build_panel(config, "numpy"), images(config, 4)
    result = Predictor(panel)(x, KEY)
    with panel.evaluating():
        (mu, scale), _ = panel.model.encode(x)
        recon = panel.model.reconstruct(x)
    np.testing.assert_array_equal(result.mu, mu)
    np.testing.assert_array_equal(result.recon, recon)
    sigma = getattr(config, "posterior", "") == "sigma"
    np.testing.assert_allclose(result.std, np.abs(scale) if sigma else np.exp(scale / 2), 1e-15)
    assert not sigma or (scale < 0).any()
    scores = evaluate(panel, x, KEY)
    if result.elbo is None:
        assert scores.neg_elbo is None
    else:
        assert result.elbo.shape == (4,)
        assert result.elbo.mean() == pytest.approx(-scores.neg_elbo, rel=1e-13)


@each_backend
@each_image_config
def test_one_image_is_read_as_it_is_in_a_batch(config, backend):
    predict, x = Predictor(build_panel(config, backend)), images(config, 3)
    single, batch = predict(x[0], KEY), predict(x, KEY)
    for name, one, several in zip(single._fields, single, batch, strict=True):
        if one is not None:
            assert np.shape(one) == several.shape[1:], name
            assert normwise(np.asarray(one), several[0]) <= 1e-13, name


def test_inference_keeps_no_graph():
    panel, tracked = build_panel(MLP, "torch"), []
    panel.model.encoder_hidden.register_forward_hook(
        lambda module, arguments, out: tracked.append(out.requires_grad)
    )
    Predictor(panel)(images(MLP, 3))
    assert tracked and not any(tracked)


@each_backend
@pytest.mark.parametrize(
    "config, change, message",
    [
        (MLP, lambda x: x[:, :7], r"x: got shape \(3, 7\), takes \(13,\) or \(N, 13\) with N >= 1"),
        (MLP, lambda x: x[:0], r"x: got shape \(0, 13\), takes \(13,\) or"),
        (MLP, lambda x: x[0, 0], r"x: got shape \(\)"),
        (MLP, lambda x: (255 * x).astype(np.uint8), "x: got dtype uint8, takes floating"),
        (MLP, lambda x: x * np.nan, "x: got NaN or inf"),
        (MLP, lambda x: x - 2, "x: got values from"),
        (MLP, lambda x: "images", "x: got dtype <U6"),
        (CONV, lambda x: x[:, :1], r"x: got shape \(3, 1, 16, 16\), takes \(2, 16, 16\) or \(N, 2"),
        (CONV, lambda x: x.reshape(3, -1), r"x: got shape \(3, 512\)"),
    ],
)
def test_bad_images_are_refused(config, change, message, backend):
    predict = Predictor(build_panel(config, backend))
    with pytest.raises(ValueError, match=message):
        predict(change(images(config, 3)))
    assert predict.panel.model.training


@pytest.mark.parametrize("posterior", POSTERIORS)
def test_only_a_density_has_an_elbo(posterior):
    """The spread of a plain autoencoder's code is 0."""
    config = changed(MLP, posterior=posterior)
    panel, x = build_panel(config, "numpy"), images(MLP, 2)
    result = Predictor(panel)(x)
    assert (result.elbo is None) == (result.std.max() == 0)
    assert (evaluate(panel, x, KEY).neg_elbo is None) == (result.elbo is None)
