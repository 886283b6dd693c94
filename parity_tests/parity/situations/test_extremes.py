"""One huge element must not hide the rest of its tensor, and rounding is no fault."""

import numpy as np
import pytest
import torch
from helpers.situations import draw, left, pair, right, situation, situations_of, with_buffers

SHAPE = 6, 5
MASK = np.zeros(SHAPE, bool)
MASK[::2, 1] = MASK[3, 4] = True
X = draw(*SHAPE)
DOUBLE, SINGLE = np.finfo(np.float64), np.finfo(np.float32)


def _masked(fill, error, mask=MASK, x=X, dtype=np.float64):
    """Masked logits; the left adds `error` to the valid ones."""
    error = np.asarray(error, dtype)

    def left_forward(self, x):
        return np.where(mask, dtype(fill), x + error), lambda dy: np.where(mask, dtype(0), dy)

    def right_forward(self, x):
        return x.masked_fill(torch.from_numpy(mask), float(fill))

    return pair(left(forward=left_forward), right(forward=right_forward), x.astype(dtype))


@situation("1", agrees=[0.0], differs=[1e-5, -1e-5], first="forward")
def logits_masked_by_minus_1e9(error):
    return _masked(-1e9, error)


@situation("1", agrees=[0.0], differs=[1e-5], first="forward")
def logits_masked_by_plus_1e30(error):
    return _masked(1e30, error)


@situation("1", agrees=[0.0], differs=[1.0, 1e-3], first="forward")
def logits_masked_by_the_least_float64(error):
    return _masked(DOUBLE.min, error)


@situation("1", agrees=[0.0], differs=[1e-3, 1e-2], first="forward")
def float32_logits_masked_by_minus_1e4(error):
    return _masked(-1e4, error, dtype=np.float32)


@situation("1", agrees=[0.0], differs=[1.0, 1e-3], first="forward")
def float32_logits_masked_by_the_least_float32(error):
    return _masked(SINGLE.min, error, dtype=np.float32)


@situation("1", agrees=[0.0], differs=[1e-5], first="forward")
def logits_of_which_one_is_valid(error):
    mask = np.ones(SHAPE, bool)
    mask[2, 3] = False
    return _masked(-1e9, error, mask)


@situation("1", agrees=[0.0], differs=[1e-5], first="forward")
def logits_of_which_one_row_is_masked(error):
    mask = np.zeros(SHAPE, bool)
    mask[1] = True
    return _masked(-1e9, error, mask)


@situation("1", agrees=[0.0], differs=[1e-4], first="forward")
def masked_logits_beside_zeros(error):
    return _masked(-1e9, error, x=np.zeros(SHAPE))


@situation("1", agrees=[0.0], differs=[1e-5], first="forward")
def one_wrong_element_beside_a_mask(error):
    single = np.zeros(SHAPE)
    single[4, 2] = error
    return _masked(-1e9, single)


@situation("1", agrees=[0.0], differs=[1e-5], first="forward")
def masked_logits_of_four_axes(error):
    """Attention scores (N, H, T, T) with a causal mask."""
    mask = ~np.tril(np.ones((4, 4), bool))
    return _masked(DOUBLE.min, error, np.broadcast_to(mask, (2, 3, 4, 4)).copy(), draw(2, 3, 4, 4))


def _scaled(scale, error, gradient_error=0.0, dtype=np.float64):
    """y = scale x; the left's output, or its gradient, is wrong by an additive error."""
    scale = np.asarray(scale, dtype)

    def left_forward(self, x):
        return scale * x + dtype(error), lambda dy: scale * dy + dtype(gradient_error)

    factor = torch.from_numpy(scale)
    model = right(forward=lambda self, x: factor * x)
    return pair(left(forward=left_forward), model, X.astype(dtype))


@situation("1", agrees=[0.0], differs=[1e-5], first="forward")
def column_that_is_larger_than_the_others(error):
    """The extremes are no constant: they are the values of one feature."""
    return _scaled([1e10, 1.0, 1.0, 2.0, 1.0], error)


@situation("1", agrees=[0.0], differs=[1e-5], first="forward")
def row_that_is_larger_than_the_others(error):
    return _scaled(np.array([[1e10], [1], [1], [1], [2], [1]]), error)


@situation("1", agrees=[0.0], differs=[1e-5], first="forward(x)")
def gradient_with_a_large_column(error):
    return _scaled([1e11, 1.0, 1.0, 2.0, 1.0], 0.0, error)


