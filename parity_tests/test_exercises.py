"""The exercises: both panels give the same numbers, and those are what the equations say."""

import dataclasses
from functools import partial

import numpy as np
import pytest
import torch
from run_folders import arrays_of
from torch import distributions as td

import numpy_ref.conv_vae
import torch_impl.conv_vae
from diptych import data
from diptych.data import Dataset, Split
from diptych.exercises import Predictor, evaluate, fit, gradient_norm, minibatches, training_step
from diptych.panels import BACKENDS, NumpyPanel, TorchPanel, make_panel
from diptych.parity.report import normwise
from diptych.run import RunConfig
from diptych.tasks import make_task
from diptych.training import NonFiniteError, build, train
from model_specs.conv_vae import ConvVAEConfig
from model_specs.key import Key
from model_specs.mlp_vae import MLPVAEConfig
from numpy_ref import optim, random

KEY = Key(61)
MLP = MLPVAEConfig(13, 11, 3, init="torch", samples=2, beta=0.7)
CONV = ConvVAEConfig(
    latent_dim=3, base_channels=2, image_size=16, in_channels=2, recon_type="bce", beta=0.7
)
CONFIGS = {
    "mlp": MLP,
    "mlp, sigma, sum": dataclasses.replace(MLP, posterior="sigma", reduction="sum"),
    "conv, bce": CONV,
    "conv, mse": dataclasses.replace(CONV, recon_type="mse", out_activation="tanh"),
    "conv, gaussian, sum": dataclasses.replace(CONV, recon_type="gaussian", reduction="sum"),
}
each_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
each_backend = pytest.mark.parametrize("backend", BACKENDS)


def make(config, backend, optimizer="adam"):
    """A panel with the same float64 weights on either side, none of them 0."""
    if isinstance(config, MLPVAEConfig):
        panel = make_panel(
            "mlp_vae", config, backend, key=KEY, dtype="float64", optimizer=optimizer
        )
    elif backend == "numpy":
        model = numpy_ref.conv_vae.ConvVAE(config, KEY, "float64")
        panel = NumpyPanel(model, optimizer, 1e-3, 0.0)
    else:
        panel = TorchPanel(torch_impl.conv_vae.ConvVAE(config, KEY, "float64"), optimizer, 1e-3, 0)
    moved = {
        name: array + 0.1 * random.normal(KEY.fold_in(name), array.shape)
        for name, array in panel.weights().items()
        if "running" not in name and array.dtype == np.float64
    }
    panel.load_weights(panel.weights() | moved)
    return panel


def images(config, count):
    if isinstance(config, MLPVAEConfig):
        return random.uniform(KEY.fold_in("x"), (count, config.input_dim))
    shape = (count, config.in_channels, config.image_size, config.image_size)
    return random.uniform(KEY.fold_in("x"), shape)


def assert_close(ours, theirs, bound=1e-13):
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        assert normwise(np.asarray(array), np.asarray(theirs[name])) <= bound, name


# Batches


@pytest.mark.parametrize("count, sizes", [(10, [4, 4, 2]), (8, [4, 4]), (3, [3]), (1, [1])])
def test_each_example_is_in_one_batch(count, sizes):
    x = np.arange(2.0 * count).reshape(count, 2)
    batches = list(minibatches(x, 4, KEY, 0))
    assert [len(batch) for batch in batches] == sizes
    together = np.concatenate(batches)
    np.testing.assert_array_equal(together[np.argsort(together[:, 0])], x)


def test_the_order_is_addressed_by_epoch():
    x = np.arange(50)
    orders = [np.concatenate(list(minibatches(x, 7, KEY, epoch))) for epoch in (3, 0, 3)]
    np.testing.assert_array_equal(orders[0], orders[2])
    assert (orders[0] != orders[1]).any() and (orders[0] != x).any()
    other = np.concatenate(list(minibatches(x, 7, Key(62), 3)))
    assert (orders[0] != other).any()


def test_the_order_is_that_of_the_projects_runs():
    digits = data.load("digits")
    config = RunConfig("mlp_vae", vars(MLPVAEConfig(64)), "digits", batch_size=500, seed=5)
    task = make_task(config, digits)
    for i, batch in enumerate(minibatches(digits.train.x, 500, Key(5), epoch=2)):
        np.testing.assert_array_equal(batch, task.batch(2, i))


