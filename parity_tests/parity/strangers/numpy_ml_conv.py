"""A convolution over NHWC images in the manner of numpy-ml's `Conv2D`, against torch's Conv2d."""

import numpy as np
from torch import nn

from diptych import parity


def im2col(X, fr, fc, stride):
    """X (n_ex, rows, cols, ch), already padded -> (n_ex, out_rows, out_cols, fr * fc * ch)"""
    n_ex, rows, cols, _ = X.shape
    out_rows, out_cols = (rows - fr) // stride + 1, (cols - fc) // stride + 1
    columns = [
        X[:, i * stride : i * stride + fr, j * stride : j * stride + fc].reshape(n_ex, -1)
        for i in range(out_rows)
        for j in range(out_cols)
    ]
    return np.stack(columns, axis=1).reshape(n_ex, out_rows, out_cols, -1)


def col2im(dcol, shape, fr, fc, stride):
    """The adjoint of im2col: overlapping windows add up."""
    dX = np.zeros(shape)
    for i in range(dcol.shape[1]):
        for j in range(dcol.shape[2]):
            window = dcol[:, i, j].reshape(shape[0], fr, fc, shape[3])
            dX[:, i * stride : i * stride + fr, j * stride : j * stride + fc] += window
    return dX


class Conv2D:
    """X (n_ex, rows, cols, in_ch), W (fr, fc, in_ch, out_ch), b (1, 1, 1, out_ch) -> NHWC"""

    def __init__(self, out_ch, kernel_shape, pad, stride):
        self.out_ch, self.kernel_shape, self.pad, self.stride = out_ch, kernel_shape, pad, stride
        self.parameters, self.gradients = {"W": None, "b": None}, {}

    def forward(self, X):
        W, b = self.parameters["W"], self.parameters["b"]
        p = self.pad
        X_pad = np.pad(X, ((0, 0), (p, p), (p, p), (0, 0)))
        self.X_pad_shape = X_pad.shape
        self.X_col = im2col(X_pad, *self.kernel_shape, self.stride)
        return self.X_col @ W.reshape(-1, self.out_ch) + b

    def backward(self, dLdY):
        W, p = self.parameters["W"], self.pad
        self.gradients["W"] = np.einsum("nijk,nijo->ko", self.X_col, dLdY).reshape(W.shape)
        self.gradients["b"] = dLdY.sum(axis=(0, 1, 2), keepdims=True)
        dX_col = dLdY @ W.reshape(-1, self.out_ch).T
        dX_pad = col2im(dX_col, self.X_pad_shape, *self.kernel_shape, self.stride)
        return dX_pad[:, p:-p, p:-p]


rng = np.random.default_rng(8)
X = rng.normal(size=(2, 7, 8, 3))
params = {"W": rng.normal(size=(3, 2, 3, 4)), "b": rng.normal(size=(1, 1, 1, 4))}


def compare():
    # adapter
    left, right = Conv2D(4, (3, 2), pad=1, stride=2), nn.Conv2d(3, 4, (3, 2), 2, 1).double()
    layout = {"W": "h w i o -> o i h w", "b": "1 1 1 o -> o", "*put": "n h w c -> n c h w"}
    options = {"names": {"W": "weight", "b": "bias"}, "layout": layout, "style": "layer"}
    return parity.compare_functions(left, right, [X], params, **options)
    # end of adapter
