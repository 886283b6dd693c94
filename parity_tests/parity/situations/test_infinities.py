"""Infinities that are equal on both sides, and those that are not."""

import numpy as np
import pytest
import torch
from helpers.situations import draw, left, pair, right, situation, situations_of, with_buffers

X = draw(5, 4)
MASK = np.zeros((5, 4), bool)
MASK[::2, 1] = MASK[3, 2:] = True
INF = np.inf


def _fill(
    left_fill, right_fill=None, mask=MASK, right_mask=None, error=0.0, dtype=np.float64, **options
):
    """Masked logits; the left adds `error` to the valid ones."""
    right_mask = mask if right_mask is None else right_mask
    right_fill = left_fill if right_fill is None else right_fill

    def left_forward(self, x):
        y = np.where(mask, dtype(left_fill), x + dtype(error))
        return y, lambda dy: np.where(mask, dtype(0), dy)

    def right_forward(self, x):
        return x.masked_fill(torch.from_numpy(right_mask), right_fill)

    return pair(
        left(forward=left_forward), right(forward=right_forward), X.astype(dtype), **options
    )


@situation("2", agrees=[0.0], differs=[1e-6], first="forward")
def minus_infinity_on_both_sides(error):
    return _fill(-INF, error=error)


@situation("2", agrees=[0.0], differs=[1e-3], first="forward")
def float32_minus_infinity_on_both_sides(error):
    return _fill(-INF, error=error, dtype=np.float32)


@situation("2", agrees=["masked", "equal"], differs=["error"], first="forward")
def option_for_minus_infinity(infinities):
    return _fill(-INF, infinities=infinities)


@situation("2", agrees=["equal"], differs=["masked", "error"], first="forward")
def option_for_plus_infinity(infinities):
    return _fill(INF, infinities=infinities)


@situation("2", differs=["masked", "equal", "error"], first="forward")
def nan_on_both_sides(infinities):
    return _fill(np.nan, infinities=infinities)


@situation("2", differs=["masked", "equal"], first="forward")
def infinities_of_opposite_sign(infinities):
    return _fill(-INF, INF, infinities=infinities)


@situation("2", differs=["left", "right"], first="forward")
def infinity_beside_the_least_number(side):
    fills = (-INF, np.finfo(np.float64).min)
    return _fill(*(fills if side == "left" else fills[::-1]), infinities="equal")


@situation("2", differs=["masked", "equal"], first="forward")
def infinities_at_other_places(infinities):
    return _fill(-INF, right_mask=MASK[::-1].copy(), infinities=infinities)


@situation("2", differs=["masked", "equal"], first="forward")
def one_infinity_more_on_the_left(infinities):
    mask = MASK.copy()
    mask[0, 0] = True
    return _fill(-INF, mask=mask, right_mask=MASK, infinities=infinities)


@situation("2", agrees=["equal"], differs=["masked"], first="forward")
def tensor_of_infinities_only(infinities):
    return _fill(-INF, mask=np.ones((5, 4), bool), infinities=infinities)


@situation("2", differs=["equal"], first="forward")
def fault_beside_infinities_of_both_signs(infinities):
    return _fill(INF, error=1e-6, infinities=infinities)


@situation("2", refused=["none"], says="infinities")
def option_for_infinities_that_is_unknown(infinities):
    return _fill(-INF, infinities=infinities)


def _attention(factor=1.0, shift=0.0):
    """softmax of masked scores: the gradient through -inf is exactly 0."""

    def scores(self, x):
        return np.where(MASK, -INF, x), lambda dy: np.where(MASK, 0.0, dy)

    def left_forward(self, x):
        s, s_vjp = self.scores(x)
        e = np.exp(s - s.max(-1, keepdims=True))
        p = e / e.sum(-1, keepdims=True) + shift

        def vjp(dy):
            return factor * s_vjp(p * (dy - (p * dy).sum(-1, keepdims=True)))

        return p, vjp

    masked = right(forward=lambda self, x: x.masked_fill(torch.from_numpy(MASK), -INF))
    model = right(forward=lambda self, x: torch.softmax(self.scores(x), -1), scores=masked)
    return pair(left(forward=left_forward, scores=left(forward=scores)), model, X)


@situation("2", agrees=[1.0], differs=[1.001], first="forward(x)")
def gradient_through_minus_infinity(factor):
    return _attention(factor)


@situation("2", differs=[1e-9], first="forward")
def softmax_of_minus_infinity_with_a_fault(shift):
    return _attention(shift=shift)


@situation("2", agrees=[1.0], differs=[1.001], first="forward(x)")
def log_of_zero_with_its_gradient(factor):
    """log relu: -inf with a gradient of NaN or 0; here the left and the right set it to 0."""

    def left_forward(self, x):
        valid = x > 0
        with np.errstate(divide="ignore"):
            y = np.log(np.where(valid, x, 0.0))
        return y, lambda dy: np.where(valid, factor * dy / np.where(valid, x, 1.0), 0.0)

    def right_forward(self, x):
        zeros = torch.full_like(x, -INF)
        return torch.where(x > 0, torch.where(x > 0, x, torch.ones_like(x)).log(), zeros)

    return pair(left(forward=left_forward), right(forward=right_forward), X)


@situation("2", differs=["both"], says="NaN|inf")
def gradient_that_is_nan_on_both_sides(_):
    def left_forward(self, x):
        return np.abs(x), lambda dy: dy * np.nan

    def right_forward(self, x):
        y = x.abs()
        y.register_hook(lambda gradient: gradient * np.nan)
        return y

    return pair(left(forward=left_forward), right(forward=right_forward), X)


@situation("2", differs=["right", "left"], says="NaN")
def gradient_that_is_nan_on_one_side(side):
    """0 sqrt(0): the value is fine, its gradient is not."""

    def left_forward(self, x):
        a = x * 0.0
        return a, lambda dy: a * dy * (np.nan if side == "left" else 1.0)

    def right_forward(self, x):
        return (x * 0.0).abs().sqrt() * 0.0 if side == "right" else x * 0.0

    return pair(left(forward=left_forward), right(forward=right_forward), X)


@situation("2", agrees=[0.0], differs=[1e-6], first="forward")
def buffer_that_holds_minus_infinity(error):
    """A causal mask that is added to the scores, as a buffer of both sides."""
    causal = np.triu(np.full((4, 4), -INF), 1)

    def left_forward(self, x):
        return x + self.mask.data + error, lambda dy: np.where(np.isinf(causal), dy, dy)

    twins = left(forward=left_forward), right(forward=lambda self, x: x + self.mask)
    return pair(*(with_buffers(side, mask=causal) for side in twins), draw(4, 4))


@situation("2", agrees=["same"], differs=["other"], first="forward")
def input_that_holds_minus_infinity(kind):
    x = np.where(MASK, -INF, X)

    def left_forward(self, x):
        return np.exp(x) + (1e-6 if kind == "other" else 0), lambda dy: dy * np.exp(x)

    return pair(left(forward=left_forward), right(forward=lambda self, x: x.exp()), x)


@pytest.mark.parametrize("case", situations_of(__name__), ids=str)
def test_the_verdict_on_infinities(case):
    case.check()
