"""memory_curves and perplexity_curves: the values, labels and colours that they draw."""

import copy
from itertools import combinations

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb

from diptych import figures
from diptych.figures.sequences import DODGE, LOOKS
from model_specs.recurrent.dropout import SCHEMES

STEPS, DELAYS, SEEDS = [100, 200, 300, 400, 500, 600], [7, 20, 41], 3


def memory():
    """Return random results for every scheme."""
    rng = np.random.default_rng(5)
    schemes = {}
    for scheme in SCHEMES:
        curves = [{"step": STEPS, "accuracy": list(rng.random(len(STEPS)))} for _ in range(SEEDS)]
        delays = {str(delay): list(rng.random(SEEDS)) for delay in DELAYS}
        schemes[scheme] = {"curves": curves, "delays": delays, "diverged": [None] * SEEDS}
    return {"schemes": schemes, "settings": {"delays": DELAYS, "length": 20}, "chance": 0.125}


def diverge(results, scheme, seed):
    """Change results to those of an experiment in which a seed diverged."""
    result = results["schemes"][scheme]
    result["curves"][seed], result["diverged"][seed] = None, "step 3: loss term total is nan"
    for seeds in result["delays"].values():
        seeds[seed] = None
    return results


def lines_by_color(axis, color):
    return [line for line in axis.lines if to_hex(line.get_color()) == to_hex(color)]


def legend_texts(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def percent(results, scheme, seeds=range(SEEDS)):
    """Return accuracies in %: curves (seeds, steps), and by delay (delays, seeds)."""
    result = results["schemes"][scheme]
    curves = 100 * np.array([result["curves"][seed]["accuracy"] for seed in seeds])
    return curves, 100 * np.array([[result["delays"][str(d)][s] for s in seeds] for d in DELAYS])


RUNS = {
    "small": {
        "epoch": [1, 2, 3, 4],
        "train": [180.0, 120, 90, 60],
        "valid": [170.0, 131, 127, 140],
    },
    "medium": {"epoch": [1, 2, 3], "train": [400.0, 200, 110], "valid": [300.0, 150, 118.5]},
}
DRAW = {
    "memory_curves": lambda: figures.memory_curves(memory()),
    "perplexity_curves": lambda: figures.perplexity_curves(RUNS),
}


# Memory


@pytest.mark.parametrize("diverged", [(), (1,), (0, 2)])
def test_memory_curves_draw_mean_and_range_of_the_seeds_that_did_not_diverge(diverged):
    results, scheme = memory(), "variational"
    for seed in diverged:
        diverge(results, scheme, seed)
    figure = figures.memory_curves(results)
    by_step, by_delay = figure.axes
    for index, name in enumerate(SCHEMES):
        seeds = [s for s in range(SEEDS) if name != scheme or s not in diverged]
        curves, delays = percent(results, name, seeds)
        color = LOOKS[name]["color"]
        (line,) = lines_by_color(by_step, color)
        np.testing.assert_array_equal(line.get_xdata(), STEPS)
        np.testing.assert_allclose(line.get_ydata(), curves.mean(0))
        band = by_step.collections[index]
        assert to_hex(band.get_facecolor()[0]) == to_hex(color)
        (outline,) = band.get_paths()
        for i, step in enumerate(STEPS):
            y = outline.vertices[outline.vertices[:, 0] == step][:, 1]
            np.testing.assert_allclose((y.min(), y.max()), (curves[:, i].min(), curves[:, i].max()))
        (marks,) = lines_by_color(by_delay, color)
        x = np.arange(len(DELAYS)) + DODGE * (index - 2)
        np.testing.assert_allclose(marks.get_xdata(), x)
        np.testing.assert_allclose(marks.get_ydata(), delays.mean(1))
        bars = np.array(by_delay.collections[index].get_segments())  # (delays, ends, xy)
        np.testing.assert_allclose(bars[:, :, 0], np.stack([x, x], 1))
        np.testing.assert_allclose(bars[:, :, 1], np.stack([delays.min(1), delays.max(1)], 1))
    label = f"variational ({len(diverged)} of 3 diverged)" if diverged else "variational"
    assert legend_texts(figure)[2] == label


def test_a_scheme_whose_seeds_all_diverged_is_only_in_the_legend():
    results = memory()
    for seed in range(SEEDS):
        diverge(results, "recurrent", seed)
    figure = figures.memory_curves(results)
    for axis in figure.axes:
        assert not any(len(line.get_xdata()) for line in lines_by_color(axis, "#A33B00"))
    assert "recurrent (3 of 3 diverged)" in legend_texts(figure)
    assert "none" in legend_texts(figure)


def test_memory_curves_are_labelled(tmp_path):
    figure = figures.memory_curves(memory())
    by_step, by_delay = figure.axes
    assert (by_step.get_xlabel(), by_delay.get_xlabel()) == ("training step", "delay, steps")
    assert by_step.get_ylabel() == "right answers, %"
    for axis in figure.axes:
        (dotted,) = [line for line in axis.lines if line.get_linestyle() == ":"]
        assert set(dotted.get_ydata()) == {12.5}
    assert [text.get_text() for text in by_delay.get_xticklabels()] == ["7", "20\n(trained)", "41"]
    assert legend_texts(figure) == [*SCHEMES, "chance, 12.5 %"]
    figures.save(figure, tmp_path / "memory.png")
    (legend,) = figure.legends
    lowest = legend.get_window_extent().y0
    assert lowest > max(axis.get_window_extent().y1 for axis in figure.axes)


def test_lines_that_coincide_are_all_visible():
    """Wider lines are below narrower ones, and no two schemes mark the same step."""
    results = memory()
    for result in results["schemes"].values():
        for curve in result["curves"]:
            curve["accuracy"] = [1.0] * len(STEPS)
    by_step, _ = figures.memory_curves(results).axes
    lines = [lines_by_color(by_step, LOOKS[scheme]["color"])[0] for scheme in SCHEMES]
    widths = [line.get_linewidth() for line in lines]
    assert widths == sorted(widths, reverse=True) and widths[0] > 2 * widths[-1]
    first = [line.get_markevery()[0] for line in lines]
    assert len(set(first)) == len(first) and max(first) < len(STEPS)


def test_few_steps_are_all_marked():
    results = memory()
    for result in results["schemes"].values():
        result["curves"] = [{"step": [100], "accuracy": [0.5]}] * SEEDS
    by_step, _ = figures.memory_curves(results).axes
    for scheme in SCHEMES:
        (line,) = lines_by_color(by_step, LOOKS[scheme]["color"])
        assert line.get_markevery() == (0, 1)


# Source: Viénot, Brettel & Mollon (1999), equations 2 to 7: linear RGB as dichromats see it
PROTAN = np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]])
DEUTAN = np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]])


