"""A laboratory of seconds: few images, one seed, and what every experiment's findings must be."""

import json

import numpy as np
from matplotlib.figure import Figure

from diptych import data, figures
from diptych.data import Dataset, Split
from diptych.lab import EXPERIMENTS, Setting


def few(train: int = 130, held_out: int = 40) -> Dataset:
    """The first of the digits."""
    whole = data.load("digits")

    def first(split, count):
        return Split(split.x[:count].copy(), split.y[:count].copy())

    splits = (first(whole.train, train), first(whole.valid, 20), first(whole.test, held_out))
    return Dataset("digits", *splits, whole.image_shape, "a few digits")


def tiny(seeds: tuple[int, ...] = (0,)) -> Setting:
    """The quick form of an experiment on them."""
    return Setting(few(), seeds, quick=True)


def check_findings(name, findings, folder):
    """JSON without NaN, a table, a figure that is drawn, truths that are made of the results."""
    again = json.loads(json.dumps(dict(findings.results), allow_nan=False))
    assert findings.table.row_count > 1
    assert isinstance(findings.figure, Figure)
    figures.save(findings.figure, folder / "figure.png")
    module = __import__(EXPERIMENTS[name].__module__, fromlist=["truths"])
    assert dict(findings.truths) == module.truths(again)
    assert all(type(holds) is bool for holds in findings.truths.values())


def broken(truths, results, name, change):
    """Whether a truth that holds of the results is false once they are changed."""
    copy = json.loads(json.dumps(results))
    assert truths(copy)[name]
    change(copy)
    return not truths(copy)[name]


def scale(value, seeds=3, by=0.01):
    """What that many seeds might give."""
    return (value + by * np.linspace(-1, 1, seeds)).tolist()
