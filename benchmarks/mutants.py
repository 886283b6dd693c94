"""Draw random mutants of the panels and of the parity package, and run the tests on each.

    python benchmarks/mutants.py --count 120 --seed 0 --log runs/mutants.log

First all tests run once, and the lines that each runs are recorded in runs/lines.json (some
minutes; `--record` does it anew). Then each mutant is written into a copy of the checkout and meets
the tests that run its line: the fastest of every file first, then the others, until one fails.
Mutants that benchmarks/mutants_equivalent.toml names are subtracted from the score, each with the
reason why no test can notice it. The result is benchmarks/results/mutants.json. Exit status: 0 if
every mutant was noticed or is equivalent, else 1.
"""

from __future__ import annotations

import argparse
import difflib
import hashlib
import itertools
import json
import os
import subprocess
import sys
import time
import tomllib
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import planting
from mutations import Mutation, mutations

ROOT = planting.ROOT
PACKAGES = ("numpy_ref", "torch_impl", "diptych/parity")
CHAPTERS = ["models", "nn", "probability", "autoregressive", "recurrent", "witness", "parity"]
CHAPTERS += ["evaluation", "exercises", "runs", "bench", "lab"]
EQUIVALENT = Path(__file__).parent / "mutants_equivalent.toml"
FIRST_SECONDS, FIRST_TESTS, ALL_SECONDS = 6.0, 60, 30.0
"""The first round takes at most so many seconds and tests; all rounds take at most ALL_SECONDS."""
PROCESSES = ("parity_tests/runs/test_ranks.py", "parity_tests/cli/")
"""Tests that start processes, whose lines are not recorded; for lines that no other test runs."""
SLOW = 5.0
"""Tests of more seconds, many of which start processes, are run where no other runs the line."""


class Tests:
    """The tests that run each line, from the file that benchmarks/lines.py writes."""

    def __init__(self, file: Path) -> None:
        records = json.loads(file.read_text())
        self.seconds = {test: record["seconds"] for test, record in records.items()}
        self.of_line: dict[tuple[str, int], set[str]] = defaultdict(set)
        self.sources = {test: set(record["lines"]) for test, record in records.items()}
        self.files = set().union(*self.sources.values())
        for test, record in records.items():
            for source, lines in record["lines"].items():
                for line in lines:
                    self.of_line[source, line].add(test)
        self.kills: Counter[str] = Counter()
        self.sound: dict[str, bool] = {}
        """True for each test that killed a mutant and passes in the unchanged copy."""

    def rounds(self, mutation: Mutation) -> list[list[str]]:
        """The node ids of the first and of the second round."""
        first, last = mutation.lines
        covering = set().union(
            *(self.of_line[mutation.file, line] for line in range(first, last + 1))
        )
        if not covering:  # a line that runs at import, or in another process
            return [self.near(mutation.file), [t for t in self.seconds if t.startswith(PROCESSES)]]
        covering = {test for test in covering if self.seconds[test] < SLOW} or covering
        fast = sorted(covering, key=lambda test: (-self.kills[test], self.seconds[test]))
        one_a_file = {test.split("::")[0]: test for test in reversed(fast)}
        queue = [*fast[:10], *sorted(one_a_file.values(), key=self.seconds.__getitem__), *fast]
        chosen: dict[str, None] = {}
        for test in queue:
            seconds = sum(self.seconds[t] for t in chosen) + self.seconds[test]
            if not chosen or (seconds <= FIRST_SECONDS and len(chosen) < FIRST_TESTS):
                chosen[test] = None
        rest, seconds = [], 0.0
        for test in fast:
            seconds += self.seconds[test] if test not in chosen else 0
            if test not in chosen and seconds <= ALL_SECONDS:
                rest.append(test)
        return [part for part in (list(chosen), rest) if part]

    def near(self, file: str) -> list[str]:
        """The fastest tests of a file, or of its folder if no test runs a line of it."""
        folder, chosen, seconds = os.path.dirname(file), [], 0.0
        for test in sorted(self.seconds, key=self.seconds.__getitem__):
            sources = self.sources[test]
            if file in sources or (
                file not in self.files and folder in map(os.path.dirname, sources)
            ):
                seconds += self.seconds[test]
                chosen += [test] if seconds <= ALL_SECONDS else []
        return chosen


def record(file: Path) -> None:
    """Run the suite once and write which lines each test runs."""
    file.parent.mkdir(parents=True, exist_ok=True)
    folders = [f"parity_tests/{chapter}" for chapter in CHAPTERS]
    command = [sys.executable, "-m", "pytest", "-p", "benchmarks.lines", *planting.OPTIONS[1:]]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "LINES": str(file)}
    environment["PYTHONPATH"] = str(ROOT)
    subprocess.run([*command, *folders], cwd=ROOT, env=environment, check=False)


def area(mutation: Mutation) -> str:
    """The part of the project in the terms of the report."""
    names = mutation.function.split(".")
    if mutation.file.startswith("diptych/parity"):
        return "parity"
    if mutation.file.endswith("nn/random.py"):
        return "random numbers"
    if mutation.file.endswith("masks.py") or any("mask" in name.lower() for name in names):
        return "masks"
    if mutation.file.startswith("numpy_ref") and {"vjp", "backward", "lambda"} & set(names):
        return "vjps"
    return mutation.file.split("/")[0]


def draw(package: str, count: int, seed: int) -> list[Mutation]:
    """`count` mutations of a package, all equally likely.

    They are those with the least hashes of seed and name, so that a change of a source changes the
    mutants of this source alone.
    """
    every: list[Mutation] = []
    for path in sorted((ROOT / package).rglob("*.py")):
        every += mutations(path.relative_to(ROOT).as_posix(), path.read_text())
    every.sort(key=lambda m: hashlib.sha256(f"{seed} {m.key}".encode()).digest())
    return every[:count]