def lab(rgb):
    """Return CIE L*a*b* (D65) of linear RGB."""
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = np.cbrt(xyz @ np.clip(rgb, 0, 1) / xyz.sum(1))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("vision", [np.eye(3), PROTAN, DEUTAN], ids=["normal", "protan", "deutan"])
def test_scheme_colours_differ_also_for_colour_blind_people(vision):
    colours = {}
    for scheme in SCHEMES:
        rgb = np.array(to_rgb(LOOKS[scheme]["color"]))
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        colours[scheme] = lab(vision @ linear)
    for a, b in combinations(SCHEMES, 2):
        assert np.linalg.norm(colours[a] - colours[b]) > 20, (a, b)
    assert len({look["marker"] for look in LOOKS.values()}) == len(SCHEMES)


# Perplexity


def test_perplexity_curves_draw_both_and_mark_the_best(tmp_path):
    figure = figures.perplexity_curves(RUNS)
    (axis,) = figure.axes
    assert axis.get_yscale() == "log" and axis.get_ylabel() == "perplexity"
    small, medium = axis.lines[:3], axis.lines[3:]
    for run, (train, valid, best) in zip(RUNS.values(), (small, medium), strict=True):
        np.testing.assert_array_equal(train.get_xydata().T, [run["epoch"], run["train"]])
        np.testing.assert_array_equal(valid.get_xydata().T, [run["epoch"], run["valid"]])
        assert train.get_linestyle() == "--" and valid.get_linestyle() == "-"
        assert len({line.get_color() for line in (train, valid, best)}) == 1
    assert small[0].get_color() != medium[0].get_color()
    assert (small[2].get_xdata()[0], small[2].get_ydata()[0]) == (3, 127)
    assert (medium[2].get_xdata()[0], medium[2].get_ydata()[0]) == (3, 118.5)
    assert legend_texts(figure) == [
        "small: best 127.00, epoch 3",
        "medium: best 118.50, epoch 3",
        "validation",
        "training",
    ]
    figures.save(figure, tmp_path / "perplexity.png")
    for legend in figure.legends:
        assert legend.get_window_extent().y0 > axis.get_window_extent().y1


