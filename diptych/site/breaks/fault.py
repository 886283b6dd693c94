"""The planted faults of the page, read from faults.toml."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

FILE = Path(__file__).parent / "faults.toml"
FLOAT32 = ("diverges", "agrees", "skipped")
PANELS = ("numpy_ref", "torch_impl")


class FaultError(ValueError):
    """A fault that is not described well, or that cannot be planted."""


@dataclass(frozen=True)
class Edit:
    """One edit of a fault: `old`, which occurs once in the file, becomes `new`."""

    file: str
    """path below the folder of the packages, such as numpy_ref/lstm.py"""
    old: str
    new: str

    @property
    def panel(self) -> Literal["left", "right"]:
        """The panel that it changes."""
        return "left" if self.file.startswith(PANELS[0]) else "right"

    @property
    def stem(self) -> str:
        """The file within its panel, as in TwinFile: "recurrent/network"."""
        return self.file.partition("/")[2].removesuffix(".py")

    def apply(self, text: str) -> str:
        """The edited text. Raises: FaultError unless `old` occurs once."""
        if (count := text.count(self.old)) != 1:
            raise FaultError(f"{self.file}: old {self.old!r} occurs {count} times, takes 1")
        return text.replace(self.old, self.new)


@dataclass(frozen=True)
class Fault:
    """A fault, the comparison that shows it, and the first divergence that is expected there."""

    name: str
    """its name in addresses: break.html#NAME, lstm.html?broken=NAME"""
    title: str
    why: str
    """how one comes to make this error"""
    sign: str
    """how one would notice it without a comparison, or not"""
    pair: str
    edits: tuple[Edit, ...] = field(default=())
    expect: str = ""
    """name of the first diverging tensor; "" if every tensor agrees"""
    also: tuple[str, ...] = ()
    """other variants that are compared"""
    float32: str = "diverges"
    """the expected result of the same comparison in float32: diverges, agrees, or skipped, which
    saves the time of a large pair"""
    witness: str = ""
    """a test that notices the fault without a comparison of the panels"""

    @property
    def panels(self) -> str:
        """The panels in which it is planted: left, right or both."""
        sides = sorted({edit.panel for edit in self.edits})
        return sides[0] if len(sides) == 1 else "both"

    @property
    def label(self) -> str:
        """Its name in words: "wrong gate"."""
        return self.name.replace("-", " ")

    @property
    def chapter(self) -> str:
        """The model in whose row of the page it stands; "training" for an optimiser's fault."""
        return "training" if "nn/optim" in self.edits[0].file else self.model

    @property
    def model(self) -> str:
        """The pair without its variant."""
        return self.pair.partition("[")[0]

    def texts(self, folder: Path) -> dict[str, str]:
        """The text of each edited file. Raises: FaultError if an edit does not fit any more."""
        texts: dict[str, str] = {}
        for edit in self.edits:
            if not (folder / edit.file).is_file():
                raise FaultError(f"{edit.file} does not exist")
            texts[edit.file] = edit.apply(texts.get(edit.file) or (folder / edit.file).read_text())
        return texts


def read_faults(file: Path = FILE) -> list[Fault]:
    """The faults of a file, in its order. Raises: FaultError for an entry that is not a fault."""
    faults = [_fault(entry) for entry in tomllib.loads(file.read_text()).get("fault", [])]
    names = [fault.name for fault in faults]
    if doubled := {name for name in names if names.count(name) > 1}:
        raise FaultError(f"{file.name}: names of several faults: {sorted(doubled)}")
    return faults


def _fault(entry: dict[str, Any]) -> Fault:
    known = {f.name for f in fields(Fault)} - {"edits"} | {"edit"}
    required = {"name", "title", "why", "sign", "pair", "edit"}
    edits = entry.get("edit", [])
    wrong = (set(entry) - known) | (required - set(entry))
    wrong |= {key for edit in edits for key in {"file", "old", "new"} ^ set(edit)}
    if entry.get("float32", "agrees") not in FLOAT32:
        wrong.add("float32")
    if wrong or not edits or not (entry.get("expect") or entry.get("witness")):
        name = entry.get("name", "(no name)")
        raise FaultError(f"{name}: keys missing, unknown or empty: {sorted(wrong) or 'expect'}")
    values = {key: value for key, value in entry.items() if key != "edit"}
    values["also"] = tuple(values.get("also", ()))
    return Fault(**values, edits=tuple(Edit(**edit) for edit in edits))
