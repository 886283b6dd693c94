"""The colour experiment: claims that can fail, and how its models are trained."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from helpers.quick_experiments import (
    check_findings,
    fails_after,
    few_colour_digits,
    few_digits,
    over_seeds,
)
from matplotlib.figure import Figure
from rich.table import Table

from diptych import lab, pairs
from diptych.data.colour_digits import COLOUR_NATS, TEXTURE_NATS
from diptych.lab import Findings, Setting, colour
from diptych.lab.pictures import mosaic
from diptych.lab.readers import FactorReaders
from diptych.lab.windows import visible_pixels
from torch_impl.autoregressive.latents import SoftFreeBits

SMALL = {"maps": 4, "hidden_dim": 8, "latent_dim": 4, "context_maps": 2, "components": 2}
SMALL |= {"latent": "gaussian", "decoder_maps": 4}
WINDOWED = {"none": (0, 9.0, 0.9)}
WINDOWED |= {"2 × 1": (3, 4.0, 0.1), "5 × 3": (17, 2.0, 0.0)}
WINDOWED |= {"2 × 1, grey": (3, 8.0, 0.9), "5 × 3, grey": (17, 5.0, 0.8)}
(
    MOST,
    FALLS_IN_COLOUR,
    FALLS_IN_GREY,
    GREY_SPENDS,
    COLOUR_FALLS,
    GREY_TELLS,
    SHOWN,
    TEXTURE,
    ENTROPY,
) = range(9)  # the claims in their order


def expected_results():
    """Return results for which every claim holds: (pixels, KL, colour in z) of each window."""
    models = {
        name: {
            "pixels": pixels,
            "context": "none" if not pixels else "grey" if "grey" in name else "all",
            **{f"{split}_kl": over_seeds(kl) for split in ("train", "test")},
            **{f"{split}_recon": over_seeds(800.0 - kl) for split in ("train", "test")},
            "nll": over_seeds(790.0),
            "z": {"colour": over_seeds(share), "texture": over_seeds(0.0)},
            "x'": {"colour": over_seeds(share)},
        }
        for name, (pixels, kl, share) in WINDOWED.items()
    }
    return {"models": models, "entropy": 730.0}


def set_value(window, source, field, value):
    """Return a change of one measure of a window, of the last seed alone."""

    def change(result):
        entry = result["models"][window]
        values = entry[field] if source is None else entry[source][field]
        values[-1] = value

    return change


def set_values(windows, source, field, value):
    """Return a change of one measure of several windows, for every seed."""

    def change(result):
        for window in windows:
            entry = result["models"][window]
            (entry if source is None else entry[source])[field] = over_seeds(value)

    return change


@pytest.mark.parametrize(
    ("truth", "change"),
    [
        (MOST, set_value("5 × 3, grey", None, "test_kl", 9.1)),
        (MOST, set_value("2 × 1", None, "test_kl", 9.1)),
        (FALLS_IN_COLOUR, set_values(["2 × 1", "5 × 3"], None, "test_kl", 10.0)),
        (FALLS_IN_GREY, set_values(["2 × 1, grey", "5 × 3, grey"], None, "test_kl", 10.0)),
        (GREY_SPENDS, set_value("5 × 3", None, "test_kl", 5.1)),
        (COLOUR_FALLS, set_values(["2 × 1", "5 × 3"], "z", "colour", 0.95)),
        (GREY_TELLS, set_value("2 × 1", "z", "colour", 0.95)),
        (SHOWN, set_value("2 × 1, grey", "x'", "colour", 0.1)),
        (TEXTURE, set_value("none", "z", "texture", 1.1)),
        (TEXTURE, set_value("5 × 3, grey", "z", "texture", 1.1)),
        (ENTROPY, set_value("5 × 3", None, "nll", 729.0)),
    ],
)
def test_each_claim_can_fail(truth, change):
    truths = colour.truths(expected_results())
    assert all(truths.values()) and len(truths) == 9
    assert fails_after(change, colour.truths, expected_results(), list(truths)[truth])


@pytest.fixture
def small_models(monkeypatch):
    """Make the quick experiment smaller: two epochs and models of few maps."""
    size = replace(colour.QUICK, steps=4, samples=2, readers=60, fields=SMALL)
    monkeypatch.setattr(colour, "QUICK", size)
    return size


def quick_setting():
    return Setting(few_colour_digits(), (0,), quick=True)


def test_the_claims_about_grey_fail_if_every_window_is_in_colour(
    small_models, monkeypatch, tmp_path
):
    """Run the experiment on few images, then with a fault that ignores the context's channels."""
    findings = colour.run(quick_setting())
    check_findings("colour", findings, tmp_path)
    models = findings.results["models"]
    kinds = {name: (entry["pixels"], entry["context"]) for name, entry in models.items()}
    assert kinds == {"none": (0, "none"), "4 × 2": (10, "all"), "4 × 2, grey": (10, "grey")}
    assert findings.results["entropy"] == pytest.approx(COLOUR_NATS + 64 * TEXTURE_NATS)
    assert findings.results["values"] == 192
    assert len(findings.figure.axes) == 4 + 4
    inside = [axis for axis in findings.figure.axes if axis.get_legend()]
    assert not inside, "a legend inside its axis covers curves"
    assert len(findings.figure.subfigs[0].legends) == 1

    original = colour.model_fields

    def in_colour(windows):
        fields = original(windows)
        return {
            name: values | ({"context_channels": "all"} if name != "none" else {})
            for name, values in fields.items()
        }

    monkeypatch.setattr(colour, "model_fields", in_colour)
    outcomes = {
        job.name: colour.train_and_measure(job)[0]
        for job in (
            colour.Job(few_colour_digits(), name, 0, {**SMALL, **values}, small_models)
            for name, values in in_colour(("2 × 1",)).items()
        )
    }
    assert outcomes["2 × 1"] == outcomes["2 × 1, grey"] != outcomes["none"]


