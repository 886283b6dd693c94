"""mask_pictures shows the masks of the left panel bit by bit and labels them."""

from itertools import pairwise

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb
from PIL import Image

from diptych import figures
from diptych.figures.sequences import DROPPED, KEPT, mask_pictures
from model_specs.common.effects import changed
from model_specs.common.key import Key
from model_specs.lstm import LSTMConfig
from model_specs.recurrent.dropout import SCHEMES, Masks
from model_specs.rnn import RNNConfig
from numpy_ref.lstm import LSTM
from numpy_ref.rnn import RNN

E, H, T, B, RATE = 5, 8, 11, 4, 0.3


def noises(layers=2, cell="rnn", **options):
    kind, model = {"rnn": (RNNConfig, RNN), "lstm": (LSTMConfig, LSTM)}[cell]
    width = {"rnn": "input_dim", "lstm": "embedding_dim"}[cell]
    sizes = {width: E, "hidden_dim": H, "num_layers": layers, "seq_len": T}
    sizes |= {"vocab_size": 6} if cell == "lstm" else {}
    config = kind(**sizes, **options, scheme="per_step", rate=RATE)
    return {
        scheme: model(changed(config, scheme=scheme)).draw_noise(Key(3), B) for scheme in SCHEMES
    }


@pytest.mark.parametrize("cell", ["rnn", "lstm"])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_mask_pictures_show_the_masks_of_the_model(cell, layers):
    """Each unit and step of the selected example is compared."""
    masks_by_scheme, example = noises(layers, cell), 2
    figure = mask_pictures(masks_by_scheme, layers, T, example)
    axes = np.reshape(figure.axes, (len(SCHEMES), 2 * layers + 1))
    for scheme, row in zip(SCHEMES, axes, strict=True):
        masks = masks_by_scheme[scheme]
        on_inputs = masks.inputs or (None,) * (layers + 1)
        on_hidden = masks.recurrent or (None,) * layers
        for axis, mask in zip(row, (*on_inputs, *on_hidden), strict=True):
            texts = [text.get_text() for text in axis.texts]
            assert len(axis.images) == (mask is not None)
            assert texts == (["never dropped"] if mask is None else [])
            if mask is None:
                continue
            (image,) = axis.images
            picture = image.get_array()
            assert picture.shape == (mask.shape[-1], T)
            for t in range(T):
                np.testing.assert_array_equal(picture[:, t], mask[t % len(mask), example])
            colors = image.cmap(image.norm(np.array([False, True])))
            assert [to_hex(color) for color in colors] == [DROPPED.lower(), KEPT.lower()]
            assert image.get_extent()[:2] == [0.5, T + 0.5] and image.origin == "lower"


def test_mask_pictures_label_schemes_and_connections(tmp_path):
    figure = mask_pictures(noises(), 2, T)
    axes = np.reshape(figure.axes, (len(SCHEMES), 5))
    assert [row[0].get_ylabel().replace("\n", "") for row in axes] == list(SCHEMES)
    assert [axis.get_title() for axis in axes[0]] == [
        f"into layer 0\n{E} units",
        f"layer 0 to 1\n{H} units",
        f"out of layer 1\n{H} units",
        f"h(t−1), layer 0\n{H} units",
        f"h(t−1), layer 1\n{H} units",
    ]
    assert [axis.get_xlabel() for axis in axes[-1]] == ["step"] * 5
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["kept", "dropped"]
    assert sum(to_rgb(KEPT)) > 2.5 and sum(to_rgb(DROPPED)) < 1
    figures.save(figure, tmp_path / "masks.png")
    with Image.open(tmp_path / "masks.png") as image:
        width, height = image.size
    for row in axes:
        box = row[0].yaxis.label.get_window_extent()
        assert box.x0 >= 0 and box.x1 < row[0].get_window_extent().x0
    for axis in axes[0]:
        box = axis.title.get_window_extent()
        assert box.y1 < height and box.x1 < width
    titles = [axis.title.get_window_extent() for axis in axes[0]]
    assert all(a.x1 < b.x0 for a, b in pairwise(titles))


MASK = np.ones((T, B, H), bool)


def test_mask_pictures_do_not_depend_on_rcparams(tmp_path):
    def pixels():
        figures.save(mask_pictures({"a": Masks(recurrent=(MASK,))}, 1, T), tmp_path / "masks.png")
        return (tmp_path / "masks.png").read_bytes()

    expected = pixels()
    style = dict.fromkeys(("axes.facecolor", "figure.facecolor"), "black")
    style |= dict.fromkeys(("text.color", "axes.labelcolor", "axes.titlecolor"), "red")
    with matplotlib.rc_context(style | {"image.origin": "upper", "image.cmap": "jet"}):
        assert pixels() == expected


BAD_MASKS = {
    "none": ({}, {}, "^noises: got none"),
    "layers": ({}, {"layers": 0}, "^layers: got 0"),
    "too few": ({"a": Masks(inputs=(MASK,))}, {}, r"^noises\['a'\].inputs: got 1, takes 3 or none"),
    "too many": ({"a": Masks(recurrent=(MASK,) * 3)}, {}, r"\.recurrent: got 3, takes 2 or none"),
    "steps": ({"a": Masks(recurrent=(MASK, MASK[1:]))}, {}, r"recurrent\[1\]: got shape \(10, 4"),
    "example": ({"a": Masks(recurrent=(MASK, MASK))}, {"example": B}, "^example: got 4, takes one"),
}


@pytest.mark.parametrize("case", BAD_MASKS)
def test_bad_masks_raise(case):
    masks, options, message = BAD_MASKS[case]
    with pytest.raises(ValueError, match=message):
        mask_pictures(masks, **{"layers": 2, "steps": T} | options)
