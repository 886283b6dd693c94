"""Reaches of the gated layers: together they read the window, in the paper's number of layers."""

import re
from itertools import product

import pytest

from model_specs.autoregressive import gated_layers
from model_specs.autoregressive.gated_layers import Reach, gated_reaches, gated_receptive_field
from model_specs.autoregressive.windows import Window


@pytest.mark.parametrize("blocks", [1, 2, 3, 4, 9])
def test_the_layers_read_exactly_the_window(blocks):
    for width, rows in product(range(1, 17), range(1, 9)):
        reaches = gated_reaches(width, rows, blocks)
        assert len(reaches) == blocks + 1
        assert gated_receptive_field(reaches) == Window.local(width, rows), (width, rows)


@pytest.mark.parametrize(
    ("window", "vertical", "horizontal"), [((4, 2), 1, 2), ((5, 3), 2, 2), ((7, 4), 3, 3)]
)
def test_the_windows_of_the_paper_have_its_numbers_of_layers(window, vertical, horizontal):
    """Vertical kernels of 2 rows and 3 columns, horizontal ones of 2 pixels, as in PixelCNN++."""
    reaches = gated_reaches(*window, blocks=4)
    above, left = [r[:3] for r in reaches if r.up], [r.before for r in reaches if r.before]
    assert above == [(2, 1, 1)] + [(1, 1, 1)] * (vertical - 1)
    assert left == [1] * horizontal
    assert not any(any(r) for r in reaches[max(vertical, horizontal) :])


def test_without_a_window_every_layer_reads_two_rows_and_columns():
    reaches = gated_reaches(0, 1, 3)
    assert reaches == [Reach(2, 2, 2, 2)] * 4 == gated_reaches(0, 7, 3)
    assert gated_receptive_field(reaches) == Window.raster(17)


def test_the_drawing_is_what_the_layers_of_4_x_2_read():
    rows = [re.findall(r"[#@.](?: [#@.]){4}", line) for line in gated_layers.__doc__.splitlines()]
    v, first, second = zip(*(row for row in rows if row), strict=True)
    reaches = gated_reaches(4, 2, 1)
    assert _offsets(first) == gated_receptive_field(reaches[:1]).offsets
    assert _offsets(second) == gated_receptive_field(reaches).offsets
    assert _offsets(v) == {(i, j) for i, j in _offsets(first) if i < 0}


def _offsets(picture):
    """The offsets of the # from the @ in the middle of the last row."""
    signs = [row.split() for row in picture]
    assert signs[-1][2] == "@"
    return {(i - 2, j - 2) for i, row in enumerate(signs) for j, n in enumerate(row) if n == "#"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1, 2, 4), "window_width: got -1"),
        ((2.0, 2, 4), "window_width: got 2.0"),
        ((False, 2, 4), "window_width: got False"),
        ((4, 0, 4), "window_rows: got 0 for the gated context, takes an int >= 1"),
        ((4, True, 4), "window_rows: got True for the gated context"),
        ((4, 2, 0), "decoder_blocks: got 0"),
    ],
)
def test_impossible_windows(arguments, message):
    with pytest.raises(ValueError, match=message):
        gated_reaches(*arguments)