@pytest.mark.parametrize(
    "arguments, told",
    [
        ((np.zeros((0, 3)), 4, KEY, 0), r"x: got shape \(0, 3\)"),
        ((np.zeros((2, 3)), 0, KEY, 0), "batch_size: got 0"),
        ((np.zeros((2, 3)), 4, KEY, -1), "epoch: got -1"),
    ],
)
def test_bad_batches_are_refused_before_the_first(arguments, told):
    with pytest.raises(ValueError, match=told):
        minibatches(*arguments)


# A step


@each_config
def test_a_step_is_the_same_on_both_panels(config):
    x, found, ends = images(config, 5), [], []
    for backend in BACKENDS:
        panel = make(config, backend, "sgd")
        found.append(training_step(panel, x, KEY, 1e-2, clip=0.5))
        ends.append(panel.weights())
    assert_close(found[0].terms, found[1].terms)
    assert found[0].grad_norm == pytest.approx(found[1].grad_norm, rel=1e-13)
    assert_close(ends[0], ends[1])


@each_backend
@pytest.mark.parametrize("clip", [None, 0.3, 1e6])
def test_a_step_goes_as_far_as_lr_and_clip_say(backend, clip):
    """SGD moves by lr min(|g|, clip), and the norm told is that before clipping."""
    panel = make(MLP, backend, "sgd")
    before = panel.weights()
    step = training_step(panel, images(MLP, 5), KEY, 0.05, clip)
    moves = [after - before[name] for name, after in panel.weights().items()]
    moved = np.sqrt(sum((move**2).sum() for move in moves))
    assert step.grad_norm > 0.5
    assert moved == pytest.approx(0.05 * min(step.grad_norm, clip or np.inf), rel=1e-5)


def test_the_norm_is_torchs():
    panel = make(CONV, "torch")
    panel.gradients(images(CONV, 3), panel.model.draw_noise(KEY, 3))
    norm = gradient_norm(panel)
    witness = torch.nn.utils.clip_grad_norm_(panel.model.parameters(), 1e9).item()
    assert norm == pytest.approx(witness, rel=1e-13)


@each_backend
def test_a_step_is_in_training_mode_and_leaves_the_mode(backend):
    panel = make(CONV, backend)
    panel.model.eval()
    before = panel.weights()
    training_step(panel, images(CONV, 3), KEY, 1e-3)
    assert not panel.model.training
    after = panel.weights()["encoder.3.running_mean"]
    assert (after != before["encoder.3.running_mean"]).all()


@each_backend
def test_terms_are_per_example(backend):
    terms = [
        training_step(
            make(dataclasses.replace(MLP, reduction=r), backend), images(MLP, 5), KEY, 1e-3
        )
        for r in ("mean", "sum")
    ]
    assert_close(terms[0].terms, terms[1].terms)


@each_backend
def test_a_diverged_step_is_named_and_moves_nothing(backend):
    panel = make(dataclasses.replace(MLP, likelihood="gaussian"), backend)
    broken = panel.weights()
    broken["decoder_logits.bias"][...] = 1e200
    panel.load_weights(broken)
    with pytest.raises(NonFiniteError, match=r"^loss term total is inf, recon is inf$"):
        training_step(panel, images(MLP, 5), KEY, 1e-3)
    for name, array in panel.weights().items():
        np.testing.assert_array_equal(array, broken[name])
    with pytest.raises(NonFiniteError, match=r"^step 0: loss term total is inf"):
        fit(panel, images(MLP, 5), KEY, epochs=1, batch_size=2, lr=1e-3)


@each_backend
@pytest.mark.parametrize(
    "lr, clip, told", [(0, None, "lr: got 0"), (1e-3, 0, "clip: got 0"), (1e-3, -1.0, "clip: got")]
)
def test_bad_rates_are_refused(backend, lr, clip, told):
    with pytest.raises(ValueError, match=told):
        training_step(make(MLP, backend), images(MLP, 2), KEY, lr, clip)


