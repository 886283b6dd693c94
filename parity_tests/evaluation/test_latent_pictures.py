"""Pictures of a latent space by `diptych sample`: what they show, on both panels."""

import io
from dataclasses import replace

import numpy as np
import pytest
from helpers.call_either_panel import call
from rich.console import Console
from scipy.stats import norm

from diptych import data, figures, pairs
from diptych.data import Split
from diptych.evaluation import latents
from diptych.panels import BACKENDS
from diptych.parity.measures.rows import normwise
from diptych.runs.config import RunConfig
from diptych.tasks import Options, make_task
from diptych.training.train import build
from model_specs.common.key import Key
from numpy_ref.nn import random

DRAWN = ("latent_scatter", "latent_manifold", "latent_plane", "interpolations")
VLAE = {"maps": 2, "hidden_dim": 6, "latent_dim": 2, "decoder_maps": 3, "masked_layers": 2}
FLOW = {"flow_steps": 1, "flow_hidden_dim": 5, "flow_hidden_layers": 1, "flow_mean_only": False}
MODELS = {
    "mlp_vae, 2": ("mlp_vae", "digits", {"hidden_dim": 7, "latent_dim": 2}),
    "mlp_vae, 5": ("mlp_vae", "digits", {"hidden_dim": 7, "latent_dim": 5}),
    "autoencoder": ("mlp_vae", "digits", {"hidden_dim": 7, "posterior": "deterministic"}),
    "conv_vae": ("conv_vae", "digits", {"base_channels": 2, "latent_dim": 4}),
    "vlae": ("vlae", "binary_digits", VLAE | FLOW),
    "vlae, none": ("vlae", "binary_digits", VLAE | {"latent": "gaussian", "context": "none"}),
}


def settings(name):
    """The run config and the data of a model in MODELS, with 40 test images."""
    model, name, fields = MODELS[name]
    dataset = data.load(name)
    dataset = replace(dataset, test=Split(dataset.test.x[:40], dataset.test.y[:40]))
    config = vars(pairs.get(model).for_data(dataset, fields)).copy()
    return RunConfig(model, config, dataset.name, dtype="float64"), dataset


@pytest.fixture
def draw(monkeypatch, tmp_path):
    """draw(name, backend, **options) -> message, arguments of the figure, task, panel."""
    calls = []
    for name in DRAWN:
        original = getattr(figures, name)

        def spy(*arguments, original=original, name=name):
            calls.append((name, arguments))
            return original(*arguments)

        monkeypatch.setattr(figures, name, spy)

    def run(name, backend="torch", labels=True, **options):
        config, dataset = settings(name)
        if labels is not True:
            dataset = replace(dataset, test=Split(dataset.test.x, labels))
        task = make_task(config, dataset)
        panel = build(replace(config, backend=backend))
        weights = build(config).weights()
        for parameter, array in weights.items():  # zero biases would hide a missing one
            if array.ndim and "running" not in parameter:
                array[...] += 0.3 * random.normal(Key(3).fold_in(parameter), array.shape)
        panel.load_weights(weights)
        calls.clear()
        message = task.sample(panel, tmp_path, Options(Console(file=io.StringIO()), **options))
        ((figure, arguments),) = calls
        return message, figure, arguments, task, panel

    return run


def examples(task, panel, rows):
    """Test images as a batch of the model, float64."""
    return task.examples(panel, task.held_out("test")[rows].astype(np.float64))


def codes(task, panel, rows):
    """The means of q(z|x) of rows of the test data."""
    x = examples(task, panel, rows)
    with panel.evaluating():
        return call(panel.model, "encode", x)[0]


def reconstructions(task, panel, rows, *key):
    """Reconstructions of test images, one at a time, as images of the data set."""
    model, shape = panel.model, task.data.image_shape
    x = examples(task, panel, rows)
    with panel.evaluating():
        recon = [call(model, "reconstruct", x[n : n + 1], *key)[0] for n in range(len(x))]
    return pairs.of_model(model).to_images(model.config, np.array(recon), shape)[:, 0]


@pytest.mark.parametrize("option", ["latents", "manifold", "interpolate"])
@pytest.mark.parametrize("name", MODELS)
def test_both_panels_draw_the_same_numbers(draw, name, option):
    count = {"latents": 30, "manifold": 9, "interpolate": 3}[option]
    options = {option: True, "count": count}
    (message, figure, left, *_), (again, same, right, *_) = (
        draw(name, backend, **options) for backend in BACKENDS
    )
    assert (message, figure) == (again, same)
    arrays = [
        (a, b) for a, b in zip(left, right, strict=True) if isinstance(a, np.ndarray) and a.size
    ]
    assert arrays
    for a, b in arrays:
        assert normwise(a, b) <= 1e-13
    assert [a for a in left if isinstance(a, tuple)] == [b for b in right if isinstance(b, tuple)]


