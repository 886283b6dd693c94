"""A run belongs to its data: to each split, to the labels and to the vocabulary of a text."""

import dataclasses
import hashlib
import json
import re

import numpy as np
import pytest
from helpers.short_runs import short_run
from helpers.small_text_runs import make_corpus, write_text

from diptych import data
from diptych.data import Dataset, Split
from diptych.runs.data_identity import (
    absolute_name,
    data_digest,
    data_digests,
    differing_parts,
    is_same_source,
)
from diptych.training.train import train

SMALL = ("--set", "hidden_dim=4", "--set", "seq_len=5", "--epochs", 1, "--batch-size", 4)
X = np.linspace(0, 1, 8, dtype=np.float32).reshape(2, 4)
Y = np.array([3, 1])


def images(**changes):
    parts = {name: Split(X * scale, Y) for name, scale in (("train", 1), ("valid", 0.5))}
    parts |= {"test": Split(X * np.float32(0.25), Y), "image_shape": (1, 2, 2)}
    return Dataset("four pixels", **parts | changes, summary="two images")


def changed(split, pixel=0.125):
    x = split.x.copy()
    x[1, 2] = pixel
    return Split(x, split.y)


@pytest.mark.parametrize("name", ["train", "valid", "test"])
def test_the_digest_of_each_split_depends_on_its_images_and_its_labels(name):
    settings = {"data_digests": data_digests(images())}
    assert differing_parts(settings, images()) == []
    split = getattr(images(), name)
    assert differing_parts(settings, images(**{name: changed(split)})) == [f"{name} images"]
    other = Split(split.x, Y[::-1].copy())
    assert differing_parts(settings, images(**{name: other})) == [f"{name} labels"]
    without = Split(split.x)
    assert differing_parts(settings, images(**{name: without})) == [f"{name} labels"]


def test_the_digest_of_images_depends_on_their_shape_and_on_how_they_are_drawn():
    settings = {"data_digests": data_digests(images())}
    assert differing_parts(settings, images(image_shape=(1, 4, 1))) == ["image shape"]
    assert differing_parts(settings, images(dynamic=True)) == ["image shape"]


@pytest.mark.parametrize("name", ["train", "valid", "test"])
def test_the_digest_of_a_text_depends_on_each_split(name):
    corpus = make_corpus()
    ids = getattr(corpus, name).copy()
    ids[-1] = (ids[-1] + 1) % 7
    other = dataclasses.replace(corpus, **{name: ids})
    parts = differing_parts({"data_digests": data_digests(corpus)}, other)
    assert parts == [f"{name} tokens"]


def test_the_digest_of_a_text_depends_on_its_vocabulary():
    corpus = make_corpus()
    tokens = ("<eos>", "rich", *corpus.vocabulary.tokens[2:])
    vocabulary = dataclasses.replace(corpus.vocabulary, tokens=tokens)
    other = dataclasses.replace(corpus, vocabulary=vocabulary)
    assert differing_parts({"data_digests": data_digests(corpus)}, other) == ["vocabulary"]


def test_the_digest_of_a_memory_task_depends_on_its_numbers():
    digests = [data_digests(data.load(name)) for name in ("copy:5:2", "copy:5:3", "adding:5")]
    assert len({digest["task"] for digest in digests}) == 3


def test_the_digest_of_version_0_1_0_is_still_checked():
    """It is that of the shapes and bytes of train and valid, and knows nothing of test."""
    state = hashlib.blake2b(digest_size=16)
    for x in (X, X * np.float32(0.5)):
        state.update(b"(2, 4)" + x.tobytes())
    settings = {"data_digest": state.hexdigest()}
    assert data_digest(images()) == state.hexdigest()
    assert differing_parts(settings, images(test=changed(images().test))) == []
    other = images(valid=changed(images().valid))
    assert differing_parts(settings, other) == ["train images", "valid images"]
    assert differing_parts({}, images()) == ["train images", "valid images"]
    damaged = settings | {"data_digests": None}
    assert differing_parts(damaged, images()) == ["train images", "valid images"]


