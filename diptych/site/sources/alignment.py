"""Align the statements of two functions: monotone, of largest likeness, with folds.

A statement has at most one twin. A run of up to five statements may stand beside one of the other
panel (a fold) if it computes in steps what the other computes at once: every name that it assigns
on the way is used within the run.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from diptych.site.sources.page import Statement
from diptych.site.sources.vocabulary import IGNORED, Words, common, words_of

LONGEST = 5
FOLDED = ("assign", "return", "expr", "raise")
SAME_TARGET, OTHER_TARGET, OTHER_KIND, FOLD = 0.2, 0.6, 0.4, 0.6
"""The least share of common words for a pair with the same target, with another target, for
statements that assign nothing, and for a fold."""
Pair = tuple[tuple[Statement, ...], tuple[Statement, ...]]


@dataclass(frozen=True)
class Run:
    """Statements taken as one: the words of all, without the names assigned on the way."""

    length: int
    kind: str
    targets: Counter[str]
    words: Counter[str]
    callees: Counter[str]


def align(left: Sequence[Statement], right: Sequence[Statement]) -> list[Pair]:
    """Pairs of runs in order; an empty run where a statement has no twin."""
    ours, theirs = _runs(left), _runs(right)
    best = [[(0.0, (0, 0))] * (len(right) + 1) for _ in range(len(left) + 1)]
    for i in range(len(left), -1, -1):
        for j in range(len(right), -1, -1):
            options = [(best[i + 1][j][0], (1, 0))] if i < len(left) else []
            options += [(best[i][j + 1][0], (0, 1))] if j < len(right) else []
            for a in ours[i]:
                for b in theirs[j]:
                    score = likeness(a, b) if min(a.length, b.length) == 1 else 0
                    if score:
                        p, q = a.length, b.length
                        options.append((best[i + p][j + q][0] + score, (p, q)))
            best[i][j] = max(options, default=(0.0, (0, 0)))
    return _path(left, right, best)


def likeness(left: Run, right: Run) -> float:
    """Common words, targets and callees of two runs; 0 for runs that are no twins."""
    if left.kind != right.kind or left.kind == "backward":
        return 0
    is_fold, assigns = left.length + right.length > 2, left.kind == "assign"
    targets = _common_share(left.targets, right.targets)
    if is_fold and assigns and targets <= 0.5:
        return 0
    words = _common_share(left.words, right.words)
    least = (SAME_TARGET if targets > 0.5 else OTHER_TARGET) if assigns else OTHER_KIND
    if words < (FOLD if is_fold else least):
        return 0
    weight = (left.length + right.length) / 2
    callees = _common_share(left.callees, right.callees)
    return weight * (words + 0.5 * targets + 0.3 * callees) - 0.1 * (weight - 1)


def _runs(statements: Sequence[Statement]) -> list[list[Run]]:
    """By its first statement, the runs of one to five statements that may have a twin."""
    words = [words_of(s) for s in statements]
    indents = _indents(statements)
    result: list[list[Run]] = []
    for i in range(len(words)):
        lengths = range(1, min(LONGEST, len(words) - i) + 1)
        block = [n for n in lengths if n == 1 or set(indents[i : i + n]) == {indents[i]}]
        result.append([run for n in block if (run := _as_one(words[i : i + n]))])
    return [*result, []]


def _indents(statements: Sequence[Statement]) -> list[int]:
    """The block of each statement as a column; the body of a `with` is no block of its own."""
    withs = [s.node for s in statements if isinstance(s.node, ast.With)]
    result = []
    for node in (s.node for s in statements):
        line = getattr(node, "lineno", 0)
        around = [w for w in withs if w.lineno < line <= cast(int, w.end_lineno)]
        result.append(getattr(node, "col_offset", -1) - 4 * len(around))
    return result


def _as_one(run: Sequence[Words]) -> Run | None:
    """The run as one statement, or None if a step is not used by a later one."""
    *steps, last = run
    if steps and last.kind not in FOLDED:
        return None
    words, callees = Counter(last.words), set(last.callees)
    for k, step in enumerate(steps):
        later = set().union(*(w.all_reads for w in run[k + 1 :]))
        if step.kind != "assign" or not _is_used(step, later):
            return None
        words.update(step.words)
        callees |= step.callees
    for name in set().union(*(step.names for step in steps)):
        del words[name]
    return Run(len(run), last.kind, Counter(last.targets), words, Counter(callees))


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
