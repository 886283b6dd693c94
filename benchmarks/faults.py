"""Plant faults in copies of the checkout, one after the other: the tests must notice each.

    make faults                                          all of benchmarks/faults/*.toml
    python benchmarks/faults.py NAME ...                 those whose name contains one of NAMES
    python benchmarks/faults.py --folder DIR             those of another folder

A fault is an edit of one panel, or the same edit of both, and the tests that are to fail:

    [[fault]]
    name = "relu passes every gradient"
    hole = "H1"                                          optional: the hole that it belongs to
    tests = ["parity_tests/nn/test_vjps.py"]
    [[fault.edit]]
    file = "numpy_ref/nn/functional.py"
    old = "dy * (y > 0)"                                 occurs once in the file
    new = "dy * (y > -1)"

Exit status: 0 if each fault was noticed, 1 if one stayed green or could not be planted.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tomllib
from pathlib import Path
from typing import Any

import planting

FOLDER = Path(__file__).parent / "faults"
KEYS = {"name", "hole", "tests", "edit"}
EDIT_KEYS = {"file", "old", "new"}


class FaultError(ValueError):
    """A fault that cannot be planted."""


@dataclasses.dataclass(frozen=True)
class Fault:
    """A planted fault: its edits, as (file, old, new), and the tests that must notice it."""

    name: str
    tests: list[str]
    edits: list[tuple[str, str, str]]
    hole: str = ""

    @property
    def panels(self) -> str:
        """The panels in which it is planted: left, right, both, or other."""
        left = any(file.startswith("numpy_ref/") for file, _, _ in self.edits)
        right = any(file.startswith("torch_impl/") for file, _, _ in self.edits)
        return {(1, 0): "left", (0, 1): "right", (1, 1): "both"}.get((left, right), "other")

    def texts(self, folder: Path) -> dict[str, str]:
        """The text of each edited file. Raises FaultError unless each `old` occurs once."""
        texts: dict[str, str] = {}
        for file, old, new in self.edits:
            if not (folder / file).is_file():
                raise FaultError(f"{self.name}: {file} does not exist")
            text = texts.get(file) or (folder / file).read_text()
            if text.count(old) != 1 or old == new:
                count = "equals `new`" if old == new else f"occurs {text.count(old)} times, takes 1"
                raise FaultError(f"{self.name}: {file}: old {old!r} {count}")
            texts[file] = text.replace(old, new)
        return texts


def read_faults(folder: Path) -> list[Fault]:
    """The faults of all files of a folder. Raises FaultError for an entry that is not a fault."""
    faults = []
    for path in sorted(folder.glob("*.toml")):
        for entry in tomllib.loads(path.read_text()).get("fault", []):
            faults.append(_fault(path, entry))
    names = [fault.name for fault in faults]
    if doubled := {name for name in names if names.count(name) > 1}:
        raise FaultError(f"{folder}: names of several faults: {sorted(doubled)}")
    return faults


def _fault(path: Path, entry: dict[str, Any]) -> Fault:
    name = entry.get("name", "(no name)")
    edits = entry.get("edit", [])
    keys = {"name", "tests", "edit"} - set(entry) | set(entry) - KEYS
    keys |= {key for edit in edits for key in EDIT_KEYS ^ set(edit)}
    if keys or not entry["tests"] or not edits:
        raise FaultError(f"{path.name}: {name}: missing, empty or unknown: {sorted(keys)}")
    return Fault(
        name,
        entry["tests"],
        [(e["file"], e["old"], e["new"]) for e in edits],
        entry.get("hole", ""),
    )


def plant(fault: Fault, folder: Path, timeout: float) -> planting.Outcome:
    """Run the fault's tests in `folder` with its edits. Raises FaultError if no test ran."""
    for test in fault.tests:
        if not (folder / test.split("::")[0]).exists():
            raise FaultError(f"{fault.name}: {test} does not exist")
    with planting.edited(folder, fault.texts(folder)):
        outcome = planting.run_tests(folder, fault.tests, timeout)
    if outcome.status not in (0, 1, 2, None) or "not found: " in outcome.output:
        raise FaultError(f"{fault.name}: pytest could not run {fault.tests}:\n{outcome.output}")
    return outcome


def broken_tests(faults: list[Fault], folder: Path, timeout: float) -> str:
    """The output of the tests that fail in the unchanged copy, "" if there are none."""
    tests = {
        t: None for fault in faults for t in fault.tests if (folder / t.split("::")[0]).exists()
    }
    known = [test for test in tests if "::" not in test or test.split("::")[0] not in tests]
    outcome = planting.run_tests(folder, known, timeout * len(faults))
    return outcome.output if outcome.status == 1 else ""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Plant faults that the tests must notice.")
    parser.add_argument("names", nargs="*", help="Parts of the names; by default all faults.")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="Folder of the TOML files.")
    parser.add_argument("--root", type=Path, default=planting.ROOT, help="Checkout to copy.")
    parser.add_argument("--timeout", type=float, default=300.0, help="Seconds for one fault.")
    options = parser.parse_args(arguments)
    try:
        faults = read_faults(options.folder)
    except FaultError as error:
        print(error)
        return 1
    if options.names:
        faults = [fault for fault in faults if any(name in fault.name for name in options.names)]
    if not faults:
        print(f"no fault in {options.folder} has a name with {options.names}")
        return 1
    if options.root == planting.ROOT:  # another checkout may need none of the libraries
        planting.preload()
    seconds, complaints = 0.0, []
    with planting.copy_of_checkout(options.root) as folder:
        if broken := broken_tests(faults, folder, options.timeout):
            print(f"these tests fail without any fault:\n{broken}")
            return 1
        for fault in faults:
            try:
                outcome = plant(fault, folder, options.timeout)
            except FaultError as error:
                complaints.append(str(error))
                print(f"error          {error}", flush=True)
                continue
            seconds += outcome.cpu
            if not outcome.red:
                complaints.append(f"{fault.name}: green, {' '.join(fault.tests)} notice nothing")
            colour = "red" if outcome.red else "GREEN"
            noticed = outcome.first_failure if outcome.red else "no test failed"
            print(f"{colour:5} {outcome.cpu:5.1f} s  {fault.panels:5} {fault.name}: {noticed}")
            sys.stdout.flush()
    print(f"{len(faults)} faults, {len(faults) - len(complaints)} red, {seconds:.0f} CPU seconds")
    for complaint in complaints:
        print(f"  {complaint}")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