def test_a_run_is_not_resumed_on_another_test_set(tmp_path):
    digits = data.load("digits")
    train(short_run(epochs=1), digits, tmp_path / "run")
    other = dataclasses.replace(digits, test=changed(digits.test))
    with pytest.raises(ValueError, match="cannot resume on other data, which differ in the test i"):
        train(short_run(epochs=2), other, tmp_path / "run", resume=True)


WORDS = {"green": "good", "red": "rich", "blue": "bad", "yellow": "zero"}


@pytest.mark.parametrize("command", ["evaluate", "train lstm --resume --out"])
def test_a_text_whose_words_are_all_replaced_is_other_data(run, tmp_path, command):
    """The token ids are the same, but each of them would mean another word."""
    text, folder = "red green blue green red yellow\n" * 80, tmp_path / "run"
    file = tmp_path / "r.txt"
    file.write_text(text)
    arguments = ("--data", f"text:{file}", *SMALL)
    assert run("train", "lstm", *arguments, "--out", folder)[0] == 0
    drawn = run("sample", folder)[1]
    file.write_text(re.sub(r"\w+", lambda word: WORDS[word[0]], text))
    status, _, err = run(*command.split(), folder)
    assert status == 1 and "other data" in err and "differ in the vocabulary" in err
    status, out, _ = run("sample", folder, "--prompt", "red")
    assert status == 0 and out.startswith("red ")  # the words are those of the run
    assert run("sample", folder)[1] == drawn


def test_a_text_whose_last_lines_changed_is_other_data(run, tmp_path):
    file, folder = write_text(tmp_path / "a.txt"), tmp_path / "run"
    assert run("train", "lstm", "--data", f"text:{file}", *SMALL, "--out", folder)[0] == 0
    lines = file.read_text().splitlines()
    lines[-1] = " ".join(reversed(lines[-1].split()))
    file.write_text("\n".join(lines) + "\n")
    status, _, err = run("evaluate", folder)
    assert status == 1 and "which differ in the test tokens" in err


def test_curves_of_runs_on_two_contents_of_one_file_are_not_compared(run, tmp_path):
    file = write_text(tmp_path / "a.txt")
    for backend in ("numpy", "torch"):
        arguments = ("--data", f"text:{file}", "--backend", backend, *SMALL)
        assert run("train", "lstm", *arguments, "--out", tmp_path / backend)[0] == 0
        file.write_text(file.read_text().replace("red", "green"))
    status, _, err = run("curves", tmp_path / "numpy", tmp_path / "torch")
    assert status == 1 and "differs from" in err and "in data, takes the same run" in err


# A text at another place


def test_names_with_a_path_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/ada")
    assert absolute_name("text:a/../b.txt") == f"text:{tmp_path / 'b.txt'}"
    assert absolute_name("text/characters:~/b.txt") == "text/characters:/home/ada/b.txt"
    for name in ("digits", "copy:5:2", "ptb/characters", "text:"):
        assert absolute_name(name) == name


def test_two_names_may_stand_for_one_text_at_two_places():
    assert is_same_source("text:/a", "text:/b") and is_same_source("digits", "digits")
    assert not is_same_source("text:/a", "text/characters:/a")
    assert not is_same_source("mnist", "dynamic_mnist")
    assert not is_same_source("copy:5:2", "copy:5:3")


@pytest.fixture
def elsewhere(run, tmp_path, monkeypatch):
    """A run on a text that was named by a relative path, and another working folder."""
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "home")
    write_text(tmp_path / "home" / "a.txt")
    arguments = ("train", "lstm", "--data", "text:a.txt", *SMALL, "--out", "run")
    assert run(*arguments)[0] == 0
    (tmp_path / "away").mkdir()
    monkeypatch.chdir(tmp_path / "away")
    return tmp_path / "home" / "run"