def equivalents() -> dict[str, str]:
    """The reason why no test can notice it, for each mutant of the file by its key."""
    entries = tomllib.loads(EQUIVALENT.read_text()).get("equivalent", [])
    return {entry["mutant"]: entry["why"] for entry in entries}


def run(mutation: Mutation, tests: Tests, folder: Path) -> tuple[str, str]:
    """The verdict (killed, out of time, survivor) and the first test that failed."""
    text = mutation.apply((folder / mutation.file).read_text())
    for round_ in tests.rounds(mutation):
        chosen = [test for test in round_ if tests.sound.get(test, True)]
        while chosen:
            expected = sum(tests.seconds[test] for test in chosen)
            with planting.edited(folder, {mutation.file: text}):
                outcome = planting.run_tests(folder, chosen, timeout=60 + 10 * expected)
            if outcome.status is None:
                return "out of time", ""
            if outcome.status == 0:
                break
            test = outcome.first_failure
            if test not in tests.sound:
                known = test in tests.seconds  # a module that cannot be imported has no node id
                tests.sound[test] = not known or not planting.run_tests(folder, [test]).red
            if tests.sound[test]:
                tests.kills[test] += 1
                return "killed", test
            print(f"{test} fails in the unchanged copy and is left out", flush=True)
            chosen = [other for other in chosen if other != test]
    return "survivor", ""


def difference(mutation: Mutation) -> str:
    """The change as a unified diff without context."""
    source = (ROOT / mutation.file).read_text()
    texts = source.splitlines(), mutation.apply(source).splitlines()
    return "\n".join(difflib.unified_diff(*texts, mutation.file, "mutant", n=0, lineterm=""))


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts of all mutants and of each area, and the survivors."""
    areas: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        for name in ("all", row["area"]):
            areas[name]["drawn"] += 1
            areas[name][row["verdict"].replace(" ", "_")] += 1
    counts = {}
    for name, counter in areas.items():
        noticed = counter["killed"] + counter["out_of_time"]
        score = noticed / max(1, counter["drawn"] - counter["equivalent"])
        counts[name] = {**counter, "score": round(score, 4)}
    special = {
        f"{verdict}s": [row for row in rows if row["verdict"] == verdict]
        for verdict in ("survivor", "equivalent")
    }
    return {"mutants": counts, **special}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Mutants of the sources against the tests.")
    parser.add_argument("--count", type=int, default=120, help="Mutants of each package.")
    parser.add_argument("--seed", type=int, default=0, help="Random seed of the sample.")
    parser.add_argument("--package", action="append", help=f"Default: {', '.join(PACKAGES)}.")
    parser.add_argument("--mutant", help="Run the mutants whose name contains this text.")
    parser.add_argument("--lines", type=Path, default=ROOT / "runs" / "lines.json")
    parser.add_argument("--record", action="store_true", help="Record the lines of the tests anew.")
    parser.add_argument("--log", type=Path, help="Log of mutants; those killed there are not run.")
    parser.add_argument("--out", type=Path, help="Result file (benchmarks/results/mutants.json).")
    options = parser.parse_args(arguments)
    if options.record or not options.lines.exists():
        record(options.lines)
    count = 10**9 if options.mutant else options.count
    packages = options.package or PACKAGES
    samples = [draw(package, count, options.seed) for package in packages]
    sample = [m for turn in itertools.zip_longest(*samples) for m in turn if m is not None]
    sample = [mutation for mutation in sample if (options.mutant or "") in mutation.key]
    log = (
        [json.loads(line) for line in options.log.read_text().splitlines()]
        if options.log and options.log.exists()
        else []
    )
    known = {row["mutant"]: row for row in log if row["verdict"] != "survivor"}
    tests, reasons, rows, start = Tests(options.lines), equivalents(), [], time.monotonic()
    planting.preload()
    with planting.copy_of_checkout() as folder:
        for mutation in sample:
            if row := known.get(mutation.key):
                rows.append(row)
                continue
            began = time.monotonic()
            verdict, test = "equivalent", ""
            if mutation.key not in reasons:
                verdict, test = run(mutation, tests, folder)
            row = {"mutant": mutation.key, "area": area(mutation)}
            row |= {"verdict": verdict, "test": test}
            row |= {"diff": difference(mutation)} if verdict == "survivor" else {}
            row |= {"why": reasons[mutation.key]} if verdict == "equivalent" else {}
            rows.append(row)
            print(f"{verdict:11} {time.monotonic() - began:5.1f} s  {mutation.key}", flush=True)
            if options.log:
                with options.log.open("a") as file:
                    file.write(json.dumps(row) + "\n")
    result = summary(rows)
    print(json.dumps(result, indent=1))
    if options.out:
        write_result(options, result, time.monotonic() - start)
    return 1 if result["survivors"] else 0


def write_result(options: argparse.Namespace, result: dict[str, Any], seconds: float) -> None:
    from diptych.runs import results  # noqa: PLC0415  # the forks must import their own

    command = f"python benchmarks/mutants.py --count {options.count} --seed {options.seed}"
    results.write(
        options.out,
        name=options.out.stem,
        command=f"{command} --out benchmarks/results/mutants.json",
        seed=options.seed,
        data="",
        device="cpu",
        time_s=round(seconds, 1),
        metrics=result,
    )


if __name__ == "__main__":
    sys.exit(main())
