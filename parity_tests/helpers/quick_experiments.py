"""Small settings for experiments of the laboratory, and checks of their findings."""

import json

import numpy as np
from matplotlib.figure import Figure

from diptych import data, figures
from diptych.data import Dataset, Split
from diptych.lab import EXPERIMENTS, Setting


def few_digits(train: int = 130, held_out: int = 40) -> Dataset:
    """Return the first images of each split of the digits."""
    return _first_images("digits", train, held_out)


def few_colour_digits(train: int = 130, held_out: int = 40, size: int = 16) -> Dataset:
    """Return the first images of each split of the coloured digits of size x size pixels."""
    return _first_images(f"colour_digits:{size}", train, held_out)


def _first_images(name: str, train: int, held_out: int) -> Dataset:
    whole = data.load(name)

    def first(split, count):
        return Split(split.x[:count].copy(), split.y[:count].copy())

    splits = (first(whole.train, train), first(whole.valid, 20), first(whole.test, held_out))
    return Dataset(whole.name, *splits, whole.image_shape, "a few digits")


def quick_setting(seeds: tuple[int, ...] = (0,)) -> Setting:
    """Return the setting of a quick experiment on few digits."""
    return Setting(few_digits(), seeds, quick=True)


def check_findings(name, findings, folder):
    """Assert that results are finite JSON and that claims follow from them; draw the figure."""
    parsed = json.loads(json.dumps(dict(findings.results), allow_nan=False))
    assert findings.table.row_count > 1
    assert isinstance(findings.figure, Figure)
    figures.save(findings.figure, folder / "figure.png")
    module = __import__(EXPERIMENTS[name].__module__, fromlist=["truths"])
    assert dict(findings.truths) == module.truths(parsed)
    assert all(type(holds) is bool for holds in findings.truths.values())


def fails_after(change, truths, results, name):
    """True if the claim `name` holds for the results and fails for changed ones."""
    copy = json.loads(json.dumps(results))
    assert truths(copy)[name]
    change(copy)
    return not truths(copy)[name]


def over_seeds(value, seeds=3, deviation=0.01):
    """Return values around `value` as several seeds might give them."""
    return (value + deviation * np.linspace(-1, 1, seeds)).tolist()