def test_a_model_does_not_depend_on_the_process_that_trains_it(small_models):
    """A job and its measures are sent to and from a worker as bytes."""
    fields = {**SMALL, **colour.model_fields(("2 × 1",))["2 × 1, grey"]}
    job = colour.Job(few_colour_digits(), "2 × 1, grey", 1, fields, small_models)
    measured, images = colour.train_and_measure(pickle.loads(pickle.dumps(job)))
    assert pickle.loads(pickle.dumps(measured)) == measured == colour.train_and_measure(job)[0]
    assert images.shape == (colour.SHOWN, 3, 16, 16)
    assert np.abs(255 * images - np.rint(255 * images)).max() < 1e-3


def test_models_are_trained_with_one_soft_free_nat_on_images_in_colour(small_models, monkeypatch):
    """The paper's 7.7 nats would keep the KL of every window at the same value."""
    batches = []
    build = lab.windows.build

    def build_recording(run):
        panel = build(run)
        assert isinstance(panel.model.free_bits, SoftFreeBits) and not run.binarize
        assert panel.model.config.free_nats == pytest.approx(1)
        forward_backward = panel.forward_backward

        def recorded(batch, noise, *share):
            batches.append(batch)
            return forward_backward(batch, noise, *share)

        panel.forward_backward = recorded
        return panel

    monkeypatch.setattr(lab.windows, "build", build_recording)
    data = few_colour_digits()
    colour.train_and_measure(
        colour.Job(data, "none", 0, {**SMALL, "context": "none"}, small_models)
    )
    assert len(batches) == 6
    images = {image.tobytes() for image in data.train.x.reshape(-1, 3, 16, 16)}
    assert all(np.asarray(image).tobytes() in images for batch in batches for image in batch)


def test_the_texture_is_that_of_the_images_before_thinning(small_models, monkeypatch):
    """The quick form makes images of 16 x 16 from 32 x 32, whose texture has other draws."""
    textures = []
    original = FactorReaders.__init__

    def recorded(readers, data, *arguments):
        original(readers, data, *arguments)
        pixels = data.test.x.reshape(-1, *data.image_shape)[readers.test_rows]
        textures.append((pixels, readers.test.texture))

    monkeypatch.setattr(FactorReaders, "__init__", recorded)
    monkeypatch.setattr(colour, "model_fields", lambda windows: {"none": {"context": "none"}})
    monkeypatch.setattr(colour, "tau", lambda *_: 0.0)
    monkeypatch.setattr(colour, "draw", lambda *_: Figure())
    colour.run(Setting(few_colour_digits(size=32), (0,), quick=True))
    assert len(textures) == 2  # of the model and of the pixels
    for pixels, texture in textures:
        luma = 255 * np.tensordot([0.299, 0.587, 0.114], pixels, (0, 1))
        strokes = luma - 90 - texture
        assert strokes.min() > -0.01 and strokes.max() < 72.01


def test_the_number_of_visible_pixels_of_each_window():
    data = few_colour_digits()
    counts = {
        name: visible_pixels(pairs.get("vlae").for_data(data, {"context": "gated"} | fields))
        for name, fields in colour.model_fields(tuple(colour.WINDOWS)).items()
    }
    assert counts["none"] == 0
    for name, (width, rows) in colour.WINDOWS.items():
        assert counts[name] == counts[f"{name}, grey"] == width * rows + width // 2
    assert list(counts.values())[1:5] == [1, 3, 10, 31]


def test_a_mosaic_in_colour_keeps_the_channels():
    images = np.arange(36.0).reshape(3, 2, 2, 3) / 36
    picture = mosaic(images, 2)
    assert picture.shape == (5, 5, 3)
    np.testing.assert_array_equal(picture[3:, :2], images[2])
    assert (picture[2] == 1).all() and (picture[3:, 3:] == 1).all()


def test_the_default_data_are_coloured_digits(monkeypatch, run, tmp_path):
    names = []

    def record_name(setting):
        names.append((setting.data.name, setting.data.image_shape))
        return Findings({}, Table(), Figure(), {"one is one": True})

    monkeypatch.setitem(lab.EXPERIMENTS, "colour", record_name)
    for arguments in ([], ["--data", "colour_digits:32"]):
        assert run("lab", "colour", *arguments, "--out", tmp_path)[0] == 0
    assert names == [("colour_digits", (3, 16, 16)), ("colour_digits", (3, 32, 32))]


def test_other_images_are_refused():
    with pytest.raises(ValueError, match="data: got digits, takes colour_digits"):
        colour.run(Setting(few_digits(), (0,), quick=True))
