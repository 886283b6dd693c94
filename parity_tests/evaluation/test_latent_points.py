"""The points at which pictures of a latent space are decoded, and principal components."""

from statistics import NormalDist

import numpy as np
import pytest

from diptych.evaluation import latents
from diptych.parity.measures.rows import normwise

RNG = np.random.default_rng(4)
CODES = RNG.normal(size=(40, 6)) @ RNG.normal(size=(6, 6)) + 3


def test_the_grid_holds_quantiles_of_the_normal_distribution():
    """Python's own inverse of the distribution function is another than scipy's."""
    z = latents.quantile_grid(5, (0.1, 0.8))
    u = [0.1, 0.275, 0.45, 0.625, 0.8]
    for row, column in np.ndindex(5, 5):
        expected = [NormalDist().inv_cdf(u[column]), NormalDist().inv_cdf(u[4 - row])]
        np.testing.assert_allclose(z[row, column], expected, rtol=1e-13)


def test_the_grid_reaches_from_1_to_99_per_cent_by_default():
    z = latents.quantile_grid(3)
    np.testing.assert_allclose(z[0, -1], NormalDist().inv_cdf(0.99), rtol=1e-13)  # top right
    np.testing.assert_allclose(z[-1, 0], NormalDist().inv_cdf(0.01), rtol=1e-13)
    np.testing.assert_allclose(z[1, 1], 0, atol=1e-15)


def test_components_are_eigenvectors_of_the_covariance():
    components = latents.principal_components(CODES, 3)
    variances, vectors = np.linalg.eigh(np.cov(CODES.T))
    variances, vectors = variances[::-1], vectors.T[::-1]
    np.testing.assert_allclose(components.deviations**2, variances[:3], rtol=1e-12)
    np.testing.assert_allclose(components.shares, variances[:3] / variances.sum(), rtol=1e-12)
    assert normwise(np.abs(components.axes @ vectors.T), np.eye(6)[:3]) <= 1e-12
    assert normwise(components.mean, np.mean(CODES, axis=0)) <= 1e-15
    scores = components.scores(CODES)
    np.testing.assert_allclose(np.cov(scores.T), np.diag(variances[:3]), atol=1e-12)
    largest = np.abs(components.axes).argmax(1)
    assert (components.axes[np.arange(3), largest] > 0).all()


def test_components_of_codes_on_a_plane_are_exact():
    """Codes m + a p + b q with orthonormal p, q: the plane holds all of their variance."""
    p, q = np.array([0.0, 0.6, 0.8, 0.0]), np.array([0.0, -0.8, 0.6, 0.0])
    a, b = np.array([-4.0, 4.0, -4.0, 4.0]), np.array([-1.0, -1.0, 1.0, 1.0])
    mean = np.array([1.0, 2.0, 3.0, 4.0])
    components = latents.principal_components(mean + a[:, None] * p + b[:, None] * q)
    np.testing.assert_allclose(components.axes, [p, -q], atol=1e-15)
    np.testing.assert_allclose(components.mean, mean)
    np.testing.assert_allclose(components.deviations, np.sqrt([64 / 3, 4 / 3]))
    np.testing.assert_allclose(components.shares, [16 / 17, 1 / 17])


def test_equal_codes_have_no_variance():
    components = latents.principal_components(np.ones((5, 3)))
    assert not components.deviations.any() and not components.shares.any()
    np.testing.assert_array_equal(latents.plane(components, 2), np.ones((2, 2, 3)))


def test_the_plane_reaches_two_standard_deviations_along_each_component():
    components = latents.principal_components(CODES)
    plane = latents.plane(components, 5)
    assert plane.shape == (5, 5, 6)
    units = components.scores(plane.reshape(-1, 6)).reshape(5, 5, 2) / components.deviations
    for row, column in np.ndindex(5, 5):
        np.testing.assert_allclose(units[row, column], [column - 2, 2 - row], atol=1e-12)
    centred = plane - components.mean
    assert normwise(centred @ components.axes.T @ components.axes, centred) <= 1e-13
    np.testing.assert_allclose(plane[2, 2], CODES.mean(0))


def test_lines_meet_both_ends_exactly_in_equal_steps():
    start, end = CODES[:7], CODES[7:14]
    lines = latents.lines(start, end, 4)
    assert lines.shape == (7, 4, 6)
    np.testing.assert_array_equal(lines[:, 0], start)
    np.testing.assert_array_equal(lines[:, -1], end)
    for step in range(3):
        assert normwise(lines[:, step + 1] - lines[:, step], (end - start) / 3) <= 1e-14


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: latents.quantile_grid(1), "side: got 1, takes 2 or more"),
        (lambda: latents.quantile_grid(3, (0.0, 0.9)), "quantiles: got"),
        (lambda: latents.quantile_grid(3, (0.9, 0.1)), "quantiles: got"),
        (lambda: latents.plane(latents.principal_components(CODES), 1), "side: got 1"),
        (lambda: latents.lines(CODES, CODES, 1), "steps: got 1, takes 2 or more"),
        (lambda: latents.principal_components(CODES[:1]), r"codes: got shape \(1, 6\), takes"),
        (lambda: latents.principal_components(CODES[:, :1]), r"codes: got shape \(40, 1\)"),
        (lambda: latents.principal_components(CODES[0]), r"codes: got shape \(6,\)"),
    ],
)
def test_bad_arguments_raise(call, message):
    with pytest.raises(ValueError, match="^" + message):
        call()
