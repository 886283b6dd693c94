"""The lossy experiment: claims that can fail, and the training and measures of its models."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from helpers.quick_experiments import (
    check_findings,
    fails_after,
    few_digits,
    over_seeds,
    quick_setting,
)
from matplotlib.figure import Figure
from rich.table import Table

from diptych import lab, pairs
from diptych.data import Split
from diptych.lab import Findings, lossy, windows
from diptych.lab.windows import WINDOWS, WindowedVLAE, visible_pixels
from diptych.runs import results, tables
from model_specs.autoregressive.windows import Window
from torch_impl.autoregressive.latents import TotalFreeBits

KL = dict(zip(WINDOWS, (6.0, 5.0, 3.0, 2.0, 1.0, 0.5), strict=True))
MOST, FALLS, BOUND, LESS, CHANCE = range(5)  # the claims in their order


def expected_results():
    """Return results for which every claim holds."""
    by_window = {
        name: {
            "pixels": 4,
            **{f"{split}_kl": over_seeds(kl) for split in ("train", "test")},
            **{f"{split}_recon": over_seeds(12.0) for split in ("train", "test")},
            "z": over_seeds(kl / 7),
            "x'": over_seeds(kl / 7),
        }
        for name, kl in KL.items()
    }
    identity = {"x": 0.95, "chance": 0.1, "standard_error": 0.02}
    return {"windows": by_window, "identity": identity, "tau": -0.9}


def set_value(window, field, value):
    def change(result):
        result["windows"][window][field] = over_seeds(value)

    return change


def one_seed_spends_more(result):
    result["windows"]["raster"]["test_kl"][1] = 6.5


def make_all_equal(result):
    """Change the results to those of a decoder that ignores its window."""
    for name in result["windows"]:
        result["windows"][name] = result["windows"]["none"]


@pytest.mark.parametrize(
    ("truth", "change"),
    [
        (MOST, make_all_equal),
        (MOST, one_seed_spends_more),
        (MOST, set_value("2 × 0", "test_kl", 6.1)),
        (FALLS, lambda result: result.update(tau=0.0)),
        (BOUND, set_value("3 × 1", "train_recon", 15.1)),
        (LESS, set_value("none", "x'", 0.96)),
        (CHANCE, set_value("none", "z", 0.17)),
        (CHANCE, set_value("none", "x'", 0.17)),
    ],
)
def test_each_claim_can_fail(truth, change):
    truths = lossy.truths(expected_results())
    assert all(truths.values())
    assert fails_after(change, lossy.truths, expected_results(), list(truths)[truth])


@pytest.fixture
def small_models(monkeypatch):
    """Make the quick experiment smaller: two epochs and models of few maps."""
    small = {"masked_layers": 2, "maps": 4, "hidden_dim": 8, "latent_dim": 4, "decoder_maps": 4}
    size = replace(lossy.QUICK, steps=6, samples=2, fields=small)
    monkeypatch.setattr(lossy, "QUICK", size)


def test_the_claims_fail_if_all_windows_are_the_same(small_models, monkeypatch, tmp_path):
    """Run the experiment on few grey images, then with a fault that trains without a window."""
    findings = lossy.run(quick_setting())
    check_findings("lossy", findings, tmp_path)
    assert str(findings.table.caption).startswith("grey values drawn as black and white; Chen")
    by_window = findings.results["windows"]
    assert [entry["pixels"] for entry in by_window.values()] == [0, 4, 11]
    for name in WINDOWS:
        monkeypatch.setitem(WINDOWS, name, WINDOWS["none"])
    faulty = lossy.run(quick_setting())
    kls = [entry["test_kl"] for entry in faulty.results["windows"].values()]
    assert kls[0] == kls[1] == kls[2]
    assert faulty.results["tau"] == 0 and list(faulty.truths.values())[:BOUND] == [False, False]


def test_images_without_labels_have_no_digit_classifiers(small_models):
    data = few_digits()
    splits = {n: Split(np.round(getattr(data, n).x)) for n in ("train", "valid", "test")}
    findings = lossy.run(replace(quick_setting(), data=replace(data, **splits)))
    assert str(findings.table.caption).startswith("Chen")
    assert findings.results["identity"] is None and len(findings.truths) == 3
    assert "digit" not in " ".join(str(column.header) for column in findings.table.columns)


def test_models_are_trained_with_free_bits_on_binary_images(small_models, monkeypatch):
    """The data are grey, so each pixel is drawn."""
    steps = []
    build = windows.build

    def build_recording(run):
        panel = build(run)
        forward_backward = panel.forward_backward

        def recorded(batch, noise, *share):
            steps.append((panel.model.training, type(panel.model.free_bits)))
            assert set(np.unique(batch)) <= {0, 1}
            return forward_backward(batch, noise, *share)

        panel.forward_backward = recorded
        return panel

    monkeypatch.setattr(windows, "build", build_recording)
    model = WindowedVLAE(quick_setting(), 0, dict(lossy.QUICK.fields), 2)
    assert steps == [(True, TotalFreeBits)] * 6
    assert model.config.free_nats == pytest.approx(0.64)


def test_the_number_of_visible_pixels_of_each_window():
    data = few_digits()
    count = {
        name: visible_pixels(pairs.get("vlae").for_data(data, f)) for name, f in WINDOWS.items()
    }
    assert list(count.values()) == [0, 1, 4, 12, 24, 69]
    nested = [Window.local(2, 0), Window.local(3, 1), Window.local(5, 2), Window.local(7, 3)]
    for smaller, larger in pairwise(nested):
        assert smaller.offsets < larger.offsets


def test_measures_are_those_of_the_panel_in_evaluation_mode(small_models):
    """KL and reconstruction are without free bits, x' is binary, and z is sampled."""
    model = WindowedVLAE(quick_setting(), 1, {**WINDOWS["3 × 1"], **lossy.QUICK.fields}, 2)
    measures = model.measure(4)
    x, key = model.images("test"), model.key
    mu, z = model.codes("test")
    assert mu.shape == z.shape == (40, 4) and (mu != z).all()
    lossy_x = model.reconstruct()
    assert lossy_x.shape == x.shape and set(np.unique(lossy_x)) <= {0, 1}
    kls = []
    with model.panel.evaluating():
        for i in range(windows.DRAWS):
            noise = model.panel.model.draw_noise(key.fold_in(i), len(x))
            loss = model.panel.terms(x, noise)
            assert loss["total"] == pytest.approx(loss["recon"] + loss["kl"], rel=1e-6)
            kls.append(loss["kl"])
    assert measures["test_kl"] == pytest.approx(np.mean(kls), rel=1e-5)
    assert measures["nll"] < measures["test_kl"] + measures["test_recon"] + 0.5