def test_latents_of_two_dimensions_are_the_means_with_their_labels(draw):
    message, figure, (mu, labels, names, heading), task, panel = draw("mlp_vae, 2", latents=True)
    assert "codes of 40 images in" in message and message.endswith("latents.png")
    assert figure == "latent_scatter" and names == ("$z_1$", "$z_2$") and "40 test" in heading
    expected, place = codes(task, panel, np.arange(40)), {}
    for code, label in zip(expected, task.data.test.y, strict=True):
        place[tuple(code.round(9))] = label
    assert {tuple(c.round(9)): label for c, label in zip(mu, labels, strict=True)} == place


def test_latents_of_more_dimensions_are_their_principal_components(draw):
    _, _, (scores, labels, names, heading), task, panel = draw("mlp_vae, 5", latents=True, count=25)
    rows = random.permutation(Key(0).fold_in("subset"), 40)[:25]
    np.testing.assert_array_equal(labels, task.data.test.y[rows])
    mu = codes(task, panel, rows)
    variances, axes = np.linalg.eigh(np.cov(mu.T))
    expected = (mu - mu.mean(0)) @ axes[:, [-1, -2]]
    np.testing.assert_allclose(np.abs(scores), np.abs(expected), atol=1e-10)
    shares = 100 * variances / variances.sum()
    assert f"1st principal component,\n{shares[-1]:.1f} % of" in names[0]
    assert f"2nd principal component,\n{shares[-2]:.1f} % of" in names[1]
    assert f"{shares[-2:].sum():.1f} % of their variance in 5 dimensions" in heading


def test_the_manifold_of_two_dimensions_is_decoded_at_quantiles(draw):
    _, figure, (images, quantiles, names), *_, panel = draw("mlp_vae, 2", manifold=True, count=16)
    assert figure == "latent_manifold" and names == ("$z_1$", "$z_2$")
    assert images.shape == (4, 4, 8, 8)
    u = np.linspace(*quantiles, 4)
    model = panel.model
    for row, column in np.ndindex(4, 4):
        z = norm.ppf([[u[column], u[3 - row]]])
        mean = call(model.likelihood, "mean", call(model, "decode", z))
        assert normwise(images[row, column].ravel(), mean[0]) <= 1e-13


def test_the_manifold_of_a_flow_is_decoded_at_its_inverse(draw):
    _, figure, (images, quantiles, names), *_, panel = draw(
        "vlae", manifold=True, count=9, mean=True
    )
    assert figure == "latent_manifold" and "z = f^{-1}" in names[0]
    z = norm.ppf(np.linspace(*quantiles, 3))
    eps = np.array([[z[2], z[2]], [z[0], z[0]]])  # upper right, lower left
    code = call(panel.model.latent.flow, "inverse", eps)
    u = random.uniform(Key(0).fold_in("x"), (1, 1, 8, 8))
    for image, c in ((images[0, 2], code[:1]), (images[2, 0], code[1:])):
        x = np.zeros((1, 1, 8, 8))
        p = np.zeros_like(x)
        for i, j in np.ndindex(8, 8):
            logits = call(panel.model, "decode", c, x)
            p[..., i, j] = 1 / (1 + np.exp(-logits[..., i, j]))
            x[..., i, j] = u[..., i, j] < p[..., i, j]
        assert normwise(image, p[0, 0]) <= 1e-13


@pytest.mark.parametrize("name", ["mlp_vae, 5", "autoencoder", "conv_vae"])
def test_the_manifold_without_quantiles_is_the_plane_of_the_means(draw, name):
    _, figure, (images, reach, names), task, panel = draw(name, manifold=True, count=9)
    assert figure == "latent_plane" and reach == 2 and "2nd principal" in names[1]
    mu = codes(task, panel, np.arange(40))
    components = latents.principal_components(mu)
    one, two = components.deviations[:, None] * components.axes
    model = panel.model
    for (row, column), code in {
        (1, 1): mu.mean(0),
        (0, 0): mu.mean(0) - 2 * one + 2 * two,
        (0, 2): mu.mean(0) + 2 * one + 2 * two,
        (2, 1): mu.mean(0) - 2 * two,
    }.items():
        with panel.evaluating():
            output = call(model, "decode", code[None])
            mean = call(model if name == "conv_vae" else model.likelihood, "mean", output)
        pair, shape = pairs.of_model(model), task.data.image_shape
        expected = pair.to_images(model.config, mean, shape)[0, 0]
        assert normwise(images[row, column], expected) <= 1e-13


