"""Figures of latent spaces show their arrays, and say what is wrong with others."""

import numpy as np
import pytest
from helpers.figure_data import IMAGES, LABELS, MU, SQUARE, H, N, W
from matplotlib.colors import to_hex
from scipy.stats import norm

from diptych import figures

COLOUR = np.repeat(SQUARE[..., None], 3, -1) * np.array([1.0, 0.5, 0.2])


def cells(axis):
    """The images of an axis and the middle of each, by their distance from its upper left."""
    middles = [np.mean(np.reshape(image.get_extent(), (2, 2)), 1) for image in axis.images]
    return [image.get_array() for image in axis.images], np.array(middles)


def ticks(ruler):
    """The positions of the ticks by the numbers that they show."""
    texts = [text.get_text().replace("−", "-") for text in ruler.get_ticklabels()]
    numbers = [float(text.removesuffix(" σ")) for text in texts]
    return dict(zip(numbers, ruler.get_ticklocs(), strict=True))


def test_latent_scatter_colours_each_point_by_its_label():
    (axis,) = figures.latent_scatter(MU, LABELS).axes
    points = axis.collections[0]
    np.testing.assert_array_equal(points.get_offsets(), MU)
    colours = [to_hex(colour).upper() for colour in points.get_facecolors()]
    assert colours == [figures.LABELS[label].upper() for label in LABELS]
    assert len(set(figures.LABELS)) == 10
    present = [str(label) for label in np.unique(LABELS)]
    assert [text.get_text() for text in axis.get_legend().get_texts()] == present
    assert [text.get_text() for text in axis.texts] == present


def test_latent_scatter_without_labels_has_one_colour_and_no_legend():
    (axis,) = figures.latent_scatter(MU, None, ("across", "up"), "a heading").axes
    points = axis.collections[0]
    np.testing.assert_array_equal(points.get_offsets(), MU)
    assert {to_hex(colour).upper() for colour in points.get_facecolors()} == {figures.RIGHT.upper()}
    assert axis.get_legend() is None and not axis.texts
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("across", "up")
    assert axis.get_title(loc="left") == "a heading"


@pytest.mark.parametrize("images", [SQUARE, COLOUR], ids=["grey", "colour"])
def test_latent_manifold_is_drawn_over_quantiles_of_the_prior(images):
    (axis,) = figures.latent_manifold(images, (0.1, 0.7)).axes
    shown, middles = cells(axis)
    u, x, y = np.linspace(0.1, 0.7, 4), middles[:4, 0], middles[::4, 1]
    for n, (row, column) in enumerate(np.ndindex(4, 4)):
        np.testing.assert_array_equal(shown[n], np.clip(images[row, column], 0, 1))
        np.testing.assert_allclose(middles[n], (x[column], y[row]))
    assert (np.diff(x) > W).all() and (np.diff(y) > H).all()
    bottom, top = axis.get_ylim()
    assert bottom > top  # y grows downwards, so that the first row is the top
    for ruler, places in ((axis.xaxis, x), (axis.yaxis, y[::-1])):
        marks = ticks(ruler)
        assert set(marks) == {-1.0, -0.5, 0.0, 0.5}
        for z, place in marks.items():
            np.testing.assert_allclose(place, np.interp(norm.cdf(z), u, places))
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("$z_1$", "$z_2$")


def test_latent_plane_is_drawn_in_standard_deviations():
    (axis,) = figures.latent_plane(SQUARE, 2.0, ("first", "second")).axes
    shown, middles = cells(axis)
    np.testing.assert_array_equal(shown[5], np.clip(SQUARE[1, 1], 0, 1))
    left, bottom = middles[12]
    right, top = middles[3]
    for ruler, ends in ((axis.xaxis, (left, right)), (axis.yaxis, (bottom, top))):
        marks = ticks(ruler)
        assert [*marks] == [-2, -1, 0, 1, 2]
        np.testing.assert_allclose([*marks.values()], np.linspace(*ends, 5))
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("first", "second")


@pytest.mark.parametrize("images", [SQUARE, COLOUR], ids=["grey", "colour"])
def test_interpolations_stand_between_their_originals(images):
    originals, decoded = images[:3, :2], 1 - images[:3, :4]
    (axis,) = figures.interpolations(originals, decoded).axes
    shown, middles = cells(axis)
    assert len(shown) == 3 * 6
    for row in range(3):
        expected = [originals[row, 0], *decoded[row], originals[row, 1]]
        for column, image in enumerate(expected):
            np.testing.assert_array_equal(shown[6 * row + column], np.clip(image, 0, 1))
    steps = np.diff(middles[:6, 0])
    assert (steps > 0).all() and steps[0] == steps[4] > steps[1] == steps[2] == steps[3]
    assert [text.get_text() for text in axis.texts] == ["original", "decoded", "original"]
    headings = [text.get_position()[0] for text in axis.texts]
    np.testing.assert_allclose(headings, [middles[0, 0], middles[1:5, 0].mean(), middles[5, 0]])


BAD_SQUARES = {
    "one side longer": (SQUARE[:, :3], r"got shape \(4, 3, 5, 3\), takes \(side, side, H, W\)"),
    "one image": (SQUARE[:1, :1], r"got shape \(1, 1, 5, 3\), takes .*side >= 2"),
    "a row": (SQUARE[0], r"got shape \(4, 5, 3\)"),
    "four channels": (COLOUR[..., :1], r"got shape \(16, 5, 3, 1\)"),
    "NaN": (SQUARE * np.nan, "got NaN or inf"),
}


@pytest.mark.parametrize("case", BAD_SQUARES)
def test_images_that_are_no_square_raise(case):
    images, message = BAD_SQUARES[case]
    with pytest.raises(ValueError, match="^images: " + message):
        figures.latent_manifold(images, (0.1, 0.9))
    with pytest.raises(ValueError, match="^images: " + message):
        figures.latent_plane(images, 2.0, ("", ""))


@pytest.mark.parametrize(
    ("originals", "decoded", "message"),
    [
        (SQUARE[:, :3], SQUARE, r"^originals: got shape \(4, 3, 5, 3\), takes \(N, 2, H, W\)"),
        (IMAGES, SQUARE, rf"^originals: got shape \({N}, 5, 3\)"),
        (SQUARE[:, :2], SQUARE[:3], r"^decoded: got shape .*, takes \(4, steps, 5, 3\)"),
        (SQUARE[:, :2], COLOUR, r"^decoded: got shape"),
        (SQUARE[:, :2], SQUARE * np.inf, "^decoded: got NaN or inf"),
    ],
)
def test_interpolations_of_other_shapes_raise(originals, decoded, message):
    with pytest.raises(ValueError, match=message):
        figures.interpolations(originals, decoded)
