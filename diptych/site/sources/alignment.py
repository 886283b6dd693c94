"""Align the statements of two functions: monotone, of largest likeness, with folds.

A statement has at most one twin. A run of up to five statements may stand beside one of the other
panel (a fold) if it computes in steps what the other computes at once: every name that it assigns
on the way is used within the run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from diptych.site.sources.page import Statement
from diptych.site.sources.vocabulary import IGNORED, Words, common, words_of

FOLDS = (2, 3, 4, 5)
FOLDED = ("assign", "return", "expr", "raise")
SAME_TARGET, OTHER_TARGET, OTHER_KIND, FOLD = 0.2, 0.6, 0.4, 0.6
"""The least share of common words for a pair with the same target, with another target, for
statements that assign nothing, and for a fold."""
Pair = tuple[tuple[Statement, ...], tuple[Statement, ...]]


@dataclass(frozen=True)
class _Run:
    """Statements taken as one: the words of all, without the names assigned on the way."""

    kind: str
    targets: tuple[str, ...]
    words: Counter[str]
    callees: frozenset[str]


def align(left: Sequence[Statement], right: Sequence[Statement]) -> list[Pair]:
    """Pairs of runs in order; an empty run where a statement has no twin."""
    a, b = [words_of(s) for s in left], [words_of(s) for s in right]
    spans = [(1, 1), *((p, 1) for p in FOLDS), *((1, q) for q in FOLDS)]
    best = [[(0.0, (0, 0))] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i in range(len(a), -1, -1):
        for j in range(len(b), -1, -1):
            options = [(best[i + 1][j][0], (1, 0))] if i < len(a) else []
            options += [(best[i][j + 1][0], (0, 1))] if j < len(b) else []
            for p, q in spans:
                if i + p <= len(a) and j + q <= len(b):
                    score = likeness(a[i : i + p], b[j : j + q])
                    if score:
                        options.append((best[i + p][j + q][0] + score, (p, q)))
            best[i][j] = max(options, default=(0.0, (0, 0)))
    return _path(left, right, best)


def likeness(left: Sequence[Words], right: Sequence[Words]) -> float:
    """Common words, targets and callees of two runs; 0 for runs that are no twins."""
    ours, theirs = _as_one(left), _as_one(right)
    if not ours or not theirs or ours.kind != theirs.kind or ours.kind == "backward":
        return 0
    common = _common_share(ours.words, theirs.words)
    targets = _common_share(Counter(ours.targets), Counter(theirs.targets))
    callees = _common_share(Counter(ours.callees), Counter(theirs.callees))
    if ours.kind == "assign":
        least = SAME_TARGET if targets > 0.5 else OTHER_TARGET
    else:
        least = OTHER_KIND
    if len(left) + len(right) > 2:
        least = FOLD
        if ours.kind == "assign" and targets <= 0.5:
            return 0
    if common < least:
        return 0
    weight = (len(left) + len(right)) / 2
    return weight * (common + 0.5 * targets + 0.3 * callees) - 0.1 * (weight - 1)


def _as_one(run: Sequence[Words]) -> _Run | None:
    """The run as one statement, or None if a step is not used by a later one."""
    *steps, last = run
    if not steps:
        return _Run(last.kind, last.targets, last.words, last.callees)
    words, callees = Counter(last.words), set(last.callees)
    names: set[str] = set()
    if last.kind not in FOLDED:
        return None
    for k, step in enumerate(steps):
        later = set().union(*(w.all_reads for w in run[k + 1 :]))
        if step.kind != "assign" or not _is_used(step, later):
            return None
        words.update(step.words)
        callees |= step.callees
        names |= step.names
    for name in names:
        del words[name]
    return _Run(last.kind, last.targets, words, frozenset(callees))


def _is_used(step: Words, later: set[str]) -> bool:
    """True if a later statement reads all names that the step assigns, or its vjp."""
    if not step.names:
        return bool(step.all_targets & later)
    return not step.names <= IGNORED and step.names <= {common(name) for name in later}


def _common_share(a: Counter[str], b: Counter[str]) -> float:
    total = a.total() + b.total()
    return 2 * (a & b).total() / total if total else 1.0


def _path(
    left: Sequence[Statement],
    right: Sequence[Statement],
    best: list[list[tuple[float, tuple[int, int]]]],
) -> list[Pair]:
    i = j = 0
    pairs: list[Pair] = []
    while i < len(left) or j < len(right):
        p, q = best[i][j][1]
        pairs.append((tuple(left[i : i + p]), tuple(right[j : j + q])))
        i, j = i + p, j + q
    return pairs