@situation("1", agrees=[0.0], differs=[1e-2], first="forward(x)")
def float32_gradient_with_a_large_column(error):
    return _scaled([1e7, 1.0, 1.0, 2.0, 1.0], 0.0, error, np.float32)


@situation("1", agrees=[0.0], differs=[1e-5], first="w")
def parameter_gradient_with_one_huge_element(error):
    scale = np.array([1e12, 1, 1, 1, 1])

    def left_forward(self, x):
        def vjp(dy):
            self.w.grad += (dy * scale * x).sum(0) + error * (scale == 1)
            return dy * scale * self.w.data

        return scale * x * self.w.data, vjp

    factor = torch.from_numpy(scale)
    model = right(forward=lambda self, x: factor * x * self.w, w=draw(5))
    return pair(left(forward=left_forward, w=draw(5)), model, X)


@situation("1", agrees=[0.0], differs=[1e-5], first="mean")
def buffer_with_one_huge_element(error):
    start = np.array([-1e9, 1.0, 2.0])

    def left_forward(self, x):
        self.mean.data[1:] += 1.0 + error
        return 2 * x, lambda dy: 2 * dy

    def right_forward(self, x):
        self.mean[1:] += 1.0
        return 2 * x

    twins = left(forward=left_forward), right(forward=right_forward)
    return pair(*(with_buffers(side, mean=start) for side in twins), X)


@situation("1", agrees=[0.0], differs=[1e-6], first="forward")
def tensor_of_tiny_numbers_beside_one(error):
    """Everything but one element is of order 1e-6, and off by its own size."""
    return _scaled([1e6, 1e-6, 1e-6, 1e-6, 1e-6], error)


# Rounding that is no fault


def _linear(weight, x):
    """x Wᵀ, summed in another order on each side."""

    def left_forward(self, x):
        y = sum(x[:, i : i + 1] * self.w.data[:, i] for i in reversed(range(x.shape[1])))

        def vjp(dy):
            self.w.grad += dy.T @ x
            return dy @ self.w.data

        return y, vjp

    model = right(forward=lambda self, x: x @ self.w.T, w=weight)
    return pair(left(forward=left_forward, w=weight), model, x)


@situation("1", agrees=["1e3", "1e6"])
def sum_in_which_large_terms_cancel(size):
    """The first output is a small difference of large terms, the second one is ordinary."""
    weight = draw(2, 4)
    weight[0] = [float(size), -float(size), 1.0, 0.5]
    x = draw(6, 4)
    x[:, 1] = x[:, 0]
    return _linear(weight, x)


@situation("1", agrees=["1e-3", "1e3", "1e8"])
def features_of_several_scales(size):
    return _linear(draw(3, 4) * np.array([1.0, float(size), 1.0, 1.0]), draw(6, 4))


@situation("1", agrees=["1e-12", "1e12"])
def rows_of_several_scales(size):
    return _linear(draw(3, 4) * np.array([[1.0], [float(size)], [1.0]]), draw(6, 4))


@situation("1", agrees=[30.0, 700.0, 740.0])
def softmax_with_tiny_probabilities(span):
    def left_forward(self, x):
        e = np.exp(x - x.max(-1, keepdims=True))
        p = e / e.sum(-1, keepdims=True)
        return p, lambda dy: p * (dy - (p * dy).sum(-1, keepdims=True))

    model = right(forward=lambda self, x: torch.softmax(x, -1))
    return pair(left(forward=left_forward), model, np.linspace(0, -span, 35).reshape(7, 5).T.copy())


@situation("1", agrees=["layer norm"])
def row_with_an_outlier(name):
    """The outlier of a row leaves little of its other elements after a normalisation."""
    x = draw(6, 8)
    x[2, 3] = 1e6

    def left_forward(self, x):
        n = x - x.mean(-1, keepdims=True)
        s = np.sqrt((n**2).mean(-1, keepdims=True))
        n = n / s

        def vjp(dy):
            means = dy.mean(-1, keepdims=True), (dy * n).mean(-1, keepdims=True)
            return (dy - means[0] - n * means[1]) / s

        return n, vjp

    model = right(forward=lambda self, x: torch.nn.functional.layer_norm(x, (8,), eps=0.0))
    return pair(left(forward=left_forward), model, x)


@pytest.mark.parametrize("case", situations_of(__name__), ids=str)
def test_the_verdict_on_tensors_of_unequal_elements(case):
    case.check()
