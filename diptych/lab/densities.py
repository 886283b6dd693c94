"""Densities p(x|z) of single pixels under a model's likelihood, and their integrals over [0, 1]."""

from __future__ import annotations

import numpy as np
from scipy.integrate import quad_vec

from diptych.arrays import to_numpy
from diptych.lab.models import codes
from diptych.panels import Panel, make_panel
from model_specs.common.effects import changed
from model_specs.common.key import Key
from model_specs.mlp_vae import MLPVAEConfig
from numpy_ref.mlp_vae import make_likelihood
from numpy_ref.nn import random

KEY = Key(0).fold_in("lab").fold_in("likelihoods")
PIXELS = 24
"""Pixels that are integrated, one of each of as many images."""


def with_likelihood(panel: Panel, likelihood: str) -> Panel:
    """Return a copy of a model with the same weights and another likelihood."""
    config = changed(panel.model.config, likelihood=likelihood)
    other = make_panel("mlp_vae", config, "torch", key=Key(0))
    other.load_weights(panel.weights())
    other.model.eval()
    return other


def decoder_outputs(panel: Panel, x: np.ndarray) -> np.ndarray:
    """Return the decoder's outputs at z = mu(x).   (N, D) -> (N, D, outputs) float64"""
    with panel.evaluating():
        outputs = to_numpy(panel.model.decode(panel.array(codes(panel, x)))).astype(np.float64)
    return outputs.reshape(len(x), -1, x.shape[1]).swapaxes(1, 2)


def density(config: MLPVAEConfig, outputs: np.ndarray, x: float) -> np.ndarray:
    """Return p(x) of pixels, computed by the left panel.   outputs (P, outputs) -> (P)"""
    nll, _ = make_likelihood(config).nll(outputs[None], np.full((1, 1), x))
    return np.exp(-nll[0])


def integrals(panel: Panel, x: np.ndarray) -> np.ndarray:
    """Integrate p(x|z) over [0, 1] for one pixel of each of PIXELS images.   -> (PIXELS,)"""
    outputs = decoder_outputs(panel, x[:PIXELS])
    pixels = random.permutation(KEY.fold_in("pixels"), x.shape[1])
    selected = outputs[np.arange(len(outputs)), pixels[np.arange(len(outputs)) % len(pixels)]]
    return integral(panel.model.config, selected)


def integral(config: MLPVAEConfig, outputs: np.ndarray) -> np.ndarray:
    """Integrate p(x) over [0, 1] by quadrature.   outputs (P, outputs) -> (P)"""
    ends = (1e-6, 1e-4, 1e-2, 0.1)  # near the ends, where a Beta density is steep
    points = (*ends, *(1 - end for end in ends))
    area, _ = quad_vec(
        lambda x: density(config, outputs, x), 0, 1, points=points, epsabs=1e-9, norm="max"
    )
    return area
