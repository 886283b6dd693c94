"""The values of a run, step by step: forward and then backward, as arrays of few numbers."""

from __future__ import annotations

import numpy as np
import pytest

from diptych.site.measured.jobs import StepsJob, file_keys, record_steps
from diptych.site.measured.places import Places
from diptych.site.measured.values_of_a_run import _part
from diptych.site.sources.read import read_page
from diptych.site.sources.twin_files import twin_files

STEMS = ("lstm", "recurrent/network")


@pytest.fixture(scope="module")
def steps():
    pages = [read_page(file) for file in twin_files() if file.stem in STEMS]
    sizes = dict.fromkeys(STEMS, (60, 256))
    return record_steps(StepsJob("lstm[words]", Places(pages), file_keys(pages), sizes))


def test_the_forward_pass_comes_before_the_backward_pass(steps):
    """Both phases are there in the order of computation, after the noise."""
    phases = [step["phase"] for step in steps["lstm"]]
    assert phases == sorted(phases, key=["noise", "forward", "backward"].index)
    assert set(phases) == {"noise", "forward", "backward"}


def test_the_masks_that_both_panels_get_are_the_first_steps(steps):
    """They stand at draw_noise, under the names of the loss; files that draw none have none."""
    noise = [step for step in steps["lstm"] if step["phase"] == "noise"]
    assert "words" in {step["name"] for step in noise}
    for step in noise:
        assert step["group"].startswith("LSTM.draw_noise")
        assert set(np.ravel(step["left"])) <= {0, 1} and not np.any(step["difference"])
    assert not [s for s in steps["recurrent/network"] if s["phase"] == "noise"]


def test_the_word_mask_is_a_step_between_the_embedding_and_its_product(steps):
    """A student sees where the mask enters: e, words, then d = e words / (1 - p)."""
    named = {s["name"]: s for s in steps["lstm"] if s["group"].startswith("LSTM.features")}
    e, words, d = (np.array(named[name]["left"], float) for name in ("e", "words", "d"))
    assert set(words.ravel()) <= {0, 1}
    first = words[0][:, None]  # of the first step of time, as e and d
    assert 0 < first.sum() < first.size
    assert np.array_equal(d == 0, np.broadcast_to(first == 0, d.shape) | (e == 0))


def test_steps_of_a_loop_are_rows_of_one_array(steps):
    """The cell's c over nine steps of time, of the first text."""
    step = next(s for s in steps["lstm"] if s["name"] == "c")
    assert step["times"] == "t = 0 … 8" and step["shape"] == [7, 6]
    assert np.array(step["left"]).shape == (9, 6)


def test_a_gradient_of_the_cell_is_compared_with_autograd(steps):
    """dc of the last statement that assigns it is the whole gradient of c."""
    backward = [s for s in steps["lstm"] if s["phase"] == "backward" and s["name"] == "dc"]
    assert any(s["difference"] is not None for s in backward)
    for step in steps["lstm"]:
        if step["difference"] is not None:
            assert np.abs(np.array(step["difference"], float)).max() < 1e-12


@pytest.mark.parametrize("shape", [(), (3,), (7, 6), (40, 40), (9, 7, 5), (2, 3, 16, 16), (1000,)])
def test_a_large_array_is_cut_to_a_part_and_says_which(shape):
    """At most 256 numbers, as rows."""
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    matrix, part = _part(array, 256, False)
    assert matrix.ndim == 2 and matrix.size <= 256
    assert bool(part) == (array.size > 256)
    assert matrix.flat[0] == 0
