"""Evaluation of a trained model of images: likelihood, reconstructions, and pictures."""

from __future__ import annotations

import contextlib
import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console

from diptych import figures, pairs
from diptych.arrays import to_numpy
from diptych.display import progress_bar
from diptych.evaluation.checkpoint import PartialFile, digest_of
from diptych.evaluation.elbo import elbo_terms, kl_of_maps, reconstruction_error
from diptych.evaluation.importance import Evaluation, Sums, importance_weighted
from diptych.evaluation.memory import rows_within
from diptych.pairs import Traits
from diptych.panels import Panel
from diptych.remarks import one_draw_mark, one_draw_note, worse_than_uniform
from diptych.runs.interrupts import stop_on_interrupt
from diptych.tasks.base import Assessment, Options
from diptych.tasks.progress import pixel_bar
from model_specs.common.fields import check_positive_int
from model_specs.common.key import Key

SILENT = Console(quiet=True)


@dataclass(frozen=True)
class ImageEvaluation:
    """Evaluation of one panel, whose data set has images of `image_shape`."""

    panel: Panel
    image_shape: tuple[int, int, int]

    @property
    def traits(self) -> Traits:
        return pairs.traits(self.panel.model.config)

    def check(self, options: Options) -> int:
        """Return the largest number of images whose loss fits into the memory bound.

        Raises: ValueError for options that do not apply, before anything is computed.
        """
        for name, value in (("samples", options.samples), ("examples", options.examples)):
            if value is not None:
                check_positive_int(name, value)
        for name, option in (
            ("samples", options.samples),
            ("resume", options.resume or None),
            ("per_image", options.per_image),
        ):
            if option is not None and not self.traits.likelihood:
                takes = "takes a model whose loss is a log-likelihood, which this one's is not"
                raise ValueError(f"{name}: got {option}, {takes}")
        rows = rows_within(options.memory_mb, self.panel.model)
        return max(1, min(500, rows // self.traits.samples))

    def assess(self, x: np.ndarray, key: Key, options: Options, batch_size: int) -> Assessment:
        """ELBO, error of the reconstructions, and importance-weighted NLL where there is one.

        The KL term of the ELBO is the cost of z: with bits back, the expected length of the code
        of z is KL(q(z|x) || p(z)), and the reconstruction term that of x given z. It is reported
        in nats and in bits, KL / log 2.
        Source: Hinton & van Camp (1993); Honkela & Valpola (2004); Chen et al. (2016), section 2.
        """
        split, likelihood = options.split, self.traits.likelihood
        metrics: dict[str, Any] = {f"{split}_examples": len(x)}
        lines, title, notes = [], f"{split}, {len(x)} examples", []
        partial, unit = None, "nats/example" if likelihood else ""
        columns: dict[str, np.ndarray] = {}
        if likelihood:
            samples = 512 if options.samples is None else options.samples
            partial = self._partial_file(x, key, samples, options)
            with contextlib.nullcontext() if partial is None else partial.locked():
                result, sums = self._weighted(x, key, samples, options, partial)
            columns = sums.columns(samples)
            metrics |= {f"{split}_{name}": v for name, v in asdict(result).items()}
            lines += _weighted_lines(result)
            notes += [one_draw_note(asdict(result)), self.warning(result.nll, split)]
            title += f", {samples} importance samples"
        terms = elbo_terms(self.panel, x, key.fold_in("terms"), batch_size)
        metrics |= {f"{split}_{name}": v for name, v in terms.items() if name != "total"}
        lines += [(name, f"{value:.3f}", unit) for name, value in terms.items()]
        if likelihood:
            metrics[f"{split}_kl_bits"] = bits = terms["kl"] / math.log(2)
            lines.append(("kl: spent on z", f"{bits:.3f}", "bits/example"))
        if self.traits.latent_maps:
            maps = kl_of_maps(self.panel, x, key.fold_in("terms"), batch_size)
            metrics[f"{split}_kl_of_maps"] = maps.tolist()
            lines.append(("kl of a map", f"{maps.min():.3f} to {maps.max():.3f}", unit))
        metrics[f"{split}_rmse"] = rmse = self._rmse(x, batch_size, options.console)
        kind = "reconstruction" + ", drawn" * self.traits.draws_reconstructions
        lines.append((kind, f"{rmse:.4f}", "RMSE/value in [0, 1]"))
        if self.traits.margin:
            share = f"{100 * self.traits.margin:.1f} % of the values"
            lines.append(("black margin", share, "not in NLL, ELBO, recon"))
        remarks = tuple(note for note in notes if note)
        if partial is None:
            return Assessment(title, metrics, lines, columns=columns, notes=remarks)
        earlier = partial.earlier_seconds
        return Assessment(title, metrics, lines, partial.path, earlier, columns, remarks)

    def warning(self, neg_elbo: float, split: str) -> str | None:
        """Warn if a loss in nats per image is above that of the uniform distribution; else None."""
        if not self.traits.likelihood or self.traits.uniform is None:
            return None
        return worse_than_uniform(neg_elbo, self.traits.uniform, "nats/example", split)

    def reconstructions(self, x: np.ndarray, console: Console = SILENT) -> Figure:
        """A figure of images over their reconstructions."""
        with self.panel.evaluating(), pixel_bar(console, self.panel, len(x)) as options:
            recon = to_numpy(self.panel.model.reconstruct(self.panel.array(x), **options))
        return figures.reconstructions(self.pixels(x), self.pixels(recon))

    def samples(
        self, key: Key, count: int, mean: bool | None = None, console: Console = SILENT
    ) -> Figure:
        """A figure of samples: means of p(x|z) by default, draws where pixels come in turn."""
        with self.panel.evaluating(), pixel_bar(console, self.panel, count) as options:
            mean = not self.traits.pixels_in_turn if mean is None else mean
            x = to_numpy(self.panel.model.sample(key, count, mean=mean, **options))
        return figures.image_grid(self.pixels(x), math.ceil(count**0.5))

    def _partial_file(
        self, x: np.ndarray, key: Key, samples: int, options: Options
    ) -> PartialFile | None:
        if options.folder is None:
            return None
        identity = {
            "weights": digest_of(self.panel.weights()),
            "config": asdict(self.panel.model.config),
            "backend": self.panel.backend,
            "split": options.split,
            "x": digest_of({"x": x}),
            "key": repr(key),
            "samples": samples,
        }
        return PartialFile(options.folder, identity, len(x))

    def _weighted(
        self,
        x: np.ndarray,
        key: Key,
        samples: int,
        options: Options,
        partial: PartialFile | None,
    ) -> tuple[Evaluation, Sums]:
        """Raises: KeyboardInterrupt at Ctrl-C, after the partial result was saved."""
        sums = Sums.empty(len(x)) if partial is None else partial.begin(options.resume)
        if options.resume and not sums.done:
            options.console.print(
                "found no partial result of this evaluation: it starts from the beginning"
            )
        total = samples * len(x)

        def announce() -> None:
            options.console.print("stopping after this piece; Ctrl-C again stops now")

        with progress_bar(options.console) as progress, stop_on_interrupt(announce) as stop:
            bar = progress.add_task(
                f"{samples} samples", total=total, completed=sums.done, message=""
            )

            def after(sums: Sums) -> None:
                nll = sums.nll(samples)
                message = f"NLL {nll.mean():.3f} of {len(nll)}" if len(nll) else ""
                progress.update(bar, completed=sums.done, message=message)
                stopped = stop.is_set()
                if partial is not None:
                    partial.save(sums, now=stopped or sums.done == total)
                if stopped and sums.done < total:
                    progress.stop()
                    if partial is not None:
                        message = f"stopped; --resume goes on from {partial.path}"
                        options.console.print(message, markup=False, soft_wrap=True)
                    raise KeyboardInterrupt

            result = importance_weighted(
                self.panel, x, key, samples, options.memory_mb, sums=sums, after=after
            )
            return result, sums

    def _rmse(self, x: np.ndarray, batch_size: int, console: Console) -> float:
        with progress_bar(console) as progress:
            bar = progress.add_task("reconstructions", total=len(x), message="")
            return reconstruction_error(
                self.panel,
                x,
                batch_size,
                self.pixels,
                after=lambda images: progress.advance(bar, images),
            )

    def pixels(self, x: np.ndarray) -> np.ndarray:
        """Convert the model's inputs or outputs to images for a figure.

        Shapes: -> (N, H, W), or (N, H, W, 3) for colour.
        """
        make = pairs.of_model(self.panel.model).to_images
        assert make is not None  # a model that takes images gives images
        images = make(self.panel.model.config, x, self.image_shape)
        return images[:, 0] if images.shape[1] == 1 else images.transpose(0, 2, 3, 1)


def _weighted_lines(result: Evaluation) -> list[tuple[str, str, str]]:
    deviation = result.nll_standard_error
    error = "" if deviation is None else f" ± {deviation:.3f}"
    mark = one_draw_mark(asdict(result))
    effective = f"{result.effective_samples:.1f}, at least {result.least_effective_samples:.1f}"
    return [
        ("NLL", f"{result.nll:.3f}{error}{mark}", "nats/example"),
        ("NLL", f"{result.bits_per_dim:.4f}{mark}", "bits/dim"),
        ("effective sample size", effective, f"of {result.samples}"),
        ("ELBO", f"{result.elbo:.3f}", "nats/example"),
    ]