# The loop


@pytest.fixture(scope="module")
def digits():
    """The first 70: two batches and an odd last one."""
    whole = data.load("digits")
    return dataclasses.replace(whole, train=Split(whole.train.x[:70], whole.train.y[:70]))


@each_backend
def test_fit_ends_in_the_weights_of_a_run(digits: Dataset, tmp_path, backend):
    """diptych.training.train, bit for bit, in another 40 lines."""
    model = vars(MLPVAEConfig(64, 9, 2, init="torch"))
    settings = {"epochs": 4, "batch_size": 32, "lr": 1e-2, "clip": 3.5, "schedule": "cosine"}
    run = RunConfig("mlp_vae", model, "digits", backend=backend, seed=7, log_every=1, **settings)
    outcome = train(run, digits, tmp_path)
    panel = build(run)
    history = fit(
        panel,
        digits.train.x,
        Key(7),
        epochs=4,
        batch_size=32,
        lr=1e-2,
        schedule=partial(optim.cosine_lr, epochs=4),
        clip=3.5,
    )
    weights, _ = arrays_of(outcome.folder)
    for name, array in panel.weights().items():
        np.testing.assert_array_equal(array, weights[name], err_msg=name)
    logged = [line for line in outcome.folder.metrics if line["kind"] == "step"]
    for name in ("total", "recon", "kl"):
        np.testing.assert_array_equal(history.terms[name], [line[name] for line in logged])
    assert history.epoch.tolist() == [e for e in range(4) for _ in range(3)]
    np.testing.assert_array_equal(history.lr, [run.lr_at(epoch) for epoch in history.epoch])
    assert (history.grad_norm > 3.5).any() and (history.grad_norm < 3.5).any(), "clip must matter"


def test_fit_is_the_same_on_both_panels():
    """In batches of 6, 6 and 4: normalised over 2 values, both are 1 off their mean whatever the
    weights, and Adam makes whole steps of the gradients' rounding."""
    for config in (MLP, CONV):
        panels = [make(config, backend) for backend in BACKENDS]
        found = [
            fit(panel, images(config, 16), KEY, epochs=9, batch_size=6, lr=2e-2, clip=1.0)
            for panel in panels
        ]
        assert_close(found[0].terms, found[1].terms, 1e-10)
        assert normwise(found[0].grad_norm, found[1].grad_norm) <= 1e-10
        assert_close(panels[0].weights(), panels[1].weights(), 1e-10)
        assert found[0].terms["total"][-3:].mean() < found[0].terms["total"][:3].mean()


def test_a_schedule_that_is_none_is_refused():
    with pytest.raises(ValueError, match="schedule: got 'cosine', takes a function"):
        fit(
            make(MLP, "numpy"), images(MLP, 3), KEY, epochs=1, batch_size=2, lr=1, schedule="cosine"
        )


# Evaluation


@each_config
def test_scores_are_the_same_on_both_panels_however_cut(config):
    x = images(config, 5)
    ours, theirs = (evaluate(make(config, backend), x, KEY).numbers() for backend in BACKENDS)
    assert_close(ours, theirs)
    assert_close(ours, evaluate(make(config, "numpy"), x, KEY, batch_size=2).numbers())
    assert ("neg_elbo" in ours) == (getattr(config, "recon_type", "") != "mse")