@pytest.mark.parametrize("name", MODELS)
def test_interpolations_end_in_the_reconstructions_of_their_originals(draw, name):
    message, _, (originals, decoded), task, panel = draw(
        name, interpolate=True, count=3, steps=5, seed=4
    )
    assert message.endswith("interpolations.png") and message.startswith("3 interpolations in")
    rows = random.permutation(Key(4).fold_in("subset"), 40)[:6]
    x = task.held_out("test")[rows].reshape(3, 2, 8, 8)
    np.testing.assert_allclose(originals, x, atol=1e-15)
    key = [Key(4)] if "vlae" in name and "none" not in name else []
    if name == "vlae, none":  # all pixels at once: the mean
        with panel.evaluating():
            x = examples(task, panel, rows)
            expected = call(panel.model, "reconstruct", x, mean=True)[:, 0]
    else:
        expected = reconstructions(task, panel, rows, *key)
    expected = expected.reshape(3, 2, 8, 8)
    assert decoded.shape == (3, 5, 8, 8)
    for row in range(3):
        assert normwise(decoded[row, 0], expected[row, 0]) <= 1e-13
        assert normwise(decoded[row, -1], expected[row, 1]) <= 1e-13


def test_the_seed_chooses_pixels_that_are_drawn_in_turn(draw):
    pictures = [
        draw("vlae", manifold=True, count=9, **options)[2][0]
        for options in ({}, {"mean": False}, {"seed": 1}, {"mean": True})
    ]
    drawn, same, other, means = pictures
    np.testing.assert_array_equal(drawn, same)
    assert set(np.unique(drawn)) == {0, 1} == set(np.unique(other)) and (drawn != other).any()
    assert len(np.unique(means)) > 9


def test_there_are_at_most_as_many_interpolations_as_pairs_of_test_images(draw):
    message, _, (originals, _), *_ = draw("mlp_vae, 2", interpolate=True, count=100)
    assert message.startswith("20 interpolations") and len(originals) == 20
    assert len(np.unique(originals.reshape(40, -1), axis=0)) > 35  # no image twice


def test_more_labels_than_colours_are_said_in_the_heading(draw):
    _, _, (_, labels, _, heading), *_ = draw("mlp_vae, 2", labels=np.arange(40), latents=True)
    assert labels is None and "40 labels, too many for colours" in heading
    _, _, (_, labels, _, heading), *_ = draw("mlp_vae, 2", labels=None, latents=True)
    assert labels is None and "labels" not in heading


def test_latents_of_a_run_are_drawn_from_the_command_line(run, tmp_path):
    out = tmp_path / "run"
    train = ("train", "vlae", "--data", "binary_digits", "--epochs", 1, "--batch-size", 600)
    sets = [o for n, v in (VLAE | FLOW).items() for o in ("--set", f"{n}={v}")]
    assert run(*train, *sets, "--out", out)[0] == 0
    for option, name in (("--latents", "latents"), ("--manifold", "manifold")):
        status, message, _ = run("sample", out, option, "--count", 4)
        assert status == 0 and f"{name}.png" in message and (out / f"{name}.png").exists()
    target = tmp_path / "lines.png"
    line = ("--interpolate", "--count", 2, "--steps", 3, "--mean", "--out", target)
    status, message, _ = run("sample", out, *line)
    assert status == 0 and "pixels of 6 images" in message and target.exists()
    status, _, message = run("sample", out, "--latents", "--manifold")
    assert status == 1 and "manifold: got True with latents, takes one of the two" in message


@pytest.mark.parametrize(
    ("fields", "option", "message"),
    [
        ({"latent": "none"}, "latents", "latents: got True with a model without a latent"),
        ({"latent": "none"}, "interpolate", "interpolate: got True with a model without a latent"),
        ({"latent_dim": 1}, "manifold", "manifold: got True with a latent of 1 dimension, takes 2"),
        ({"latent_dim": 1}, "latents", "latents: got True with a latent of 1 dimension, takes 2"),
    ],
)
def test_a_latent_that_cannot_be_drawn_is_one_error(fields, option, message, tmp_path):
    dataset = data.load("binary_digits")
    fields = {"decoder_maps": 3, "masked_layers": 2} | fields
    config = vars(pairs.get("vlae").for_data(dataset, fields)).copy()
    run = RunConfig("vlae", config, dataset.name, dtype="float64")
    options = Options(Console(quiet=True), **{option: True})
    with pytest.raises(ValueError, match="^" + message) as error:
        make_task(run, dataset).sample(build(run), tmp_path, options)
    assert "\n" not in str(error.value) and not [*tmp_path.iterdir()]
