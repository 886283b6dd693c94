"""Definitions that one panel alone has: each has a reason here, or is an error of the build.

torch's own part is in the table of supplied.py.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

from diptych.site.sources.lone import FILES, LONE
from diptych.site.sources.page import SideName, SourcePage, TwinFile
from diptych.site.sources.remarks import first_line
from diptych.site.sources.supplied import BODIES, SUPPLIED, calls

RENAMED: dict[str, dict[str, str]] = {"nn/checks": {"check_array": "check_tensor"}}
"""By file: definitions whose name differs by rule, an array of the left being a tensor."""

REASONS: dict[str, dict[str, str]] = {
    "nn/checks": {
        "Model": "the right's checks read dtype and device from a model, the left's take a dtype",
        "safe_tokens": "only the right panel's checks can be deferred: see nn/verdicts.py",
    },
    "nn/module": {"as_device": "only the right panel has devices"},
    "nn/random": {"_words": "only the right panel draws the streams of several keys at once"},
    "nn/weight_norm": {"_pair": "as_pair of numpy_ref/nn/convolution.py does this on the left"},
    "autoregressive/pixel_cnn": {
        "MaskedConv2d.reset_parameters": "torch's constructor calls it; the left's draws nothing",
    },
}
"""By file and definition of one panel: why the other has none."""

DEVICE = "only the right panel has devices"
PANELS: dict[SideName, str] = {"left": "numpy_ref", "right": "torch_impl"}


def reason(stem: str, name: str, side: SideName) -> str:
    """Why only this side has a definition, "" if there is no reason."""
    if side == "right" and name.endswith(".device"):
        return DEVICE
    return REASONS.get(stem, {}).get(name, "")


def missing_twin(stem: str, name: str, side: SideName, others: Sequence[str]) -> str:
    """The error message for a definition without a twin; `others` are the other side's own."""
    other: SideName = "right" if side == "left" else "left"
    ours, theirs = (f"{PANELS[s]}/{stem}.py" for s in (side, other))
    message = f"{ours}: {name} has no twin in {theirs}"
    near = difflib.get_close_matches(name, others, 1)
    return f"{message}; {theirs} has {near[0]}, which {ours} lacks" if near else message


def missing_file(file: TwinFile) -> str:
    """The error message for a file that one panel lacks without a reason, else ""."""
    if (file.left and file.right) or file.stem in FILES:
        return ""
    there, missing = ("numpy_ref", "torch_impl") if file.left else ("torch_impl", "numpy_ref")
    return f"{there}/{file.stem}.py has no twin {missing}/{file.stem}.py"


def check(pages: Sequence[SourcePage]) -> list[str]:
    """The definitions without a twin of all pages, and the entries of the tables that are stale."""
    return [message for page in pages for message in page.missing_twins] + stale(pages)


def stale(pages: Sequence[SourcePage]) -> list[str]:
    """Entries of the tables for definitions, files and statements that no panel has alone."""
    by_stem = {page.file.stem: page for page in pages}
    alone = {stem: [d.name for d in page.walk() if d.only] for stem, page in by_stem.items()}
    both = {stem: [d.name for d in page.walk() if not d.only] for stem, page in by_stem.items()}
    messages = []
    for table, names in ((SUPPLIED, alone), (REASONS, alone), (BODIES, both), (RENAMED, both)):
        for stem, entries in table.items():
            for name in entries:
                if name not in names.get(stem, ()):
                    kind = "of one panel alone" if names is alone else "of both panels"
                    messages.append(f"{stem}: {name} is in a table, but is no definition {kind}")
    for stem, entries in BODIES.items():
        for name, torch_name in entries.items():
            if not calls(stem, name, torch_name):
                messages.append(f"{stem}: {name} does not call {torch_name} on the right")
    for stem in FILES:
        page = by_stem.get(stem)
        if not page or (page.file.left and page.file.right):
            messages.append(f"{stem} is in the table of files of one panel, but is none")
    lone = {key for page in pages for key in _lone_lines(page)}
    for key in _table_lines():
        if key not in lone:
            messages.append(
                f"{': '.join(key)} is in the table of remarks, but has a twin or is gone"
            )
    return messages


def _lone_lines(page: SourcePage) -> Iterator[tuple[str, str, str, str]]:
    for definition in page.walk():
        for row in definition.groups:
            if row.kind in ("left", "right"):
                statement = (row.left or row.right)[0]
                yield page.file.stem, row.kind, definition.name, first_line(statement.node)


def _table_lines() -> Iterator[tuple[str, str, str, str]]:
    for stem, sides in LONE.items():
        for side, definitions in sides.items():
            for definition, lines in definitions.items():
                for line in lines:
                    yield stem, side, definition, line
