"""Images of plausible type but of wrong scale, polarity or identity are told or refused."""

import numpy as np
import pytest
from helpers.data_files import SPLITS, assert_refused
from helpers.image_files import (
    grey,
    strokes,
    three_splits,
    write_binarized,
    write_cifar,
    write_idx,
    write_omniglot,
    write_silhouettes,
    write_text,
)

from diptych.data import load
from diptych.data.published import FAMILY, FASHION, KUZUSHIJI, MNIST, identify, remarks

FAMILY_NAMES = ("mnist", "dynamic_mnist", "fashion_mnist", "kmnist")


# reader: {fault: (write a folder with that fault, fragments of the message)}
GREY = ("largest byte is 1", "expected grey 0 .. 255")
DARK = ("expected bright strokes", "inverted?")
FAULTS = {
    **{
        name: {
            "0 and 1 as grey": (lambda r: write_idx(r, grey(13) // 128, np.arange(13) % 10), GREY),
            "0 and 1 in test": (
                lambda r: write_idx(r, grey(13), np.arange(13) % 10, grey(4) // 128),
                ("t10k-images", *GREY),
            ),
            "0 to 16 as grey": (
                lambda r: write_idx(r, grey(13) // 16, np.arange(13) % 10),
                ("largest byte is 15", "grey 0 .. 255"),
            ),
            "inverted": (lambda r: write_idx(r, 255 - grey(13), np.arange(13) % 10), DARK),
            "repeated split": (
                lambda r: write_idx(r, grey(13), np.arange(13) % 10, grey(13)[:4]),
                ("found the images of train-images-idx3-ubyte (train) again",),
            ),
        }
        for name in FAMILY_NAMES
    },
    "static_mnist": {
        "inverted": (
            lambda r: write_binarized(r, {k: 1 - rows for k, rows in three_splits().items()}),
            ("key train", *DARK),
        ),
        "empty": (
            lambda r: write_binarized(r, {k: 0 * rows for k, rows in three_splits().items()}),
            ("no pixel that is 1",),
        ),
        "repeated split": (
            lambda r: write_binarized(r, dict.fromkeys(SPLITS, strokes(3))),
            ("found the images of train again",),
        ),
        "inverted text": (lambda r: write_text(r, 1 - strokes(3)), ("train.amat", *DARK)),
        "grey text": (
            lambda r: write_text(r, 255 * strokes(3)),
            ("train.amat", "line 1", "found 255, expected 0 or 1"),
        ),
        "repeated split of text": (
            lambda r: write_text(r, strokes(3, 2)),
            ("test: found the images of train again",),
        ),
    },
    "omniglot": {
        "0 and 1 as grey": (lambda r: write_omniglot(r, grey(20) // 128, grey(3)), GREY),
        "inverted": (
            lambda r: write_omniglot(r, grey(20), 255 - grey(3)),
            ("key evaluation", "expected bright strokes"),
        ),
        "repeated split": (
            lambda r: write_omniglot(r, grey(20), grey(20)),
            ("again, expected other images",),
        ),
    },
    "caltech101_silhouettes": {
        "0 and 255": (
            lambda r: write_silhouettes(r, np.uint8(255) * (1 - strokes(3))),
            ("found 255", "0 to 1"),
        ),
        "inverted": (lambda r: write_silhouettes(r, strokes(3)), ("inverted?",)),
    },
    "cifar10": {
        "0 and 1 as grey": (
            lambda r: write_cifar(r, np.ones((3, 3072), np.uint8)),
            ("largest byte is 1",),
        ),
    },
}


@pytest.mark.parametrize(
    "name, fault", [(name, fault) for name, faults in FAULTS.items() for fault in faults]
)
def test_each_reader_refuses_wrong_scale_polarity_and_repeated_splits(tmp_path, name, fault):
    build, fragments = FAULTS[name][fault]
    build(tmp_path)
    assert_refused(name, tmp_path, str(tmp_path), *fragments)


def test_the_images_of_these_tests_are_accepted(tmp_path):
    """So it is the fault alone that is refused above."""
    write_idx(tmp_path, grey(13), np.arange(13) % 10)
    write_omniglot(tmp_path, grey(20), grey(3, 11))
    write_silhouettes(tmp_path, 1 - strokes(3))
    write_binarized(tmp_path, three_splits())
    for name in (*FAMILY_NAMES, "omniglot", "caltech101_silhouettes", "static_mnist"):
        load(name, tmp_path)
    write_text(tmp_path / "text", strokes(3))
    load("static_mnist", tmp_path / "text")


COUNTS = {
    "mnist": "not the 60000 and 10000 images of MNIST",
    "dynamic_mnist": "not the 60000 and 10000 images of MNIST",
    "fashion_mnist": "not the 60000 and 10000 images of Fashion-MNIST",
    "kmnist": "not the 60000 and 10000 images of KMNIST",
    "static_mnist": "not the 50000, 10000 and 10000 images of Larochelle",
    "omniglot": "not the 19280 and 13180 images",
    "caltech101_silhouettes": "not the 4100, 2264 and 2307 images",
}


@pytest.mark.parametrize("name", COUNTS)
def test_other_numbers_of_images_are_told(tmp_path, name):
    write_idx(tmp_path, grey(13), np.arange(13) % 10)
    write_omniglot(tmp_path, grey(20), grey(3, 11))
    write_silhouettes(tmp_path, 1 - strokes(3))
    write_binarized(tmp_path, three_splits())
    assert COUNTS[name] in load(name, tmp_path).summary


@pytest.mark.parametrize("name", [*COUNTS, "cifar10", "digits"])
def test_the_published_sets_are_read_without_remarks(real, name):
    if name in ("fashion_mnist", "kmnist"):
        pytest.skip("the folder of real data has no copy of it")
    summary = real(name).summary
    assert not any(word in summary for word in ("; not", "; these", "; every")), summary


# Sets that share MNIST's names

MNIST_START, FASHION_START = [5, 0, 4, 1, 9, 2, 1, 3, 1, 4, 3], [9, 0, 0, 3, 0, 2, 7, 2, 5, 5, 0]


@pytest.mark.parametrize(
    "name, start, title, own",
    [
        ("mnist", FASHION_START, "Fashion-MNIST", "fashion_mnist"),
        ("dynamic_mnist", FASHION_START, "Fashion-MNIST", "fashion_mnist"),
        ("kmnist", FASHION_START, "Fashion-MNIST", "fashion_mnist"),
        ("fashion_mnist", MNIST_START, "MNIST", "mnist"),
    ],
)
def test_a_set_under_another_sets_name_is_told(tmp_path, name, start, title, own):
    write_idx(tmp_path, grey(11), start)
    summary = load(name, tmp_path).summary
    assert f"these are images of {title}, not of" in summary
    assert f"the name of that set is {own}" in summary
    assert "these are images" not in load(own, tmp_path).summary


def constant(mean):
    """Return 60000 small images of one grey value, whose mean is `mean`."""
    return np.full((60_000, 1, 1), round(mean * 255 * 256) / 256, np.float32)


@pytest.mark.parametrize("published", FAMILY, ids=lambda p: p.name)
def test_a_whole_set_in_another_order_is_known_by_its_classes_and_its_mean(published):
    labels = np.repeat(np.arange(10, dtype=np.uint8), published.counts)[::-1]
    assert identify(constant(published.mean[0]), labels) is published
    for other in FAMILY:
        text = remarks(other, constant(published.mean[0]), labels, 10_000)
        assert (text == "") == (other is published)
        assert other is published or f"the name of that set is {published.name}" in text
    assert identify(constant(0.4), labels) is None
    assert identify(constant(published.mean[0]), np.roll(labels, 1) // 2) is None


def test_balanced_classes_are_not_those_of_mnist():
    labels = np.repeat(np.arange(10, dtype=np.uint8), 6000)[::-1]
    assert "not the labels of MNIST" in remarks(MNIST, constant(0.4), labels, 10_000)
    assert remarks(FASHION, constant(0.4), labels, 10_000) == ""
    assert remarks(KUZUSHIJI, constant(0.4), labels, 10_000) == ""


def test_images_of_0_and_255_are_told(tmp_path):
    write_idx(tmp_path, grey(13) // 128 * np.uint8(255), np.arange(13) % 10)
    assert "every pixel is 0 or 255: binarized images" in load("mnist", tmp_path).summary
    write_idx(tmp_path, grey(13), np.arange(13) % 10)
    assert "every pixel" not in load("mnist", tmp_path).summary