@each_config
def test_scores_are_what_torch_distributions_say(config):
    """-log p(x|z) + KL of every image, whatever beta, the reduction and the mean over pixels."""
    panel, x = make(config, "torch"), images(config, 4)
    model, there = panel.model.eval(), torch.from_numpy(x)
    with torch.no_grad():
        mu, spread = model.encode(there)
        sigma = hasattr(config, "posterior") and config.posterior == "sigma"
        q = td.Normal(mu, spread.abs() if sigma else (spread / 2).exp())
        eps = model.draw_noise(KEY, 4).eps.movedim(0, -2)  # (L, N, Z), or (N, Z)
        outputs = model.decode(q.loc + (spread if sigma else q.scale) * eps)
        if getattr(config, "recon_type", "bce") == "bce":
            p = td.Bernoulli(logits=outputs, validate_args=False)
            nll = torch.nn.functional.softplus(outputs) - there * outputs
            assert torch.allclose(
                p.probs.log() * there + (-outputs).sigmoid().log() * (1 - there), -nll
            )
        else:
            nll = -td.Normal(model.activate(outputs), config.gaussian_std).log_prob(there)
        nll = nll.flatten(eps.ndim - 1).sum(-1).mean()
        kl = td.kl_divergence(q, td.Normal(0.0, 1.0)).sum(1).mean()
        error = (model.reconstruct(there) - there).square().mean().sqrt()
    found = evaluate(panel, x, KEY)
    assert found.rmse == pytest.approx(error.item(), rel=1e-13)
    if found.neg_elbo is not None:  # the sigma form has log(sigma^2 + 1e-8)
        rel = 1e-6 if sigma else 1e-12
        assert found.neg_elbo == pytest.approx((nll + kl).item(), rel=rel)


@each_backend
def test_evaluation_leaves_the_panel_as_it_was(backend):
    panel = make(CONV, backend)
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
        evaluate(make(MLP, "numpy"), images(MLP, 1)[:0], KEY)


# Inference


@each_config
def test_predictions_are_the_same_on_both_panels(config):
    x = images(config, 4)
    ours, theirs = (Predictor(make(config, backend))(x, KEY)._asdict() for backend in BACKENDS)
    if ours["elbo"] is None:
        assert theirs.pop("elbo") is ours.pop("elbo")
    assert_close(ours, theirs)
    assert all(isinstance(array, np.ndarray) for array in theirs.values())


@each_config
def test_predictions_are_what_the_model_says(config):
    panel, x = make(config, "numpy"), images(config, 4)
    found = Predictor(panel)(x, KEY)
    with panel.evaluating():
        (mu, spread), _ = panel.model.encode(x)
        recon = panel.model.reconstruct(x)
    np.testing.assert_array_equal(found.mu, mu)
    np.testing.assert_array_equal(found.recon, recon)
    sigma = getattr(config, "posterior", "") == "sigma"
    np.testing.assert_allclose(found.std, np.abs(spread) if sigma else np.exp(spread / 2), 1e-15)
    assert not sigma or (spread < 0).any()
    scores = evaluate(panel, x, KEY)
    if found.elbo is None:
        assert scores.neg_elbo is None
    else:
        assert found.elbo.shape == (4,)
        assert found.elbo.mean() == pytest.approx(-scores.neg_elbo, rel=1e-13)


@each_backend
@each_config
def test_one_image_is_read_as_it_is_in_a_batch(config, backend):
    predict, x = Predictor(make(config, backend)), images(config, 3)
    single, batch = predict(x[0], KEY), predict(x, KEY)
    for name, one, several in zip(single._fields, single, batch, strict=True):
        if one is not None:
            assert np.shape(one) == several.shape[1:], name
            assert normwise(np.asarray(one), several[0]) <= 1e-13, name


@each_backend
@pytest.mark.parametrize(
    "config, change, told",
    [
        (MLP, lambda x: x[:, :7], r"x: got shape \(3, 7\), takes \(13,\) or \(N, 13\) with N >= 1"),
        (MLP, lambda x: x[:0], r"x: got shape \(0, 13\)"),
        (MLP, lambda x: x[0, 0], r"x: got shape \(\)"),
        (MLP, lambda x: (255 * x).astype(np.uint8), "x: got dtype uint8, takes floating"),
        (MLP, lambda x: x * np.nan, "x: got NaN or inf"),
        (MLP, lambda x: x - 2, "x: got values from"),
        (MLP, lambda x: "images", "x: got dtype <U6"),
        (CONV, lambda x: x[:, :1], r"x: got shape \(3, 1, 16, 16\), takes \(2, 16, 16\) or \(N, 2"),
        (CONV, lambda x: x.reshape(3, -1), r"x: got shape \(3, 512\)"),
    ],
)
def test_bad_images_are_refused(config, change, told, backend):
    predict = Predictor(make(config, backend))
    with pytest.raises(ValueError, match=told):
        predict(change(images(config, 3)))
    assert predict.panel.model.training