def test_a_run_on_text_works_from_any_folder(run, elsewhere):
    name = json.loads((elsewhere / "run.json").read_text())["config"]["data"]
    assert name == f"text:{elsewhere.parent / 'a.txt'}"
    assert run("evaluate", elsewhere)[0] == 0
    assert run("sample", elsewhere, "--count", 5)[0] == 0
    status, _, err = run("train", "lstm", "--out", elsewhere, "--resume", "--epochs", 2)
    assert status == 0, err


def test_a_run_on_text_is_sampled_without_its_text(run, elsewhere):
    drawn = run("sample", elsewhere, "--count", 7, "--seed", 3)
    (elsewhere.parent / "a.txt").unlink()
    assert drawn[0] == 0 and run("sample", elsewhere, "--count", 7, "--seed", 3) == drawn


def test_a_moved_text_is_named_by_data(run, elsewhere):
    result = run("evaluate", elsewhere)[1]
    place = elsewhere.parent.parent / "b.txt"
    (elsewhere.parent / "a.txt").rename(place)
    status, _, err = run("evaluate", elsewhere)
    assert status == 1 and "a.txt: No such file" in err and "--data text:PATH names its pl" in err
    assert run("evaluate", elsewhere, "--data", "text:../b.txt")[1] == result
    again = ("train", "lstm", "--out", elsewhere, "--resume", "--epochs", 2)
    assert run(*again)[0] == 1
    status, _, err = run(*again, "--data", "text:../b.txt")
    assert status == 0, err
    assert run("evaluate", elsewhere)[0] == 0  # the run knows the new place now
    write_text(place, lines=90)
    status, _, err = run("evaluate", elsewhere, "--data", f"text:{place}")
    assert status == 1 and "trained on other data" in err
    status, _, err = run("evaluate", elsewhere, "--data", "digits")
    assert status == 1 and "--data: got 'digits' for a run on text:" in err


def test_two_runs_on_one_text_at_two_places_are_evaluated_together(run, elsewhere):
    copy = write_text(elsewhere.parent / "copy.txt")
    other = elsewhere.parent / "other"
    assert run("train", "lstm", "--data", f"text:{copy}", *SMALL, "--out", other)[0] == 0
    status, out, err = run("evaluate", elsewhere, other)
    assert status == 0 and "2 runs averaged" in " ".join(out.split()), err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "vocabulary.json: no such file"),
        ("", "vocabulary.json: not JSON (Expecting value"),
        ("[]", "vocabulary.json: found"),
        ("[" * 100_000, "vocabulary.json: not JSON (it is nested too deeply)"),
        ('{"unit": "words", "tokens": ["red"]}', "vocabulary.json: found other tokens, expected"),
        ('{"unit": "words", "tokens": []}', "vocabulary.json: found tokens: got 0"),
    ],
)
def test_a_damaged_vocabulary_is_named(run, elsewhere, content, message):
    file = elsewhere / "vocabulary.json"
    file.unlink() if content is None else file.write_text(content)
    status, _, err = run("sample", elsewhere)
    assert status == 1 and message in err and err.count("\n") == 1


def test_an_old_run_is_sampled_with_its_text(run, elsewhere):
    """Version 0.1.0 stored no vocabulary."""
    drawn = run("sample", elsewhere)
    settings = json.loads((elsewhere / "run.json").read_text())
    corpus = data.load(settings["config"]["data"])
    for name in ("schema", "digest", "data_digests", "conditions"):
        del settings[name]
    (elsewhere / "run.json").write_text(json.dumps(settings | {"data_digest": data_digest(corpus)}))
    (elsewhere / "vocabulary.json").unlink()
    assert drawn[0] == 0 and run("sample", elsewhere) == drawn
    again = ("train", "lstm", "--out", elsewhere, "--resume", "--epochs", 2)
    assert run(*again)[0] == 0  # which stores it
    (elsewhere.parent / "a.txt").unlink()
    assert run("sample", elsewhere)[0] == 0