def test_perplexities_that_are_not_finite_are_left_out(tmp_path):
    runs = copy.deepcopy(RUNS)
    runs["small"]["valid"][1:3] = None, float("nan")
    runs["medium"] = {"epoch": [1, 2], "train": [9.0, float("inf")], "valid": [None, float("inf")]}
    figure = figures.perplexity_curves(runs)
    (axis,) = figure.axes
    np.testing.assert_array_equal(axis.lines[1].get_ydata(), [170, np.nan, np.nan, 140])
    assert legend_texts(figure)[:2] == ["small: best 140.00, epoch 4", "medium: no finite value"]
    assert len(axis.lines) == 5
    figures.save(figure, tmp_path / "perplexity.png")


@pytest.mark.parametrize(("low", "high"), [(2.9, 3.4), (80, 190), (50, 380), (60, 9000), (2, 1e6)])
def test_perplexity_ticks_are_plain_numbers_for_every_range(low, high, tmp_path):
    runs = {"run": {"epoch": [1, 2], "train": [high, low], "valid": [high, low]}}
    figure = figures.perplexity_curves(runs)
    figures.save(figure, tmp_path / "perplexity.png")
    (axis,) = figure.axes
    bottom, top = axis.get_ylim()
    ticks = [
        (y, text.get_text())
        for y, text in zip(axis.get_yticks(), axis.get_yticklabels(), strict=True)
        if bottom <= y <= top
    ]
    assert 3 <= len(ticks) <= 20
    assert all(float(text) == pytest.approx(y) for y, text in ticks)


# Global settings and bad arguments


@pytest.mark.parametrize("name", DRAW)
def test_a_figure_neither_changes_nor_depends_on_rcparams(name, tmp_path):
    def pixels(figure):
        figures.save(figure, tmp_path / "figure.png")
        return (tmp_path / "figure.png").read_bytes()

    before = dict(matplotlib.rcParams)
    expected = pixels(DRAW[name]())
    assert dict(matplotlib.rcParams) == before
    style = dict.fromkeys(("axes.facecolor", "figure.facecolor"), "black")
    style |= dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "grid.color"), "red")
    style |= {"image.origin": "upper", "image.cmap": "jet", "font.size": 20, "lines.linewidth": 9}
    with matplotlib.rc_context(style):
        assert pixels(DRAW[name]()) == expected


def memory_after(change):
    results = memory()
    change(results)
    return results


def change_steps(results):
    results["schemes"]["per_step"]["curves"][1] = {"step": [1, 2], "accuracy": [0.1, 0.2]}


BAD_RESULTS = {
    "no schemes": (lambda r: r.pop("schemes"), "results: got no schemes"),
    "no chance": (lambda r: r.pop("chance"), "results: got no chance"),
    "none": (lambda r: r["schemes"].clear(), "results: got no scheme"),
    "unknown": (lambda r: r["schemes"].update(locked={}), "scheme: got 'locked'"),
    "no curves": (lambda r: r["schemes"]["none"].pop("curves"), "got no curves of none"),
    "no delay": (lambda r: r["schemes"]["none"]["delays"].pop("20"), "got no 20 of none"),
    "steps": (change_steps, "results: got seeds of per_step evaluated at different steps"),
}


@pytest.mark.parametrize("case", BAD_RESULTS)
def test_bad_results_raise(case):
    change, message = BAD_RESULTS[case]
    with pytest.raises(ValueError, match=message):
        figures.memory_curves(memory_after(change))


BAD_RUNS = {
    "none": ({}, "^runs: got 0, takes 1 to 8"),
    "too many": (dict.fromkeys("abcdefghi", RUNS["small"]), "^runs: got 9"),
    "no train": ({"a": {"epoch": [1], "valid": [9.0]}}, r"^runs\['a'\]: got \['epoch', 'valid'\]"),
    "shorter": ({"a": RUNS["small"] | {"valid": [9.0]}}, r"^runs\['a'\]\['valid'\]: got shape"),
    "empty": ({"a": {"epoch": [], "train": [], "valid": []}}, r"\['epoch'\]: got shape \(0,\)"),
    "nats": ({"a": {"epoch": [1], "train": [9.0], "valid": [0.9]}}, "got 0.9, takes 1 or more"),
}


@pytest.mark.parametrize("case", BAD_RUNS)
def test_bad_runs_raise(case):
    runs, message = BAD_RUNS[case]
    with pytest.raises(ValueError, match=message):
        figures.perplexity_curves(runs)
