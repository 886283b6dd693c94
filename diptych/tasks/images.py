"""Images: shuffled minibatches, the ELBO, and pictures."""

from __future__ import annotations

import math
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console

from diptych import figures, pairs
from diptych.arrays import to_numpy
from diptych.data import Dataset
from diptych.data.dataset import count as count_images
from diptych.display import progress_bar
from diptych.evaluation.checkpoint import PartialFile, digest_of
from diptych.evaluation.elbo import elbo_terms, reconstruction_error
from diptych.evaluation.importance import Evaluation, Sums, importance_weighted, rows_within
from diptych.panels import Panel
from diptych.runs.config import RunConfig
from diptych.runs.interrupts import stop_on_interrupt
from diptych.tasks.base import Assessment, Options, Task
from diptych.tasks.progress import pixel_bar
from model_specs.common.fields import check_positive_int
from model_specs.common.key import Key
from numpy_ref.nn import random

SILENT = Console(quiet=True)


class Images(Task):
    """Every image once an epoch, in an order drawn from the run's key; nats per image.

    A last batch of one image joins the batch before: nothing can be normalised by itself.
    """

    unit = "images"
    divisible = pictured = resumable = True
    data: Dataset

    def __init__(self, config: RunConfig, data: Dataset) -> None:
        super().__init__(config, data)
        full, rest = divmod(len(data.train), config.batch_size)
        self.steps_per_epoch = max(1, full + (rest > 1))
        self._order = lru_cache(1)(
            lambda epoch: random.permutation(
                self.key.fold_in("order").fold_in(epoch), len(data.train)
            )
        )

    def batch(self, epoch: int, index: int) -> np.ndarray:
        size = self.config.batch_size
        stop = None if index == self.steps_per_epoch - 1 else (index + 1) * size
        return self.data.train.x[self._order(epoch)[index * size : stop]]

    @property
    def drawn(self) -> bool:
        """Whether grey values are probabilities, as the run or the data set says."""
        return self.config.binarize or self.data.dynamic

    def prepare(self, panel: Panel, batch: np.ndarray, key: Key, state: Any) -> np.ndarray:
        if self.drawn:
            batch = random.bernoulli(key.fold_in("binarize"), batch)
        return self.examples(panel, batch)

    def examples(self, panel: Panel, rows: np.ndarray) -> np.ndarray:
        """Rows in [0, 1] as the model takes its images."""
        make = pairs.get(self.config.model).to_batch
        if make is None:
            raise ValueError(f"data: got {self.data.name}, which {self.config.model} cannot read")
        return make(panel.model.config, rows, self.data.image_shape)

    def size(self, batch: np.ndarray) -> int:
        return len(batch)

    def held_out(self, split: str) -> np.ndarray:
        """The images of a split as evaluations see them: binarised once, for good."""
        x = getattr(self.data, split).x
        if not self.drawn:
            return x
        return random.bernoulli(Key(0).fold_in("binarize").fold_in(split), x)

    def validate(self, panel: Panel) -> dict[str, float]:
        x = self.examples(panel, self.held_out("valid"))
        return elbo_terms(panel, x, self.key.fold_in("validation"))

    def assess(self, panels: list[Panel], options: Options) -> Assessment:
        """ELBO, error of the reconstructions, and importance-weighted NLL where there is one.

        The KL term of the ELBO is what is spent on z: with bits back, the expected length of the
        code of z is KL(q(z|x) || p(z)), and the reconstruction term that of x given z. It is told
        in nats and in bits, KL / log 2.
        A subset is drawn after a fixed shuffle, because some test sets are sorted by class.
        Source: Hinton & van Camp (1993); Honkela & Valpola (2004); Chen et al. (2016), section 2.
        """
        panel, split = self.one(panels), options.split
        likely, at_once = self._checked(panel, options)
        x = self.held_out(split)
        if options.examples is not None:
            x = x[random.permutation(Key(0).fold_in("subset"), len(x))[: options.examples]]
        x, key = self.examples(panel, x), self.key.fold_in("evaluation")
        metrics: dict[str, Any] = {f"{split}_examples": len(x)}
        lines, title = [], f"{split}, {len(x)} examples"
        partial, unit = None, "nats/example" if likely else ""
        if likely:
            samples = 512 if options.samples is None else options.samples
            partial = self._partial(panel, x, key, samples, options)
            result = self._weighted(panel, x, key, samples, options, partial)
            metrics |= {f"{split}_{name}": v for name, v in asdict(result).items()}
            lines += _weighted_lines(result)
            title += f", {samples} importance samples"
        terms = elbo_terms(panel, x, key.fold_in("terms"), at_once)
        metrics |= {f"{split}_{name}": v for name, v in terms.items() if name != "total"}
        lines += [(name, f"{value:.3f}", unit) for name, value in terms.items()]
        if likely:
            metrics[f"{split}_kl_bits"] = bits = terms["kl"] / math.log(2)
            lines.append(("kl: spent on z", f"{bits:.3f}", "bits/example"))
        metrics[f"{split}_rmse"] = rmse = self._rmse(panel, x, at_once, options.console)
        drawn = getattr(panel.model.config, "draws_reconstructions", False)
        kind = "reconstruction, drawn" if drawn else "reconstruction"
        lines.append((kind, f"{rmse:.4f}", "RMSE/value in [0, 1]"))
        if partial is None:
            return Assessment(title, metrics, lines)
        return Assessment(title, metrics, lines, partial.path, partial.earlier_seconds)

    def _checked(self, panel: Panel, options: Options) -> tuple[bool, int]:
        """Whether there is a likelihood, and how many images the loss is given at a time.

        Raises: ValueError for options that make no sense, before anything is computed.
        """
        config = panel.model.config
        for name in ("samples", "examples"):
            if getattr(options, name) is not None:
                check_positive_int(name, getattr(options, name))
        for name, given in (("samples", options.samples), ("resume", options.resume or None)):
            if given is not None and not config.has_log_weight:
                raise ValueError(f"{name}: got {given}, but this model's loss is no log-likelihood")
        rows = rows_within(options.memory_mb, panel.model)
        return config.has_log_weight, max(1, min(500, rows // getattr(config, "samples", 1)))

    def _partial(
        self, panel: Panel, x: np.ndarray, key: Key, samples: int, options: Options
    ) -> PartialFile | None:
        if options.folder is None:
            return None
        identity = {
            "weights": digest_of(panel.weights()),
            "config": asdict(panel.model.config),
            "backend": panel.backend,
            "split": options.split,
            "x": digest_of({"x": x}),
            "key": repr(key),
            "samples": samples,
        }
        return PartialFile(options.folder, identity, len(x))

    def _weighted(
        self,
        panel: Panel,
        x: np.ndarray,
        key: Key,
        samples: int,
        options: Options,
        partial: PartialFile | None,
    ) -> Evaluation:
        """Raises: KeyboardInterrupt at Ctrl-C, when what was found is kept."""
        sums = Sums.none(len(x)) if partial is None else partial.begin(options.resume)
        if options.resume and not sums.done:
            options.console.print("nothing is kept of this evaluation: it begins anew")
        total = samples * len(x)
        with progress_bar(options.console) as progress, stop_on_interrupt() as stop:
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
                        options.console.print(f"stopped; --resume goes on from {partial.path}")
                    raise KeyboardInterrupt

            return importance_weighted(
                panel, x, key, samples, options.memory_mb, sums=sums, after=after
            )

    def _rmse(self, panel: Panel, x: np.ndarray, at_once: int, console: Console) -> float:
        with progress_bar(console) as progress:
            bar = progress.add_task("reconstructions", total=len(x), message="")
            return reconstruction_error(
                panel,
                x,
                at_once,
                lambda a: self._pixels(panel, a),
                after=lambda images: progress.advance(bar, images),
            )

    def sample(self, panel: Panel, folder: Path, options: Options) -> str:
        """Examples from the prior, or test images over their reconstructions, as a PNG.

        Raises: ValueError for what only a text takes.
        """
        if options.prompt is not None or options.temperature != 1:
            raise ValueError(
                f"prompt, temperature: got a run on {self.data.name}, take one on text"
            )
        if options.reconstruct and options.mean is not None:
            raise ValueError("mean: got it with reconstruct, takes samples")
        count = (16 if options.reconstruct else 64) if options.count is None else options.count
        check_positive_int("count", count)
        kind = "reconstructions" if options.reconstruct else "samples"
        target = options.out or folder / f"{kind}.png"
        figures.check_name(target)
        if options.reconstruct:
            rows = self.held_out("test")
            chosen = random.permutation(Key(options.seed).fold_in("subset"), len(rows))[:count]
            figure = self._reconstructions(panel, rows[chosen], options.console)
            count = len(chosen)
        else:
            key = Key(options.seed).fold_in("sample")
            figure = self._samples(panel, key, count, options.mean, options.console)
        figures.save(figure, target)
        return f"{count} {kind} in {target}"

    def pictures(self, panel: Panel) -> dict[str, Figure]:
        """64 samples, of the same codes each time, and 16 reconstructions."""
        shown = self._reconstructions(panel, self.held_out("valid")[:16])
        samples = self._samples(panel, self.key.fold_in("pictures"), 64)
        return {"samples": samples, "reconstructions": shown}

    def _reconstructions(self, panel: Panel, rows: np.ndarray, console: Console = SILENT) -> Figure:
        x = self.examples(panel, rows)
        with panel.evaluating(), pixel_bar(console, panel, len(x)) as watched:
            recon = to_numpy(panel.model.reconstruct(panel.array(x), **watched))
        return figures.reconstructions(self._pixels(panel, x), self._pixels(panel, recon))

    def _samples(
        self,
        panel: Panel,
        key: Key,
        count: int,
        mean: bool | None = None,
        console: Console = SILENT,
    ) -> Figure:
        """Means, unless asked for otherwise or pixels are drawn in turn: then draws."""
        with panel.evaluating(), pixel_bar(console, panel, count) as watched:
            mean = not watched if mean is None else mean
            x = to_numpy(panel.model.sample(key, count, mean=mean, **watched))
        return figures.image_grid(self._pixels(panel, x), math.ceil(count**0.5))

    def _pixels(self, panel: Panel, x: np.ndarray) -> np.ndarray:
        """What the model takes or gives, as a figure shows it: (N, H, W) or (N, H, W, 3)."""
        make = pairs.get(self.config.model).to_images
        assert make is not None  # where there is a way in there is one out
        images = make(panel.model.config, x, self.data.image_shape)
        return images[:, 0] if images.shape[1] == 1 else images.transpose(0, 2, 3, 1)

    def summary(self) -> str:
        return f"{self.data.name}: {count_images(self.data.train, self.data.valid, self.data.test)}"


def _weighted_lines(result: Evaluation) -> list[tuple[str, str, str]]:
    deviation = result.nll_standard_error
    error = "" if deviation is None else f" ± {deviation:.3f}"
    effective = f"{result.effective_samples:.1f}, at least {result.least_effective_samples:.1f}"
    return [
        ("NLL", f"{result.nll:.3f}{error}", "nats/example"),
        ("NLL", f"{result.bits_per_dim:.4f}", "bits/dim"),
        ("effective sample size", effective, f"of {result.samples}"),
        ("ELBO", f"{result.elbo:.3f}", "nats/example"),
    ]
