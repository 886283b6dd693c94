"""Layouts rearrange the axes of arrays of both frameworks, in both directions."""

import numpy as np
import pytest
import torch

from diptych.options.layouts import Layout


@pytest.mark.parametrize(
    ("text", "left", "right"),
    [
        ("i o -> o i", (2, 3), (3, 2)),
        ("io->oi", (2, 3), (3, 2)),
        ("io -> oi", (2, 3), (3, 2)),
        ("nhwc->nchw", (2, 3, 4, 5), (2, 5, 3, 4)),
        ("(h d) i -> h d i, h=4", (12, 5), (4, 3, 5)),
        ("(hd)i->hdi,h=4", (12, 5), (4, 3, 5)),
        ("h d i -> i (h d), h=4", (4, 3, 5), (5, 12)),
        ("(gate unit) i -> unit i gate, gate = 4", (8, 3), (2, 3, 4)),
        ("1 o -> o", (1, 3), (3,)),
        ("i o -> o i 1 1", (2, 3), (3, 2, 1, 1)),
        ("... i o -> ... o i", (4, 5, 2, 3), (4, 5, 3, 2)),
        ("...io->...oi", (4, 2, 3), (4, 3, 2)),
        ("time batch ... -> batch time ...", (2, 3, 4), (3, 2, 4)),
    ],
)
def test_a_layout_and_its_inverse(rng, text, left, right):
    layout, array = Layout(text), rng.normal(size=left)
    rearranged = layout.to_right(array)
    assert rearranged.shape == right
    np.testing.assert_array_equal(layout.to_left(rearranged), array)
    tensor = layout.to_right(torch.from_numpy(array))
    np.testing.assert_array_equal(tensor.numpy(), rearranged)


def test_a_transpose_is_numpys_transpose(rng):
    array = rng.normal(size=(2, 3))
    np.testing.assert_array_equal(Layout("io->oi").to_right(array), array.T)


@pytest.mark.parametrize(
    ("text", "shape", "message"),
    [
        ("i o -> o i", (2, 3, 4), r'got shape \(2, 3, 4\), takes the axes "i o"'),
        ("i o -> o i", (2,), r'got shape \(2,\), takes the axes "i o"'),
        ("(h d) i -> h d i, h=4", (10, 3), r'got shape \(10, 3\), takes .*"\(h d\) i", h=4'),
        ("1 o -> o", (2, 3), r'got shape \(2, 3\), takes the axes "1 o"'),
    ],
)
def test_an_array_of_another_shape_is_one_error(text, shape, message):
    with pytest.raises(ValueError, match=message):
        Layout(text).to_right(np.zeros(shape))
