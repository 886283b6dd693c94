"""Points of a latent space at which a picture of it is decoded, and its principal components.

Shapes: N codes of Z dimensions.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import norm

QUANTILES = (0.01, 0.99)
"""The range of the unit square over which the codes of a prior N(0, I) are laid out."""
REACH = 2.0
"""Standard deviations on either side of the mean that a plane of codes extends to."""


class Components(NamedTuple):
    """The first K principal components of codes."""

    mean: np.ndarray
    """The mean of the codes (Z)."""
    axes: np.ndarray
    """Orthonormal directions (K, Z), the one of largest variance first."""
    deviations: np.ndarray
    """The standard deviation of the codes along each axis (K)."""
    shares: np.ndarray
    """The share of the codes' total variance along each axis (K), at most 1 in sum."""

    def scores(self, codes: np.ndarray) -> np.ndarray:
        """The coordinates of codes along the axes, (code - mean) . axis.   (N, Z) -> (N, K)"""
        return (codes - self.mean) @ self.axes.T


def principal_components(codes: np.ndarray, count: int = 2) -> Components:
    """The `count` first principal components of codes (N, Z), by their singular values s.

        codes - mean = U diag(s) axes
        deviation_k = s_k / sqrt(N - 1);   share_k = s_k^2 / sum_j s_j^2

    The sign of an axis is arbitrary: its entry of largest magnitude is made positive. Where all
    codes are equal, every share is 0.
    Raises: ValueError for fewer than 2 or `count` codes, or fewer than `count` dimensions.
    Source: Pearson (1901); Hotelling (1933).

    >>> components = principal_components(np.array([[0.0, 1.0], [0.0, 3.0], [0.0, 5.0]]))
    >>> components.axes[0], components.deviations
    (array([0., 1.]), array([2., 0.]))
    """
    least = max(2, count)
    if codes.ndim != 2 or len(codes) < least or codes.shape[1] < count:
        raise ValueError(f"codes: got shape {codes.shape}, takes (N >= {least}, Z >= {count})")
    mean = codes.mean(0)
    _, s, axes = np.linalg.svd(codes - mean, full_matrices=False)
    axes = axes[:count]
    largest = np.take_along_axis(axes, np.abs(axes).argmax(1)[:, None], 1)
    deviations = s[:count] / np.sqrt(len(codes) - 1)
    shares = np.square(s[:count]) / (np.square(s).sum() or 1.0)
    return Components(mean, axes * np.sign(largest), deviations, shares)


def quantile_grid(side: int, quantiles: tuple[float, float] = QUANTILES) -> np.ndarray:
    """z = Phi^-1(u), u equally spaced over `quantiles` in both dimensions.   -> (side, side, 2)

    Row by row from the top: z_1 grows from left to right, z_2 from bottom to top. Equal steps in u
    hold equal mass of the prior N(0, I).
    Raises: ValueError for a side below 2, or quantiles not 0 < low < high < 1.
    Source: Kingma & Welling (2013), appendix A and figure 4.

    >>> quantile_grid(3, (0.25, 0.75))[0].round(2)
    array([[-0.67,  0.67],
           [ 0.  ,  0.67],
           [ 0.67,  0.67]])
    """
    low, high = quantiles
    if not 0 < low < high < 1:
        raise ValueError(f"quantiles: got {quantiles}, takes 0 < low < high < 1")
    return _square(norm.ppf(np.linspace(low, high, _check_side(side))))


def plane(components: Components, side: int, reach: float = REACH) -> np.ndarray:
    """Codes mean + sum_k t_k deviation_k axis_k, t equally spaced over [-reach, reach].

    Row by row from the top: t_1 grows from left to right, t_2 from bottom to top.
    Shapes: two components -> (side, side, Z).
    """
    t = _square(np.linspace(-reach, reach, _check_side(side)))
    return components.mean + (t * components.deviations) @ components.axes


def lines(start: np.ndarray, end: np.ndarray, steps: int) -> np.ndarray:
    """(1 - t) start + t end, t equally spaced over [0, 1]: both ends are met exactly.

    Shapes: start, end (N, Z) -> (N, steps, Z).
    Where we differ from White (2016), "Sampling generative networks", arXiv 1609.04468, who
    interpolates on a sphere: his ends are draws of a prior N(0, I), whose norms are nearly equal in
    many dimensions. Ours are means of q(z|x), whose norms differ and need not be those of draws of
    the prior, which may be a flow, or not exist.
    Raises: ValueError for fewer than 2 steps.

    >>> lines(np.array([[0.0, 1.0]]), np.array([[4.0, 1.0]]), 3)
    array([[[0., 1.],
            [2., 1.],
            [4., 1.]]])
    """
    if steps < 2:
        raise ValueError(f"steps: got {steps}, takes 2 or more")
    t = np.linspace(0, 1, steps)[:, None]
    return (1 - t) * start[:, None] + t * end[:, None]


def _square(values: np.ndarray) -> np.ndarray:
    return np.stack(np.meshgrid(values, values[::-1]), axis=-1)


def _check_side(side: int) -> int:
    if side < 2:
        raise ValueError(f"side: got {side}, takes 2 or more")
    return side
