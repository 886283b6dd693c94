"""Compare the NLLs of two models on the same images.

    diptych evaluate RUN_A --per-image a.csv
    diptych evaluate RUN_B --per-image b.csv
    python benchmarks/paired_runs.py a.csv b.csv [--record FILE.json --runs RUN_A RUN_B]

prints the mean of NLL_A - NLL_B in nats with the standard error of paired images (see
diptych.evaluation.paired). `--record` writes it as a result for docs/results.md.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from dataclasses import asdict
from pathlib import Path

from diptych.commands.open import have_same_data
from diptych.evaluation.paired import PairedDifference, read_paired
from diptych.runs import results
from diptych.runs.folder import RunFolder


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare the NLLs of two models in pairs.")
    parser.add_argument("a", type=Path, metavar="A.csv", help="File of --per-image of model A.")
    parser.add_argument("b", type=Path, metavar="B.csv", help="File of --per-image of model B.")
    parser.add_argument("--record", type=Path, metavar="FILE.json", help="Write the result here.")
    parser.add_argument(
        "--runs", type=Path, nargs=2, metavar="RUN", help="Folders of A and B, for --record."
    )
    options = parser.parse_args()
    if (options.record is None) != (options.runs is None):
        parser.error("--record and --runs: got one of them, takes both or neither")
    try:
        result = read_paired(options.a, options.b)
        if options.record is not None:
            write_record(options.record, result, options.runs)
        print(
            f"NLL of {options.a} less that of {options.b}: {result.difference:+.3f} ± "
            f"{result.standard_error:.3f} nats over {result.images} images (unpaired ± "
            f"{result.unpaired_standard_error:.3f}, correlation {result.correlation:.3f})"
        )
    except ValueError as error:
        parser.error(str(error))


def write_record(path: Path, result: PairedDifference, runs: list[Path]) -> None:
    """Write the difference as a result, with the settings of both runs.

    Raises: ValueError for runs on different data, or without a finished epoch.
    """
    folders = [RunFolder(run) for run in runs]
    if not have_same_data(*folders):
        raise ValueError(f"--runs: {runs[1]} was trained on other data than {runs[0]}")
    for folder in folders:
        if not folder.history().epochs:
            raise ValueError(f"--runs: {folder.path} has no finished epoch")
    metrics = {
        "paired_difference": result.difference,
        "paired_difference_standard_error": result.standard_error,
        "unpaired_standard_error": result.unpaired_standard_error,
        "correlation": result.correlation,
        "images": result.images,
    }
    times = [folder.history().epochs[-1]["seconds"] for folder in folders]
    results.write(
        path,
        name=path.stem,
        command=shlex.join(["python", *sys.argv]),
        seed=folders[0].config().seed,
        data=folders[0].settings()["data"],
        device=folders[0].config().device,
        time_s=sum(times),
        metrics=metrics,
        settings={
            "models": [asdict(folder.config()) for folder in folders],
            "commands": [folder.settings().get("command", "") for folder in folders],
        },
    )


if __name__ == "__main__":
    main()
