"""Without stride and padding, layers of both panels have those of torch: 1 and 0."""

import numpy as np
import pytest
import torch

from numpy_ref.nn import convolution as left
from numpy_ref.nn import weight_norm as left_wn
from torch_impl.nn import convolution as right
from torch_impl.nn import weight_norm as right_wn

LAYERS = [
    *((left.Conv2d, torch.nn.Conv2d), (right.Conv2d, torch.nn.Conv2d)),
    *((left_wn.WNConv2d, torch.nn.Conv2d), (right_wn.WNConv2d, torch.nn.Conv2d)),
    *((left.ConvTranspose2d, torch.nn.ConvTranspose2d),),
    *((right.ConvTranspose2d, torch.nn.ConvTranspose2d),),
    *((left_wn.WNConvTranspose2d, torch.nn.ConvTranspose2d),),
    *((right_wn.WNConvTranspose2d, torch.nn.ConvTranspose2d),),
]


@pytest.mark.parametrize(("make", "reference"), LAYERS)
@pytest.mark.parametrize("geometry", [{}, {"stride": 2}, {"padding": 1}, {"stride": (2, 3)}])
def test_the_output_has_the_size_that_torchs_layer_gives(make, reference, geometry):
    layer = make(2, 3, (4, 3), **geometry)
    x = np.zeros((5, 2, 7, 9))
    expected = reference(2, 3, (4, 3), **geometry, dtype=torch.float64)(torch.from_numpy(x)).shape
    for parameter in layer.parameters():
        parameter.data[...] = 1  # the layers come uninitialised
    if isinstance(layer, torch.nn.Module):
        assert layer(torch.from_numpy(x)).shape == expected
    else:
        assert layer(x)[0].shape == tuple(expected)
    assert layer.bias is not None


@pytest.mark.parametrize(("make", "reference"), LAYERS)
def test_a_layer_has_a_bias_by_default(make, reference):
    assert make(2, 3, 3, bias=False).bias is None
    assert make(2, 3, 3).bias.data.shape == (3,)
