"""The pictures of `diptych sample`: what each shows, and which options have an effect on it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from diptych import figures, pairs
from diptych.data import Dataset
from diptych.limits import check_memory
from diptych.panels import Panel
from diptych.tasks.base import Options, check_options
from model_specs.common.fields import check_positive_int


@dataclass(frozen=True)
class Kind:
    """A kind of picture."""

    name: str
    """The name of its file."""
    message: str
    """The message to the user, with a placeholder for the count."""
    count: int
    """The default of `count`."""
    options: tuple[str, ...]
    """The options that have an effect, besides those that all kinds share."""


LATENTS = 2000
"""The number of test images from which pictures of a latent space are made, at most."""
KINDS = {
    None: Kind("samples", "{} samples", 64, ("mean",)),
    "reconstruct": Kind("reconstructions", "{} reconstructions", 16, ()),
    "latents": Kind("latents", "codes of {} images", LATENTS, ()),
    "manifold": Kind("manifold", "manifold of {} images", 225, ("mean",)),
    "interpolate": Kind("interpolations", "{} interpolations", 8, ("mean", "steps")),
}
"""By the option that chooses it; None: samples, where no option does."""
OF_LATENT = ("latents", "manifold", "interpolate")
STEPS = 8
"""The default of `steps`."""


@dataclass(frozen=True)
class Picture:
    """A picture that options describe."""

    option: str | None
    """The option that chooses its kind: see KINDS."""
    count: int
    mean: bool
    """True for means of p(x|z), False for drawn pixels."""
    steps: int
    path: Path


def check_picture(data: Dataset, panel: Panel, folder: Path, options: Options) -> Picture:
    """Return the picture that `options` describe, for a run in `folder`.

    Raises: ValueError for options that only text takes, that exclude each other or have no effect,
    for a model without a latent, or for a file that cannot hold a figure.
    """
    chosen = [name for name in KINDS if name is not None and getattr(options, name)]
    if len(chosen) > 1:
        raise ValueError(f"{chosen[1]}: got True with {chosen[0]}, takes one of the two")
    option = chosen[0] if chosen else None
    kind = KINDS[option]
    if options.steps is not None and "steps" not in kind.options:
        raise ValueError(f"steps: got {options.steps} with {kind.name}, takes interpolate")
    if options.mean is not None and "mean" not in kind.options:
        takes = "takes samples, manifold or interpolate"
        raise ValueError(f"mean: got {options.mean} with {option}, {takes}")
    names = ("seed", "count", "out", *chosen, *kind.options)
    check_options(options, names, f"a run on {data.name}")
    turns = pairs.traits(panel.model.config).pixels_in_turn
    if option in OF_LATENT:
        _check_latent(option, panel)
        if options.mean is False and not turns:
            takes = "takes True for a model that draws all pixels at once"
            raise ValueError(f"mean: got False with {option}, {takes}")
    count = kind.count if options.count is None else options.count
    check_positive_int("count", count)
    steps = STEPS if options.steps is None else options.steps
    check_positive_int("steps", steps)
    count = _check_count(option, count, steps, data)
    if options.seed != 0 and option in ("latents", "manifold"):
        _check_seed(option, options.seed, count < len(data.test) if option == "latents" else turns)
    path = options.out or folder / f"{kind.name}.png"
    figures.check_name(path)
    mean = not turns if options.mean is None else options.mean
    return Picture(option, count, mean, steps, path)


def _check_latent(option: str, panel: Panel) -> None:
    latent = pairs.traits(panel.model.config).latent
    if latent is None:
        raise ValueError(f"{option}: got True with a model without a latent, takes one with it")
    if latent.dim < 2 and option != "interpolate":
        raise ValueError(f"{option}: got True with a latent of 1 dimension, takes 2 or more")


def _check_count(option: str | None, count: int, steps: int, data: Dataset) -> int:
    """Return the number of images, or of interpolations: at most as many as test images give."""
    held, images = len(data.test), count
    if option == "manifold" and (count < 4 or math.isqrt(count) ** 2 != count):
        raise ValueError(f"count: got {count} with manifold, takes a square from 4, such as 225")
    if option == "latents" and count < 2:
        raise ValueError(f"count: got {count} with latents, takes 2 or more")
    if option in ("reconstruct", "latents"):  # of images that the data set holds anyway
        return min(count, held)
    if option == "interpolate":
        if held < 2 or steps < 2:
            name, got = ("interpolate", f"{held} test images") if held < 2 else ("steps", steps)
            raise ValueError(f"{name}: got {got}, takes 2 or more")
        count = min(count, held // 2)
        images = count * steps
        _check_dots(count, steps, data)
        check_memory("steps", steps, 16 * steps * math.prod(data.image_shape))
    check_memory("count", count, 16 * images * math.prod(data.image_shape))
    return count


def _check_dots(count: int, steps: int, data: Dataset) -> None:
    right, down = figures.cell(steps + 2, *data.image_shape[1:])  # with both originals
    for name, value, dots in (
        ("steps", steps, right * (steps + 2)),
        ("count", count, down * count),
    ):
        if dots > figures.LARGEST:
            takes = f"takes fewer: a picture has {figures.LARGEST} dots at most, and would have"
            raise ValueError(f"{name}: got {value}, {takes} {dots}")


def _check_seed(option: str, seed: int, draws: object) -> None:
    if not draws:
        got = f"got {seed} with {option}, of which nothing is drawn at random"
        raise ValueError(f"seed: {got}, takes 0")
