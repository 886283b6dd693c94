"""The number of test functions that name a file of the panels, read from the sources of the tests.

A test function names a file if it, or a helper in its own module that it uses, uses a name that is
imported from this file, or a string with the name of a pair ("lstm" or "lstm[variational]").
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

PANELS = ("numpy_ref", "torch_impl")
Function = ast.FunctionDef | ast.AsyncFunctionDef


def count_tests(folder: Path, stems: Iterable[str]) -> Counter[str]:
    """The number of test functions below `folder` that name each file, such as "nn/layers"."""
    counts: Counter[str] = Counter()
    known = {stem.replace("/", "."): stem for stem in stems}
    for path in sorted(folder.rglob("test_*.py")):
        counts.update(_stems_of_tests(ast.parse(path.read_text()), known))
    return counts


def _stems_of_tests(tree: ast.Module, known: dict[str, str]) -> Iterator[str]:
    """The stems that each test function of a module names, once for each function."""
    imports = dict(_imports(tree, known))
    parts: dict[str, list[ast.AST]] = {}
    for node in tree.body:
        for name in _defined(node):
            parts.setdefault(name, []).append(node)

    @cache
    def words(name: str) -> frozenset[str]:
        """The identifiers and strings that the definition of `name` contains."""
        return frozenset(word for node in parts.get(name, []) for word in _words(node))

    for test in _tests(tree):
        reached, waiting = set[str](), set(_words(test))
        while waiting:
            word = waiting.pop()
            reached.add(word)
            if word in parts and word not in imports:
                waiting |= words(word) - reached
        stems = {imports[word] for word in reached if word in imports}
        pairs = {word.partition("[")[0] for word in reached}
        yield from stems | {known[name] for name in pairs if name in known}


def _imports(tree: ast.Module, known: dict[str, str]) -> Iterator[tuple[str, str]]:
    """The names that a module imports from the panels, each with its file."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or node.module is None:
            continue
        panel, _, module = node.module.partition(".")
        if panel not in PANELS:
            continue
        for alias in node.names:
            whole = f"{module}.{alias.name}".lstrip(".")
            stem = known.get(whole) or known.get(module)
            if stem:
                yield alias.asname or alias.name, stem


def _defined(node: ast.stmt) -> list[str]:
    if isinstance(node, Function | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", node)]
    return [n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)]


def _tests(tree: ast.Module) -> Iterator[Function]:
    for node in ast.walk(tree):
        if isinstance(node, Function) and node.name.startswith("test_"):
            yield node


def _words(node: ast.AST) -> Iterator[str]:
    for n in ast.walk(node):
        if isinstance(n, ast.Name):
            yield n.id
        elif isinstance(n, ast.arg):
            yield n.arg
        elif isinstance(n, ast.Constant) and re.fullmatch(r"\w+(\[.*\])?", str(n.value)):
            yield str(n.value)
