"""The number of test functions that name a file of the panels, read from the sources of the tests.

A test function names a file if it, or a helper or fixture that it uses, contains a name that is
imported from this file, or a string with the name of a pair ("lstm" or "lstm[variational]").
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path

PANELS = ("numpy_ref", "torch_impl")
Function = ast.FunctionDef | ast.AsyncFunctionDef


def count_tests(folder: Path, stems: Iterable[str]) -> Counter[str]:
    """The number of test functions below `folder` that name each file, such as "nn/layers"."""
    known = {stem.replace("/", "."): stem for stem in stems}
    modules = {_dotted(path, folder): Module(path, known) for path in sorted(folder.rglob("*.py"))}
    counts: Counter[str] = Counter()
    for module in modules.values():
        for test in module.tests:
            counts.update(_stems(test, module, modules, known))
    return counts


def _dotted(path: Path, folder: Path) -> str:
    """The name by which tests import a module: "helpers.small_vlaes"."""
    return ".".join(path.relative_to(folder).with_suffix("").parts)


class Module:
    """A module of the tests: its definitions, and what their names stand for."""

    def __init__(self, path: Path, known: dict[str, str]) -> None:
        self.tree = ast.parse(path.read_text())
        self.is_test = path.name.startswith("test_")
        self.files: dict[str, str] = {}
        """names that are imported from a panel, each with its file"""
        self.helpers: dict[str, tuple[str, str]] = {}
        """names that are imported from elsewhere: module, and name there"""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                self._add_imports(node, node.module, known)

    def _add_imports(self, node: ast.ImportFrom, module: str, known: dict[str, str]) -> None:
        panel, _, below = module.partition(".")
        for alias in node.names:
            name = alias.asname or alias.name
            stem = known.get(f"{below}.{alias.name}".lstrip(".")) or known.get(below)
            if panel in PANELS and stem:
                self.files[name] = stem
            else:
                self.helpers[name] = module, alias.name

    @property
    def tests(self) -> Iterator[Function]:
        """The test functions, also those of classes."""
        for node in ast.walk(self.tree) if self.is_test else ():
            if isinstance(node, Function) and node.name.startswith("test_"):
                yield node

    @cached_property
    def definitions(self) -> dict[str, set[str]]:
        """The identifiers and strings within each definition of the module, by its name."""
        result: dict[str, set[str]] = {}
        for node in self.tree.body:
            for name in _defined(node):
                result.setdefault(name, set()).update(_words(node))
        return result


def _stems(
    test: Function, module: Module, modules: dict[str, Module], known: dict[str, str]
) -> set[str]:
    """The files that a test function names, by way of every definition that it uses."""
    waiting = [(module, word) for word in _words(test)]
    reached: set[tuple[int, str]] = set()
    stems: set[str] = set()
    while waiting:
        home, word = waiting.pop()
        if (id(home), word) in reached:
            continue
        reached.add((id(home), word))
        pair = word.partition("[")[0]
        stems |= {known[pair]} if pair in known else set()
        if word in home.files:
            stems.add(home.files[word])
        elif word in home.definitions:
            waiting += [(home, inner) for inner in home.definitions[word]]
        elif word in home.helpers:
            source, name = home.helpers[word]
            whole = modules.get(f"{source}.{name}")
            if source in modules:
                waiting.append((modules[source], name))
            elif whole:  # a module as a whole: the attributes that the test uses are not followed
                stems |= set(whole.files.values())
    return stems


def _defined(node: ast.stmt) -> list[str]:
    if isinstance(node, Function | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", node)]
    return [n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)]


def _words(node: ast.AST) -> Iterator[str]:
    """The identifiers, the arguments, and the strings that could name a pair."""
    for n in ast.walk(node):
        if isinstance(n, ast.Name):
            yield n.id
        elif isinstance(n, ast.arg):
            yield n.arg
        elif isinstance(n, ast.Constant) and re.fullmatch(r"\w+(\[.*\])?", str(n.value)):
            yield str(n.value)
