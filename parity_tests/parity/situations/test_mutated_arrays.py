"""Sides that edit arrays which they do not own: the batch, a cotangent, a state, a workspace."""

import numpy as np
import pytest
import torch
from helpers.situations import draw, left, pair, right, situation, situations_of, with_buffers

X, W = draw(5, 4), draw(3, 4)


@situation("1", agrees=[True], differs=[False], first="forward")
def right_root_edits_its_batch(is_centred):
    def left_forward(self, x):
        def centre(a):
            return a - a.mean(0) if is_centred else a

        return 2 * centre(x), lambda dy: 2 * centre(dy)

    def right_forward(self, x):
        x -= x.mean(0)
        return 2 * x

    return pair(left(forward=left_forward), right(forward=right_forward), X)


@situation("1", agrees=["centred"], differs=["raw"], first="forward")
def left_root_edits_its_batch(model):
    def left_forward(self, x):
        x -= x.mean(0)
        return x**2, lambda dy: 2 * dy * x - (2 * dy * x).mean(0)

    def right_forward(self, x):
        return ((x - x.mean(0)) if model == "centred" else x) ** 2

    return pair(left(forward=left_forward), right(forward=right_forward), X)


@situation("1", agrees=["both"], differs=["left", "right"], first="loss.total")
def loss_that_edits_its_batch(side):
    def left_loss(self, x):
        if side in ("left", "both"):
            x -= x.mean(0)
        y = x @ self.w.data

        def backward():
            self.w.grad += x.T @ (2 * y)

        return {"total": (y**2).sum()}, backward

    def right_loss(self, x):
        if side in ("right", "both"):
            x -= x.mean(0)
        return {"total": ((x @ self.w) ** 2).sum()}

    return pair(left(loss=left_loss, w=draw(4)), right(loss=right_loss, w=draw(4)), X)


@situation("1", agrees=["edit"], differs=["copy"])
def left_child_edits_the_array_of_its_parent(model):
    def child(self, h):
        h += 1.0
        return h**2, lambda dy: 2 * dy * h

    def left_forward(self, x):
        h = 3 * x
        y, vjp = self.child(h)
        return y + h, lambda dy: 3 * (vjp(dy) + dy)  # h holds 3 x + 1 here

    def right_forward(self, x):
        h = 3 * x
        return self.child(h) + h + (1.0 if model == "edit" else 0.0)

    child_right = right(forward=lambda self, h: (h + 1) ** 2)
    return pair(
        left(forward=left_forward, child=left(forward=child)),
        right(forward=right_forward, child=child_right),
        X,
    )


@situation("1", agrees=["copy"], differs=["edit"], first="forward(x)")
def left_vjp_of_a_child_edits_its_cotangent(model):
    """The parent adds the cotangent to what the vjp returns, and the vjp has doubled it."""

    def child(self, x):
        def vjp(dy):
            if model == "copy":
                return 2 * dy
            dy *= 2
            return dy

        return 2 * x, vjp

    def left_forward(self, x):
        y, vjp = self.child(x)
        return x + y, lambda dy: dy + vjp(dy)

    return pair(
        left(forward=left_forward, child=left(forward=child)),
        right(
            forward=lambda self, x: x + self.child(x),
            child=right(forward=lambda self, x: 2 * x),
        ),
        X,
    )


@situation("1", agrees=["before"], differs=["after"])
def left_keeps_its_input_and_reads_it_after_an_edit(moment):
    """The square keeps a reference to h. An edit of h between forward and vjp changes its vjp."""

    def left_forward(self, x):
        h = x + 0.0
        y, vjp = self.square(h)
        if moment == "before":
            h = h + 1.0
        else:
            h += 1.0
        return y + h, lambda dy: vjp(dy) + dy

    square = left(forward=lambda self, h: (h**2, lambda dy: 2 * dy * h))
    return pair(
        left(forward=left_forward, square=square),
        right(
            forward=lambda self, x: self.square(x) + x + 1,
            square=right(forward=lambda self, h: h**2),
        ),
        X,
    )


@situation("1", agrees=[1], differs=[2], first="total")
def buffer_that_a_forward_edits(step):
    def left_forward(self, x):
        self.total.data += step * x.sum(0)
        return 2 * x, lambda dy: 2 * dy

    def right_forward(self, x):
        with torch.no_grad():
            self.total += x.sum(0)
        return 2 * x

    twins = left(forward=left_forward), right(forward=right_forward)
    return pair(*(with_buffers(side, total=np.zeros(4)) for side in twins), X)


@situation("hostile", agrees=["copies"], differs=["one workspace"])
def left_child_that_writes_into_a_workspace(kind):
    """The second call overwrites the result of the first one, which the parent still needs."""

    def child(self, x):
        out = np.empty_like(x) if kind == "copies" else self.workspace
        np.multiply(x, 2.0, out=out)
        return out, lambda dy: 2 * dy

    def left_forward(self, x):
        a, a_vjp = self.child(x)
        b, b_vjp = self.child(x + 1)
        return a + 3 * b, lambda dy: a_vjp(dy) + b_vjp(3 * dy)

    inner = left(forward=child)
    inner.__dict__["workspace"] = np.empty((5, 4))
    model = right(
        forward=lambda self, x: self.child(x) + 3 * self.child(x + 1),
        child=right(forward=lambda self, x: 2 * x),
    )
    return pair(left(forward=left_forward, child=inner), model, X)


@situation("hostile", agrees=["read"], differs=["write"], first="forward(x)")
def vjp_that_writes_into_its_input(kind):
    """The child's vjp uses x as scratch memory, and the parent's vjp reads x after it."""

    def child(self, x):
        def vjp(dy):
            dx = 2 * x * dy
            if kind == "write":
                x[...] = 0
            return dx

        return x**2, vjp

    def left_forward(self, x):
        h = x + 0.0
        y, vjp = self.child(h)
        return y + h**3, lambda dy: vjp(dy) + 3 * h**2 * dy

    model = right(
        forward=lambda self, x: self.child(x) + x**3, child=right(forward=lambda self, x: x**2)
    )
    return pair(left(forward=left_forward, child=left(forward=child)), model, X)


@situation("hostile", agrees=["both"], differs=["right"], first="mean")
def buffer_that_is_updated_on_one_side(kind):
    """The output does not depend on the running mean, but the next evaluation will."""

    def left_forward(self, x):
        if kind == "both":
            self.mean.data[...] = 0.9 * self.mean.data + 0.1 * x.mean(0)
        return 2 * x, lambda dy: 2 * dy

    def right_forward(self, x):
        self.mean.mul_(0.9).add_(0.1 * x.detach().mean(0))
        return 2 * x

    twins = left(forward=left_forward), right(forward=right_forward)
    return pair(*(with_buffers(side, mean=draw(4)) for side in twins), X)


@situation("hostile", agrees=["both"], differs=["left", "right"], says=r"(^|[\s:])(w|forward)")
def parameter_that_is_clipped_inside_a_forward(kind):
    def left_forward(self, x):
        if kind != "right":
            np.clip(self.w.data, -0.5, 0.5, out=self.w.data)

        def vjp(dy):
            self.w.grad += dy.T @ x
            return dy @ self.w.data

        return x @ self.w.data.T, vjp

    def right_forward(self, x):
        if kind != "left":
            with torch.no_grad():
                self.w.clamp_(-0.5, 0.5)
        return x @ self.w.T

    return pair(left(forward=left_forward, w=W), right(forward=right_forward, w=W), X)


@pytest.mark.parametrize("case", situations_of(__name__), ids=str)
def test_the_verdict_on_edited_arrays(case):
    case.check()
