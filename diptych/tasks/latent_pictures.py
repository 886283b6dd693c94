"""Pictures of the latent space of a trained model of images.

Codes are those that the decoder reads, at the means of q(z|x): see diptych.evaluation.codes.
Units: the shares of principal components are of the total variance of the codes that are shown.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console

from diptych import figures
from diptych.evaluation import latents
from diptych.evaluation.codes import codes_of, images_of, latent_of, prior_codes
from diptych.panels import Panel
from diptych.tasks.image_evaluation import ImageEvaluation
from diptych.tasks.progress import pixel_bar
from model_specs.common.key import Key

LARGEST_LABEL = 9
"""The largest label that a scatter plot colours."""
ORDINALS = ("1st", "2nd")
FLOW_NAMES = (r"$\epsilon_1$ of the flow $f$, $z = f^{-1}(\epsilon)$", r"$\epsilon_2$")


def scatter(evaluation: ImageEvaluation, x: np.ndarray, labels: np.ndarray | None) -> Figure:
    """The codes of images x, in their plane of largest variance if they have over 2 dimensions."""
    codes, names = codes_of(evaluation.panel, x), _names(evaluation.panel)
    heading = f"codes of {len(x)} test images, at the means of q(z|x)"
    if codes.shape[1] > 2:
        components = latents.principal_components(codes)
        codes, names = components.scores(codes), _component_names(components)
        share = _percent(components.shares.sum())
        heading += (
            f"\nthe plane holds {share} of their variance in {len(components.mean)} dimensions"
        )
    if labels is not None and labels.max() > LARGEST_LABEL:
        heading += f"\n{len(np.unique(labels))} labels, too many for colours"
        labels = None
    return figures.latent_scatter(codes, labels, names, heading)


def manifold(
    evaluation: ImageEvaluation,
    x: np.ndarray,
    side: int,
    key: Key,
    mean: bool,
    console: Console,
) -> Figure:
    """A grid of side x side images decoded over the latent space.

    With two dimensions and a prior, they are those that quantiles of the prior stand for. With more
    dimensions or no prior, they lie on the plane of the two first principal components of the codes
    of images x, within two standard deviations of their mean.
    """
    panel = evaluation.panel
    latent = latent_of(panel)
    if latent.dim == 2 and latent.generate is not None:
        eps = latents.quantile_grid(side)
        codes = prior_codes(panel, eps.reshape(-1, 2))
        images = decoded(evaluation, codes, key, mean, console)
        names = FLOW_NAMES if latent.flow else _names(panel)
        return figures.latent_manifold(_grid(images, side), latents.QUANTILES, names)
    components = latents.principal_components(codes_of(panel, x))
    codes = latents.plane(components, side)
    images = decoded(evaluation, codes.reshape(side * side, -1), key, mean, console)
    return figures.latent_plane(_grid(images, side), latents.REACH, _component_names(components))


def interpolations(
    evaluation: ImageEvaluation,
    x: np.ndarray,
    steps: int,
    key: Key,
    mean: bool,
    console: Console,
) -> Figure:
    """Rows of images decoded on the lines between the codes of x[0] and x[1], x[2] and x[3], ...

    The first and the last are the reconstructions of the two images.
    """
    codes = codes_of(evaluation.panel, x)
    path = latents.lines(codes[0::2], codes[1::2], steps)
    images = decoded(evaluation, path.reshape(-1, codes.shape[1]), key, mean, console)
    originals = evaluation.pixels(x)
    return figures.interpolations(
        originals.reshape(-1, 2, *originals.shape[1:]),
        images.reshape(*path.shape[:2], *images.shape[1:]),
    )


def decoded(
    evaluation: ImageEvaluation, codes: np.ndarray, key: Key, mean: bool, console: Console
) -> np.ndarray:
    """The images of codes (M, Z) for a figure, (M, H, W) or (M, H, W, 3)."""
    with pixel_bar(console, evaluation.panel, len(codes)) as options:
        images = images_of(
            evaluation.panel, codes, key, mean=mean, progress=options.get("progress")
        )
    return evaluation.pixels(images)


def _grid(images: np.ndarray, side: int) -> np.ndarray:
    return images.reshape(side, side, *images.shape[1:])


def _names(panel: Panel) -> tuple[str, str]:
    symbol = latent_of(panel).symbol
    return f"${symbol}_1$", f"${symbol}_2$"


def _component_names(components: latents.Components) -> tuple[str, str]:
    first, second = (
        f"{n} principal component,\n{_percent(share)} of the variance"
        for n, share in zip(ORDINALS, components.shares, strict=True)
    )
    return first, second


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
