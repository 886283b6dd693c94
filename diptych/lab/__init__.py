"""The laboratory: the theory of the VAE as experiments, each with a figure, a table and JSON."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.text import Text

from diptych import data, display, figures
from diptych.data import Dataset
from diptych.files import write_atomically, write_json
from diptych.lab import autoencoder, beta, bound, colour, estimators, likelihoods, lossy
from diptych.lab.findings import Findings, Report, Setting
from diptych.pairs import lookup
from diptych.runs import results
from diptych.runs.environment import command_line, environment

__all__ = ["EXPERIMENTS", "Findings", "Report", "Setting", "run_lab"]

EXPERIMENTS: dict[str, Callable[[Setting], Findings]] = {
    "estimators": estimators.run,
    "bound": bound.run,
    "beta": beta.run,
    "likelihoods": likelihoods.run,
    "autoencoder": autoencoder.run,
    "lossy": lossy.run,
    "colour": colour.run,
}
DATA = {"lossy": "binary_digits16", "colour": colour.DATA}
"""The default data set of an experiment; for all others it is digits."""


def run_lab(
    name: str,
    out: Path,
    console: Console,
    *,
    dataset: str | None = None,
    data_root: Path | None = None,
    seeds: tuple[int, ...] = (0, 1, 2),
    quick: bool = False,
    record: Path | None = None,
) -> Report:
    """Run an experiment and write NAME.json, NAME.png and NAME.txt (the table) to `out`.

    `record` gets the numbers as a result for docs/results.md (see diptych.runs.results).

    Raises: ValueError for an unknown name, data that are not images, no seeds or repeated seeds, or
    an `out` that cannot be written.
    """
    start = time.perf_counter()
    experiment = lookup("experiment", name, EXPERIMENTS)
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds: got {list(seeds)}, takes one or more, each once")
    source = DATA.get(name, "digits") if dataset is None else dataset
    data.check_root(source, data_root)
    images = data.load(source, data_root)
    if not isinstance(images, Dataset):
        raise ValueError(f"data: got {images.name}, the laboratory takes images")
    with _folder(out):
        console.print(images.summary, style="dim", markup=False, soft_wrap=True)
        findings = experiment(Setting(images, tuple(seeds), quick, console))
        seconds = time.perf_counter() - start
        metadata = {"experiment": name, "data": images.summary, "seeds": [*seeds], "quick": quick}
        metadata |= {"truths": dict(findings.truths), "results": dict(findings.results)}
        metadata |= {"seconds": seconds, "command": command_line(), **environment()}
        files = tuple(out / f"{name}.{kind}" for kind in ("json", "png", "txt"))
        write_json(files[0], metadata, allow_nan=False)
        figures.save(findings.figure, files[1])
        text = io.StringIO()
        display.Console(file=text, width=120).print(findings.table)
        write_atomically(files[2], text.getvalue().encode())
    if record is not None:
        results.write(
            record,
            name=record.stem,
            command=command_line(),
            seed=seeds[0],
            data=images.summary,
            device="cpu",
            time_s=seconds,
            metrics={k: metadata[k] for k in ("seeds", "quick", "truths", "results")},
        )
    console.print(findings.table)
    for truth, holds in findings.truths.items():
        mark = Text("✓ ", "green") if holds else Text("✗ ", "bold red")
        console.print(mark + Text(truth, "" if holds else "bold red"))
    written = f"{seconds:.0f} s; written: {', '.join(map(str, files))}"
    console.print(written, markup=False, highlight=False, soft_wrap=True)
    return Report(name, findings, seconds, files)


@contextlib.contextmanager
def _folder(path: Path) -> Iterator[None]:
    """Context in which the folder exists; if it fails, the folders made for it are removed.

    A folder that holds a file stays. The folder is made first, so that an experiment of an hour is
    not run for a place where nothing can be written.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"{path}: cannot write there ({error.strerror})") from None
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # of a folder that is not empty
            for folder in missing:
                folder.rmdir()
        raise
