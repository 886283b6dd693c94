"""Small pairs of models to which a situation adds hooks."""

from __future__ import annotations

from helpers.situations import left, right


def scaled_root(factor, gradient_factor=None):
    """The left root y = 3 factor x, whose gradient may have a factor of its own."""
    slope = factor if gradient_factor is None else gradient_factor
    return left(forward=lambda self, x: (3 * factor * x, lambda dy: 3 * slope * dy))


def triple_root():
    return right(forward=lambda self, x: 3 * x)


def roots_with_child(factor=1.0, gradient_factor=None, shift=0.0):
    """Two pairs of roots y = 2 child(x + shift), child y = factor x."""
    slope = factor if gradient_factor is None else gradient_factor

    def left_forward(self, x):
        y, vjp = self.child(x)
        return 2 * y, lambda dy: vjp(2 * dy)

    child = left(forward=lambda self, x: (factor * (x + shift), lambda dy: slope * dy))
    right_child = right(forward=lambda self, x: 1.0 * x)
    root = right(forward=lambda self, x: 2 * self.child(x), child=right_child)
    return left(forward=left_forward, child=child), root
