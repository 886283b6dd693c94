"""An option of evaluate or sample that has no effect is refused, and all others have one."""

import dataclasses
import io

import pytest
from helpers.short_runs import short_run
from helpers.small_text_runs import make_corpus, make_panel, make_run
from rich.console import Console

from diptych import data
from diptych.data import Split
from diptych.tasks import Options, make_task

OTHER_VALUES = {
    "split": "valid",
    "samples": 3,
    "examples": 5,
    "memory_mb": 0.2,
    "seed": 1,
    "count": 4,
    "mean": False,
    "reconstruct": True,
    "latents": True,
    "manifold": True,
    "interpolate": True,
    "steps": 5,
    "prompt": "red",
    "temperature": 0.5,
    "out": "other",
    "resume": True,
}
DIGITS, CORPUS = data.load("digits"), make_corpus(valid=20, test=30)
FEW = Split(DIGITS.test.x[:200], DIGITS.test.y[:200])
TASK = data.load("adding:6")
NOISY = {"scheme": "per_step", "rate": 0.3}
KINDS = {
    "images": (short_run(), dataclasses.replace(DIGITS, test=FEW)),
    "text": (make_run("lstm", CORPUS), CORPUS),
    "text, with dropout": (make_run("lstm", CORPUS, NOISY), CORPUS),
    "memory task": (make_run("rnn", TASK, {"seq_len": 6}), TASK),
}
MANIFOLD, LATENTS = {"manifold": True}, {"latents": True}
QUICK = {"images": {"samples": 2}}
"""Options of the evaluation that is compared."""


def evaluation(kind, folder, **options):
    """The numbers, the lines that the user sees, and the sizes of the batches."""
    config, dataset = KINDS[kind]
    text, panel, sizes = io.StringIO(), make_panel(config), []
    terms = panel.terms
    panel.terms = lambda x, noise: sizes.append(len(x)) or terms(x, noise)
    console = Console(file=text, width=100)
    folder.mkdir()
    settings = Options(console, folder=folder, **QUICK.get(kind, {}) | options)
    result = make_task(config, dataset).assess([panel], settings)
    return result.metrics, result.lines, result.title, "no partial" in text.getvalue(), sizes


def drawing(kind, folder, **options):
    """The message or the text, and the files that are written."""
    config, dataset = KINDS[kind]
    folder.mkdir()
    if "out" in options:
        options["out"] = folder / f"other.{'png' if kind == 'images' else 'txt'}"
    settings = Options(Console(quiet=True), **{"count": 9} | options)
    message = make_task(config, dataset).sample(make_panel(config), folder, settings)
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    return message.replace(str(folder), ""), files


def without_effect(compute, kind, path):
    """The options that change nothing and are accepted."""
    before, result = compute(kind, path / "before"), []
    assert before == compute(kind, path / "again")
    for name, value in OTHER_VALUES.items():
        try:
            after = compute(kind, path / name, **{name: value})
        except ValueError as error:
            assert name in str(error)
            continue
        if after == before:
            result.append(name)
    return result


def test_every_option_has_another_value_here():
    names = {field.name for field in dataclasses.fields(Options)}
    assert names - {"console", "folder", "per_image"} == OTHER_VALUES.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_every_option_of_evaluate_changes_the_evaluation_or_is_refused(kind, tmp_path):
    assert without_effect(evaluation, kind, tmp_path) == []


@pytest.mark.parametrize("picture", ["reconstruct", "latents", "manifold", "interpolate"])
def test_every_option_of_a_picture_changes_it_or_is_refused(picture, tmp_path):
    def draw(kind, folder, **options):
        return drawing(kind, folder, **{picture: True} | options)

    unchanged = without_effect(draw, "images", tmp_path)
    assert unchanged == [picture]  # given already


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "memory task"])
def test_every_option_of_sample_changes_the_samples_or_is_refused(kind, tmp_path):
    assert without_effect(drawing, kind, tmp_path) == []


@pytest.mark.parametrize(
    ("compute", "kind", "options", "message"),
    [
        (evaluation, "text", {"samples": 5}, "samples: got 5 with scheme 'none', takes a model"),
        (evaluation, "text", {"memory_mb": 9}, "memory_mb: got 9 with a run on toy, takes one on"),
        (evaluation, "text", {"resume": True}, "resume: got True with a run on toy, takes one on"),
        (evaluation, "text", {"per_image": "a.csv"}, "per_image: got 'a.csv' with a run on toy"),
        (evaluation, "memory task", {"samples": 5}, "samples: got 5 with a run on adding:6, takes"),
        (evaluation, "images", {"prompt": "red"}, "prompt: got 'red' with a run on digits, takes"),
        (drawing, "images", {"temperature": 0.5}, "temperature: got 0.5 with a run on digits"),
        (drawing, "text", {"steps": 4}, "steps: got 4 with a run on toy, takes one on images"),
        (drawing, "text", {"latents": True}, "latents: got True with a run on toy, takes one on"),
        (drawing, "images", {"steps": 4}, "steps: got 4 with samples, takes interpolate"),
        (drawing, "images", MANIFOLD | {"steps": 4}, "steps: got 4 with manifold, takes"),
        (drawing, "images", MANIFOLD | {"mean": False}, "mean: got False with manifold, takes"),
        (drawing, "images", MANIFOLD | {"seed": 2}, "seed: got 2 with manifold, of which nothing"),
        (drawing, "images", MANIFOLD | {"count": 8}, "count: got 8 with manifold, takes a square"),
        (drawing, "images", MANIFOLD | {"latents": True}, "manifold: got True with latents, takes"),
        (drawing, "images", LATENTS | {"mean": True}, "mean: got True with latents, takes samples"),
        (drawing, "images", LATENTS | {"seed": 2, "count": 200}, "seed: got 2 with latents, of"),
        (drawing, "images", LATENTS | {"count": 1}, "count: got 1 with latents, takes 2 or more"),
        (drawing, "images", LATENTS | {"reconstruct": True}, "latents: got True with reconstruct"),
        (drawing, "images", {"interpolate": True, "steps": 1}, "steps: got 1, takes 2 or more"),
        (drawing, "images", {"interpolate": True, "steps": 0}, "steps: got 0, takes an int >= 1"),
        (drawing, "text", {"mean": True}, "mean: got True with a run on toy, takes one on images"),
        (drawing, "text", {"split": "valid"}, "split: got 'valid' with a run on toy, takes 'test'"),
        (drawing, "text", {"temperature": 0, "seed": 3}, "seed: got 3 with temperature 0, which"),
    ],
)
def test_the_error_names_the_option_and_what_prevents_its_effect(
    compute, kind, options, message, tmp_path
):
    with pytest.raises(ValueError) as error:
        compute(kind, tmp_path / "run", **options)
    assert str(error.value).startswith(message)
