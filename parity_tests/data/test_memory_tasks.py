"""Memory tasks: the sequences of copy and adding, and their names."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diptych.data import load
from diptych.data.memory import MemoryTask
from model_specs.common.key import Key

KEY = Key(17).fold_in("memory")


@given(st.sampled_from([(1, 1), (5, 3), (40, 7)]), st.integers(0, 99), st.integers(1, 9))
def test_any_part_of_a_stream_can_be_drawn_by_itself(shape, start, count):
    for task in (MemoryTask("c", "copy", *shape), MemoryTask("a", "adding", shape[0] + 1, 2)):
        stream = task.draw(KEY, 108)
        for part, full in zip(task.draw(KEY, count, start), stream, strict=True):
            np.testing.assert_array_equal(part, full[:, start : start + count])
            assert part.flags.c_contiguous
        assert not np.array_equal(stream.x, task.draw(Key(18), 108).x)


def test_the_answer_of_copy_is_its_data():
    task = load("copy:7:4")
    x, y, weight = task.draw(KEY, 4000)
    assert (task.steps, task.symbols) == (15, 10)
    assert task.contents["task"].tobytes() == b"copy 7 4"
    assert x.dtype == y.dtype == np.int64 and weight.dtype == np.float32
    assert x.shape == y.shape == weight.shape == (15, 4000)
    assert (x[4:].T == [0] * 6 + [9] + [0] * 4).all() and (weight.T == [0] * 11 + [1] * 4).all()
    assert (y[:11] == 0).all() and (y[11:] == x[:4]).all()
    counts = np.bincount(x[:4].ravel(), minlength=10)
    assert counts[[0, 9]].tolist() == [0, 0]
    assert (
        abs(counts[1:9] - 2000).max() < 5 * 41.8
    )  # the standard deviation of binomial(16000, 1/8)
    assert abs(np.corrcoef(x[:4])[np.triu_indices(4, 1)]).max() < 5 / 4000**0.5


@pytest.mark.parametrize("length", [2, 9, 10])
def test_the_answer_of_adding_is_the_sum_of_the_marked_values(length):
    task = load(f"adding:{length}")
    x, y, weight = batch = task.draw(KEY, 4000)
    assert (task.steps, task.symbols) == (length, 0)
    assert [a.shape for a in batch] == [(length, 4000, 2), (length, 4000, 1), (length, 4000)]
    assert all(a.dtype == np.float32 for a in batch)
    values, markers = x[..., 0], x[..., 1]
    np.testing.assert_array_equal(y[-1, :, 0], (values * markers).sum(0))
    assert not y[:-1].any() and not weight[:-1].any() and (weight[-1] == 1).all()
    assert values.min() >= 0 and values.max() < 1
    assert abs(values.mean() - 0.5) < 5 / (12 * values.size) ** 0.5
    for part in (markers[: length // 2], markers[length // 2 :]):
        p = 1 / len(part)
        assert set(np.unique(part)) <= {0, 1} and (part.sum(0) == 1).all()
        assert (abs(part.mean(1) - p) <= 5 * (p * (1 - p) / 4000) ** 0.5).all()


def test_names_of_memory_tasks_have_defaults():
    copies = {"copy": (100, 10), "copy:20": (20, 10), "copy:20:3": (20, 3)}
    for name, numbers in {**copies, "adding": (100, 2), "adding:750": (750, 2)}.items():
        assert load(name) == MemoryTask(name, name.split(":")[0], *numbers)
        assert re.match(rf"{name}: .* {load(name).steps} steps", load(name).summary)
