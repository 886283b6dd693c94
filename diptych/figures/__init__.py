"""Draw matplotlib figures of runs from NumPy arrays, without pyplot and its global state."""

from diptych.figures.images import image_grid, loss_curves, reconstructions
from diptych.figures.latents import interpolations, latent_manifold, latent_plane, latent_scatter
from diptych.figures.pixels import LARGEST, cell
from diptych.figures.sequences import mask_pictures, memory_curves, perplexity_curves
from diptych.figures.style import (
    DPI,
    GAP,
    HAIRLINE,
    INK,
    LABELS,
    LEFT,
    LEGEND,
    MUTED,
    RIGHT,
    TERMS,
    check_name,
    save,
    style,
)
from diptych.figures.training import averaged_perplexity, validation_curves

__all__ = [
    "DPI",
    "GAP",
    "HAIRLINE",
    "INK",
    "LABELS",
    "LARGEST",
    "LEFT",
    "LEGEND",
    "MUTED",
    "RIGHT",
    "TERMS",
    "averaged_perplexity",
    "cell",
    "check_name",
    "image_grid",
    "interpolations",
    "latent_manifold",
    "latent_plane",
    "latent_scatter",
    "loss_curves",
    "mask_pictures",
    "memory_curves",
    "perplexity_curves",
    "reconstructions",
    "save",
    "style",
    "validation_curves",
]
