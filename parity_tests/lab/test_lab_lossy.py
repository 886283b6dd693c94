"""The information preference: its truths can fail, and a window that changes nothing is told."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from helpers.lab_runs import broken, check_findings, few, scale, tiny
from matplotlib.figure import Figure
from rich.table import Table

from diptych import lab, pairs
from diptych.data import Split
from diptych.lab import Findings, lossy, windows
from diptych.lab.windows import WINDOWS, Windowed, pixels
from diptych.runs import results
from model_specs.autoregressive.windows import Window
from torch_impl.autoregressive.latents import TotalFreeBits

KL = dict(zip(WINDOWS, (6.0, 5.0, 3.0, 2.0, 1.0, 0.5), strict=True))
MOST, FALLS, BOUND, LESS, CHANCE = range(5)


def right():
    """Results as they should come out."""
    result = {
        name: {
            "pixels": 4,
            **{f"{split}_kl": scale(kl) for split in ("train", "test")},
            **{f"{split}_recon": scale(12.0) for split in ("train", "test")},
            "z": scale(kl / 7),
            "x'": scale(kl / 7),
        }
        for name, kl in KL.items()
    }
    identity = {"x": 0.95, "chance": 0.1, "standard_error": 0.02}
    return {"windows": result, "identity": identity, "tau": -0.9}


def put(window, what, value):
    def change(result):
        result["windows"][window][what] = scale(value)

    return change


def one_seed_spends_more(result):
    result["windows"]["raster"]["test_kl"][1] = 6.5


def the_same(result):
    """A decoder that ignores its window."""
    for name in result["windows"]:
        result["windows"][name] = result["windows"]["none"]


@pytest.mark.parametrize(
    ("truth", "change"),
    [
        (MOST, the_same),
        (MOST, one_seed_spends_more),
        (MOST, put("2 × 0", "test_kl", 6.1)),
        (FALLS, lambda result: result.update(tau=0.0)),
        (BOUND, put("3 × 1", "train_recon", 15.1)),
        (LESS, put("none", "x'", 0.96)),
        (CHANCE, put("none", "z", 0.17)),
        (CHANCE, put("none", "x'", 0.17)),
    ],
)
def test_each_truth_can_fail(truth, change):
    message = lossy.truths(right())
    assert all(message.values())
    assert broken(lossy.truths, right(), list(message)[truth], change)


@pytest.fixture
def short(monkeypatch):
    """Two epochs in the place of eight, each model by itself small."""
    small = {"masked_layers": 2, "maps": 4, "hidden_dim": 8, "latent_dim": 4, "decoder_maps": 4}
    size = replace(lossy.QUICK, steps=6, samples=2, fields=small)
    monkeypatch.setattr(lossy, "QUICK", size)


def test_a_window_that_is_ignored_is_told(short, monkeypatch, tmp_path):
    """The whole experiment, on few grey images; and again with a plant that trains all alike."""
    findings = lossy.run(tiny())
    check_findings("lossy", findings, tmp_path)
    assert str(findings.table.caption).startswith("grey values drawn as black and white; Chen")
    result = findings.results["windows"]
    assert [entry["pixels"] for entry in result.values()] == [0, 4, 11]
    for name in WINDOWS:
        monkeypatch.setitem(WINDOWS, name, WINDOWS["none"])
    alike = lossy.run(tiny())
    kls = [entry["test_kl"] for entry in alike.results["windows"].values()]
    assert kls[0] == kls[1] == kls[2]
    assert alike.results["tau"] == 0 and list(alike.truths.values())[:BOUND] == [False, False]


def test_images_without_labels_have_nats_and_no_identity(short):
    data = few()
    splits = {n: Split(np.round(getattr(data, n).x)) for n in ("train", "valid", "test")}
    findings = lossy.run(replace(tiny(), data=replace(data, **splits)))
    assert str(findings.table.caption).startswith("Chen")
    assert findings.results["identity"] is None and len(findings.truths) == 3
    assert "digit" not in " ".join(str(column.header) for column in findings.table.columns)


def test_windows_are_trained_by_the_recipe_on_black_and_white(short, monkeypatch):
    """Grey values too, of which each pixel is drawn."""
    seen = []
    build = windows.build

    def watched(run):
        panel = build(run)
        forward_backward = panel.forward_backward

        def kept(batch, noise, *share):
            seen.append((panel.model.training, type(panel.model.free_bits)))
            assert set(np.unique(batch)) <= {0, 1}
            return forward_backward(batch, noise, *share)

        panel.forward_backward = kept
        return panel

    monkeypatch.setattr(windows, "build", watched)
    model = Windowed(tiny(), 0, dict(lossy.QUICK.fields), 2)
    assert seen == [(True, TotalFreeBits)] * 6
    assert model.config.free_nats == pytest.approx(0.64)


def test_pixels_are_those_of_the_windows():
    data = few()
    count = {name: pixels(pairs.get("vlae").for_data(data, f)) for name, f in WINDOWS.items()}
    assert list(count.values()) == [0, 1, 4, 12, 24, 69]
    held = [Window.local(2, 0), Window.local(3, 1), Window.local(5, 2), Window.local(7, 3)]
    for smaller, larger in pairwise(held):
        assert smaller.offsets < larger.offsets


def test_what_is_measured_is_what_the_panel_gives(short):
    """KL and reconstruction of evaluation mode, without free bits; x' binary; codes as drawn."""
    model = Windowed(tiny(), 1, {**WINDOWS["3 × 1"], **lossy.QUICK.fields}, 2)
    message = model.measure(4)
    x, key = model.images("test"), model.key
    mu, z = model.codes("test")
    assert mu.shape == z.shape == (40, 4) and (mu != z).all()
    lossy_x = model.reconstructed()
    assert lossy_x.shape == x.shape and set(np.unique(lossy_x)) <= {0, 1}
    kls = []
    with model.panel.evaluating():
        for i in range(windows.DRAWS):
            noise = model.panel.model.draw_noise(key.fold_in(i), len(x))
            loss = model.panel.terms(x, noise)
            assert loss["total"] == pytest.approx(loss["recon"] + loss["kl"], rel=1e-6)
            kls.append(loss["kl"])
    assert message["test_kl"] == pytest.approx(np.mean(kls), rel=1e-5)
    assert message["nll"] < message["test_kl"] + message["test_recon"] + 0.5


