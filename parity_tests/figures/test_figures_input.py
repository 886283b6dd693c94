"""Errors of the figures of image models name the bad argument."""

import numpy as np
import pytest
from helpers.figure_data import IMAGES, LABELS, MU, H, N, T, W, two_curves

from diptych import figures


def curves_with(panel, name, values):
    curves = two_curves()
    curves[panel][name] = values
    return curves


def curves_without(panel, name):
    curves = two_curves()
    del curves[panel][name]
    return curves


BAD_CURVES = {
    "one panel": ({"numpy": two_curves()["numpy"]}, "curves: got"),
    "another panel": (
        {"numpy": two_curves()["numpy"], "jax": two_curves()["torch"]},
        "curves: got",
    ),
    "three panels": ({**two_curves(), "jax": two_curves()["torch"]}, "curves: got"),
    "a term on one side": (curves_without("torch", "kl"), "curves: got"),
    "no step": ({"numpy": {"total": MU[:, 0]}, "torch": {"total": MU[:, 0]}}, "curves: got"),
    "no term": ({p: {"step": np.arange(3)} for p in ("numpy", "torch")}, "curves: got"),
    "shorter": (
        curves_with("numpy", "kl", np.ones(T - 1)),
        r"curves\['numpy'\]\['kl'\]: got shape",
    ),
    "a matrix": (
        curves_with("torch", "kl", np.ones((T, 1))),
        r"curves\['torch'\]\['kl'\]: got shape",
    ),
    "a list": (curves_with("torch", "kl", [1.0] * T), r"\['kl'\]: got list, takes numpy.ndarray"),
    "NaN": (curves_with("torch", "kl", np.full(T, np.nan)), r"\['kl'\]: got NaN or inf"),
    "other steps": (curves_with("numpy", "step", np.arange(T)), "different steps"),
    "empty": (two_curves(steps=0), "got shape"),
}


@pytest.mark.parametrize("case", BAD_CURVES)
def test_bad_curves_raise(case):
    curves, message = BAD_CURVES[case]
    with pytest.raises(ValueError, match=message) as error:
        figures.loss_curves(curves)
    assert "\n" not in str(error.value)


BAD_IMAGES = {
    "flat": (IMAGES.reshape(N, -1), r"got shape \(7, 15\)"),
    "channels": (IMAGES[..., None], r"got shape \(7, 5, 3, 1\)"),
    "none": (IMAGES[:0], r"got shape \(0, 5, 3\)"),
    "NaN": (np.full((N, H, W), np.nan), "got NaN or inf"),
    "bytes": (np.full((N, H, W), 255, np.uint8), r"got uint8 up to 255, takes \[0, 1\]"),
    "a list": ([[[0.0]]], "got list, takes numpy.ndarray"),
}


@pytest.mark.parametrize("case", BAD_IMAGES)
def test_bad_images_raise(case):
    images, message = BAD_IMAGES[case]
    with pytest.raises(ValueError, match="^images: " + message):
        figures.image_grid(images, 2)
    with pytest.raises(ValueError, match="^originals: " + message):
        figures.reconstructions(images, images)
    with pytest.raises(ValueError, match="^reconstructions: " + message):
        figures.reconstructions(IMAGES, images)


def test_bad_columns_and_unpaired_images_raise():
    with pytest.raises(ValueError, match=r"^columns: got 0"):
        figures.image_grid(IMAGES, 0)
    with pytest.raises(ValueError, match=r"^reconstructions: got shape .* takes \(7, 5, 3\)"):
        figures.reconstructions(IMAGES, IMAGES[:3])


@pytest.mark.parametrize(
    ("mu", "labels", "message"),
    [
        (np.ones((50, 3)), LABELS, r"^mu: got shape \(50, 3\), takes \(N, 2\)"),
        (np.ones(50), LABELS, r"^mu: got shape \(50,\)"),
        (MU[:0], LABELS[:0], r"^mu: got shape \(0, 2\)"),
        (np.full((50, 2), np.inf), LABELS, "^mu: got NaN or inf"),
        (MU, LABELS[:3], r"^labels: got shape \(3,\), takes \(50\)"),
        (MU, LABELS + 1 + 9 * (LABELS == 9), "^labels: got .*, takes integers from 0 to 9"),
        (MU, LABELS - 10, "^labels: got"),
        (MU, LABELS.astype(float), "^labels: got 0.0 to 9.0"),
    ],
)
def test_bad_latents_raise(mu, labels, message):
    with pytest.raises(ValueError, match=message):
        figures.latent_scatter(mu, labels)
