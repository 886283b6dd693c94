"""The codes of images, and images of codes, computed by a trained panel part by part."""

from __future__ import annotations

import numpy as np
import torch

from diptych import pairs
from diptych.arrays import to_numpy
from diptych.pairs.latent import Latent, Progress
from diptych.panels import Panel
from model_specs.common.key import Key


def latent_of(panel: Panel) -> Latent:
    """Return the latent of a panel's model. Raises: ValueError for a model that has none."""
    traits = pairs.traits(panel.model.config)
    if traits.latent is None:
        raise ValueError(f"model: got one without a latent ({traits.title}), takes one with it")
    return traits.latent


@torch.no_grad()
def codes_of(panel: Panel, x: np.ndarray, batch_size: int = 500) -> np.ndarray:
    """Return the codes of a data set at the means of q(z|x), float64.

    Shapes: x (N, ...) -> (N, Z).
    """
    latent = latent_of(panel)
    with panel.evaluating():
        parts = [
            to_numpy(latent.codes(panel.model, panel.array(x[start : start + batch_size])))
            for start in range(0, len(x), batch_size)
        ]
    return np.concatenate(parts).astype(np.float64)


@torch.no_grad()
def prior_codes(panel: Panel, eps: np.ndarray) -> np.ndarray:
    """Map eps ~ N(0, I) to codes of p(z).   (N, Z) -> (N, Z)

    For a prior N(0, I) they are eps, for a flow f as prior z = f^-1(eps).
    Raises: ValueError for a model without p(z).
    """
    latent = latent_of(panel)
    if latent.generate is None:
        raise ValueError(
            "model: got an autoencoder, whose codes have no prior, takes one with p(z)"
        )
    with panel.evaluating():
        codes = latent.generate(panel.model, panel.array(eps))
    return to_numpy(codes).astype(np.float64)


@torch.no_grad()
def images_of(
    panel: Panel,
    codes: np.ndarray,
    key: Key,
    *,
    mean: bool = False,
    progress: Progress | None = None,
    batch_size: int = 500,
) -> np.ndarray:
    """Return the means of p(x|z) at codes (M, Z), or draws of a VLAE's pixels: see Latent.images.

    Pixels in turn are drawn for all images at once, and `progress` is called with their number
    after each row.
    """
    latent, turns = latent_of(panel), pairs.traits(panel.model.config).pixels_in_turn
    size = len(codes) if turns else batch_size
    with panel.evaluating():
        parts = [
            latent.images(
                panel.model, panel.array(codes[start : start + size]), key, mean, progress
            )
            for start in range(0, len(codes), size)
        ]
    return np.concatenate([to_numpy(part) for part in parts])
