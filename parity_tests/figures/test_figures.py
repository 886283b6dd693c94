"""Figures of image models: they show their arrays and do not depend on global settings."""

import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from helpers.figure_data import IMAGES, LABELS, MU, SQUARE, H, N, T, W, two_curves
from matplotlib.figure import Figure
from PIL import Image

from diptych import figures

DRAW = {
    "loss_curves": lambda: figures.loss_curves(two_curves()),
    "image_grid": lambda: figures.image_grid(IMAGES, 3),
    "reconstructions": lambda: figures.reconstructions(IMAGES, 1 - IMAGES),
    "latent_scatter": lambda: figures.latent_scatter(MU, LABELS),
    "latent_manifold": lambda: figures.latent_manifold(SQUARE, (0.1, 0.7)),
    "latent_plane": lambda: figures.latent_plane(SQUARE, 2.0, ("first", "second")),
    "interpolations": lambda: figures.interpolations(SQUARE[:, :2], SQUARE),
}


def pixels(figure, folder):
    figures.save(figure, folder / "figure.png")
    with Image.open(folder / "figure.png") as image:
        return np.asarray(image.convert("RGB"))


def differences(figure):
    """Return (differences drawn in the lower axis by term, positions of its ticks by label)."""
    axis = figure.axes[-1]
    ticks = {
        t.get_text(): y for t, y in zip(axis.get_yticklabels(), axis.get_yticks(), strict=True)
    }
    return {line.get_label().split(":")[0]: line.get_ydata() for line in axis.lines}, ticks


# The arrays that are drawn


@pytest.mark.parametrize("terms", [("total",), ("total", "recon", "kl"), tuple("abcdefghi")])
def test_loss_curves_draw_both_panels_term_by_term(terms):
    curves = two_curves(terms)
    figure = figures.loss_curves(curves)
    *upper, lower = figure.axes
    assert [axis.get_title(loc="left") for axis in upper] == list(terms)
    for axis, term in zip(upper, terms, strict=True):
        left, right = axis.lines
        np.testing.assert_array_equal(
            left.get_xydata().T, [curves["numpy"]["step"], curves["numpy"][term]]
        )
        np.testing.assert_array_equal(
            right.get_xydata().T, [curves["torch"]["step"], curves["torch"][term]]
        )
        assert (left.get_color(), right.get_color()) == (figures.LEFT, figures.RIGHT)
        assert left.get_linewidth() > 3 * right.get_linewidth()
        assert right.get_zorder() >= left.get_zorder() and right.is_dashed()
    assert len(lower.lines) == len(terms)
    assert lower.get_yscale() == "log"
    assert upper[0].get_ylabel() == "nats per example"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["NumPy", "PyTorch"]


def test_loss_curves_show_differences_zeros_and_infinities():
    curves = two_curves(("total", "kl"))
    left, right = curves["numpy"], curves["torch"]
    left["total"] = right["total"] * (1 + 1e-6)
    left["total"][:3] = right["total"][:3]
    left["kl"], right["kl"] = right["kl"].copy(), right["kl"].copy()
    left["kl"][:2], right["kl"][:2] = (0, 1), (0, 0)  # 0 against 0 is equal, 1 against 0 is not
    values, ticks = differences(figures.loss_curves(curves))
    np.testing.assert_allclose(values["total"][3:], 1e-6, rtol=1e-8)
    np.testing.assert_array_equal(values["total"][:3], ticks["0"])
    assert values["kl"][0] == ticks["0"]
    assert values["kl"][1] == ticks["∞"]
    assert ticks["0"] < 1e-6 < ticks["∞"]


@pytest.mark.parametrize("steps", [1, 2, T])
def test_equal_curves_are_labelled_equal(steps, tmp_path):
    curves = two_curves(("total",), steps)
    figure = figures.loss_curves({"numpy": curves["torch"], "torch": curves["torch"]})
    assert figure.axes[-1].lines[0].get_label() == "total: equal"
    values, ticks = differences(figure)
    np.testing.assert_array_equal(values["total"], ticks["0"])
    assert pixels(figure, tmp_path).std() > 0


