"""validation_curves and averaged_perplexity: the values, labels and limits that they draw."""

import numpy as np
import pytest

from diptych import figures

RUNS = {"a": [130.0, 90.0, 85.0, 84.0, 84.5], "b": [140.0, 95.0, 92.0]}


def test_each_run_is_a_line_with_its_lowest_score_marked():
    figure = figures.validation_curves(
        {"mnist": RUNS, "ptb": {"c": [3.0]}}, {"mnist": "x", "ptb": "y"}
    )
    mnist, ptb = figure.axes
    lines = [line for line in mnist.lines if len(line.get_xdata()) > 1]
    for line, scores in zip(lines, RUNS.values(), strict=True):
        assert list(line.get_ydata()) == scores and line.get_xdata()[0] == 1
    marks = [line for line in mnist.lines if len(np.atleast_1d(line.get_xdata())) == 1]
    assert [(float(m.get_xdata()[0]), float(m.get_ydata()[0])) for m in marks] == [(4, 84), (3, 92)]
    texts = [text.get_text() for text in mnist.get_legend().get_texts()]
    assert texts == ["a: 84.00, epoch 4", "b: 92.00, epoch 3"]
    low, high = mnist.get_ylim()
    assert low < 84 and 95 < high < 130, "the first epochs would hide the others"
    figure.draw_without_rendering()
    assert mnist.get_legend().get_window_extent().y1 < mnist.get_window_extent().y0
    assert mnist.get_ylabel() == "x" and ptb.get_title(loc="left") == "ptb"


def test_an_axis_without_a_group_is_hidden():
    groups = dict.fromkeys("abc", RUNS)
    figure = figures.validation_curves(groups, dict.fromkeys("abc", "nats"))
    assert [axis.get_visible() for axis in figure.axes] == [True, True, True, False]


def test_a_name_has_one_colour_on_all_axes_and_none_of_its_axis_the_same():
    groups = {"one": "ac", "two": "abd", "three": "cdb", "four": "efghijk"}  # 11 names, 8 colours
    runs = {title: {name: [2.0, 1.0] for name in names} for title, names in groups.items()}
    figure = figures.validation_curves(runs, dict.fromkeys(groups, "nats"))
    colours = {}
    for axis, names in zip(figure.axes, groups.values(), strict=False):
        lines = [line for line in axis.lines if len(line.get_xdata()) > 1]
        drawn = {name: line.get_color() for name, line in zip(names, lines, strict=True)}
        assert len({*drawn.values()}) == len(names)
        assert all(colours.setdefault(name, color) == color for name, color in drawn.items())


def test_of_two_equal_curves_the_shorter_one_is_seen():
    figure = figures.validation_curves(
        {"a": {"r": [3.0, 2.0], "s": [3.0, 2.0, 1.0]}}, {"a": "nats"}
    )
    short, long = (line for line in figure.axes[0].lines if len(line.get_xdata()) > 1)
    assert short.get_zorder() > long.get_zorder()


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({}, "groups: got none"),
        ({"a": {}}, r"groups\['a'\]: got 0 runs, takes one or more"),
        ({"a": {str(n): [1.0] for n in range(9)}}, r"groups\['a'\]: '8' got no colour of 8"),
        ({"a": {"r": []}}, r"groups\['a'\]\['r'\]: got shape \(0,\)"),
        ({"a": {"r": [1.0, float("nan")]}}, "got NaN or inf"),
    ],
)
def test_runs_that_cannot_be_drawn_are_named(groups, message):
    with pytest.raises(ValueError, match=message):
        figures.validation_curves(groups, dict.fromkeys(groups, "nats"))


def test_ours_and_the_sources_perplexities_stand_at_their_counts():
    figure = figures.averaged_perplexity({5: 85.0, 1: 115.0}, {1: 114.5, 2: 96.1}, "paper")
    source, ours = figure.axes[0].lines
    assert list(ours.get_xdata()) == [1, 5] and list(ours.get_ydata()) == [115.0, 85.0]
    assert list(source.get_xdata()) == [1, 2] and source.get_label() == "paper"
    assert list(figure.axes[0].get_xticks()) == [1, 2, 5]


@pytest.mark.parametrize(
    ("ours", "message"), [({}, "ours: got none"), ({1: 0.5}, "ours: got .* 1 or more")]
)
def test_perplexities_that_cannot_be_are_refused(ours, message):
    with pytest.raises(ValueError, match=message):
        figures.averaged_perplexity(ours, {1: 114.5}, "paper")