def test_samples_of_a_collapsed_posterior_reveal_no_digit(small_models, monkeypatch):
    """mu = x / 1000 is as informative as x, but the accuracy from z ~ N(mu, 1) is chance."""
    data = few_digits(train=600, held_out=200)
    setting = replace(quick_setting(), data=data)
    model = WindowedVLAE(setting, 0, dict(lossy.QUICK.fields), 2)
    classifiers = lossy.DigitClassifiers(data, model)

    def collapsed(split):
        mu = 1e-3 * model.images(split).reshape(-1, 64)
        eps = np.random.default_rng(len(mu)).normal(size=mu.shape)
        return mu, mu + eps

    monkeypatch.setattr(model, "codes", collapsed)
    result = classifiers.accuracies(model, model.images("test"))
    reference = classifiers.reference()
    assert result["mu"] > 0.8 and result["x'"] == reference["x"] > 0.8
    assert result["z"] < reference["chance"] + 4 * reference["standard_error"]


def test_the_default_data_are_binary_digits(monkeypatch, run, tmp_path):
    names = []

    def record_name(setting):
        names.append(setting.data.name)
        return Findings({}, Table(), Figure(), {"one is one": True})

    for name in ("lossy", "beta"):
        monkeypatch.setitem(lab.EXPERIMENTS, name, record_name)
    for arguments in (["lossy"], ["beta"], ["lossy", "--data", "digits"]):
        record = tmp_path / f"lab_{len(names)}_{arguments[0]}.json"
        assert run("lab", *arguments, "--out", tmp_path / "out", "--record", record)[0] == 0
    assert names == ["binary_digits16", "digits", "digits"]
    page = tables.results_page(results.read_all(tmp_path))
    assert "| 0_lossy | binary_digits16 |" in page


def test_images_in_colour_are_refused():
    with pytest.raises(ValueError, match="data: got digits, takes images of one channel"):
        lossy.run(replace(quick_setting(), data=replace(few_digits(), image_shape=(4, 4, 4))))