def test_drawn_codes_of_a_collapsed_posterior_tell_nothing(short, monkeypatch):
    """mu of 1e-3 times a pixel tells what x tells; z ~ N(mu, 1) is chance."""
    data = few(train=600, held_out=200)
    setting = replace(tiny(), data=data)
    model = Windowed(setting, 0, dict(lossy.QUICK.fields), 2)
    tell = lossy.Tell(data, model)

    def collapsed(split):
        mu = 1e-3 * model.images(split).reshape(-1, 64)
        eps = np.random.default_rng(len(mu)).normal(size=mu.shape)
        return mu, mu + eps

    monkeypatch.setattr(model, "codes", collapsed)
    result, scale = tell.survives(model, model.images("test")), tell.scale()
    assert result["mu"] > 0.8 and result["x'"] == scale["x"] > 0.8
    assert result["z"] < scale["chance"] + 4 * scale["standard_error"]


def test_black_and_white_digits_are_the_default(monkeypatch, run, tmp_path):
    seen = []

    def kept(setting):
        seen.append(setting.data.name)
        return Findings({}, Table(), Figure(), {"one is one": True})

    for name in ("lossy", "beta"):
        monkeypatch.setitem(lab.EXPERIMENTS, name, kept)
    for arguments in (["lossy"], ["beta"], ["lossy", "--data", "digits"]):
        record = tmp_path / f"lab_{len(seen)}_{arguments[0]}.json"
        assert run("lab", *arguments, "--out", tmp_path / "out", "--record", record)[0] == 0
    assert seen == ["binary_digits16", "digits", "digits"]
    assert "| 0_lossy, binary_digits16 | one is one ✓ |" in results.render(tmp_path)


def test_colours_are_refused():
    with pytest.raises(ValueError, match="data: got digits, takes images of one channel"):
        lossy.run(replace(tiny(), data=replace(few(), image_shape=(4, 4, 4))))