@pytest.mark.parametrize("factor", [5e-324, 1e-300, 1e300])
def test_loss_curves_can_be_drawn_for_any_difference(factor, tmp_path):
    curves = two_curves(("total",))
    curves["torch"]["total"] = np.full(T, factor)
    pixels(figures.loss_curves(curves), tmp_path)


def test_a_single_step_is_visible():
    for line in figures.loss_curves(two_curves(steps=1)).axes[0].lines:
        assert line.get_marker() == "o"


@pytest.mark.parametrize("columns", [1, 3, 7, 20])
def test_image_grid_shows_each_pixel_as_a_square_of_dots(columns, tmp_path):
    figure = figures.image_grid(IMAGES, columns)
    (axis,) = figure.axes
    assert len(axis.images) == N
    picture = pixels(figure, tmp_path)[..., 0]
    columns, gap = min(columns, N), figures.GAP
    rows = -(-N // columns)
    cell = (np.array(picture.shape) - gap) // (rows, columns) - gap
    scale = cell // (H, W)
    assert (scale >= 1).all() and scale[0] == scale[1]
    for i, image in enumerate(IMAGES):
        np.testing.assert_array_equal(axis.images[i].get_array(), np.clip(image, 0, 1))
        y, x = np.array(divmod(i, columns)) * (cell + gap) + gap
        tile = picture[y : y + cell[0], x : x + cell[1]] / 255
        expected = np.kron(np.clip(image, 0, 1), np.ones(scale))
        np.testing.assert_allclose(tile, expected, atol=2 / 255)  # 256 grey values
    assert (picture[:gap] == 255).all() and (picture[:, -gap:] == 255).all()


def test_reconstructions_are_drawn_below_their_originals():
    (axis,) = figures.reconstructions(IMAGES, 1 - IMAGES).axes
    upper, lower = axis.images[:N], axis.images[N:]
    for i, (original, reconstruction) in enumerate(zip(upper, lower, strict=True)):
        np.testing.assert_array_equal(original.get_array(), np.clip(IMAGES[i], 0, 1))
        np.testing.assert_array_equal(reconstruction.get_array(), np.clip(1 - IMAGES[i], 0, 1))
        assert original.get_extent()[:2] == reconstruction.get_extent()[:2]
        assert original.get_extent()[2] < reconstruction.get_extent()[3]  # y grows downwards
    assert [text.get_text() for text in axis.texts] == ["original", "reconstruction"]


# Global settings and files


@pytest.mark.parametrize("name", DRAW)
def test_a_figure_neither_changes_nor_depends_on_rcparams(name, tmp_path):
    before = dict(matplotlib.rcParams)
    figure = DRAW[name]()
    assert isinstance(figure, Figure) and len(figure.axes) == (4 if name == "loss_curves" else 1)
    expected = pixels(figure, tmp_path)
    assert dict(matplotlib.rcParams) == before
    style = dict.fromkeys(("figure.facecolor", "axes.facecolor"), "black")
    style |= dict.fromkeys(("text.color", "axes.labelcolor", "axes.titlecolor"), "red")
    style |= dict.fromkeys(("axes.edgecolor", "xtick.color", "ytick.color", "grid.color"), "red")
    style |= {"image.origin": "lower", "image.cmap": "jet", "figure.dpi": 40, "font.size": 20}
    with matplotlib.rc_context(style):
        np.testing.assert_array_equal(pixels(DRAW[name](), tmp_path), expected)


def test_pyplot_is_never_imported(tmp_path):
    script = (
        "import sys, numpy as np\n"
        "from diptych import figures\n"
        f"figures.save(figures.image_grid(np.zeros((2, 3, 3)), 2), {str(tmp_path / 'a.png')!r})\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_save_is_deterministic_and_leaves_no_other_file(tmp_path):
    path = tmp_path / "new" / "grid.png"
    figures.save(figures.image_grid(IMAGES, 3), path)
    first = path.read_bytes()
    figures.save(figures.image_grid(IMAGES, 3), str(path))
    assert path.read_bytes() == first
    assert [file.name for file in path.parent.iterdir()] == ["grid.png"]
    with Image.open(path) as image:
        np.testing.assert_allclose(image.info["dpi"], 150, atol=0.1)
    with pytest.raises(ValueError, match=r"path: got .*grid\.pdf"):
        figures.save(figures.image_grid(IMAGES, 3), tmp_path / "grid.pdf")
