"""The number of test functions that name a file of the panels, read from the sources of the tests.

A test function names a file if it, or a helper or fixture that it uses, contains a name that is
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
    known = {stem.replace("/", "."): stem for stem in stems}
    modules = _modules(folder)
    counts: Counter[str] = Counter()
    for module in modules.values():
        for words in module.tests:
            counts.update(_stems(words, module, modules, known))
    return counts


class Module:
    """A module of the tests: the identifiers and strings of its definitions, and its imports."""

    def __init__(self, path: Path) -> None:
        tree = ast.parse(path.read_text())
        self.definitions: dict[str, set[str]] = {}
        self.tests: list[set[str]] = []
        """the identifiers and strings within each test function, also those of classes"""
        self.imports: dict[str, tuple[str, str]] = {}
        """the imported names: module, and name there"""
        for statement in tree.body:
            for name in _defined(statement):
                self.definitions.setdefault(name, set()).update(_words(statement))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                pairs = [(alias.asname or alias.name, alias.name) for alias in node.names]
                self.imports |= {name: (node.module, original) for name, original in pairs}
            elif isinstance(node, Function) and node.name.startswith("test_"):
                self.tests += [set(_words(node))] * path.name.startswith("test_")


@cache
def _modules(folder: Path) -> dict[str, Module]:
    """The modules below a folder by the name of their import, such as "helpers.small_vlaes"."""
    return {
        ".".join(path.relative_to(folder).with_suffix("").parts): Module(path)
        for path in sorted(folder.rglob("*.py"))
    }


def _stems(
    words: set[str], module: Module, modules: dict[str, Module], known: dict[str, str]
) -> set[str]:
    """The files that a test function names, by way of every definition that it uses."""
    waiting = [(module, word) for word in words]
    reached: set[tuple[int, str]] = set()
    stems: set[str] = set()
    while waiting:
        home, word = waiting.pop()
        if (id(home), word) in reached:
            continue
        reached.add((id(home), word))
        pair = word.partition("[")[0]
        stems |= {known[pair]} if pair in known else set()
        if word in home.definitions:
            waiting += [(home, inner) for inner in home.definitions[word]]
        elif word in home.imports:
            source, name = home.imports[word]
            stem = _file(source, name, known)
            stems |= {stem} if stem else set()
            if source in modules:
                waiting.append((modules[source], name))
            elif f"{source}.{name}" in modules:  # as a whole: its attributes are not followed
                whole = modules[f"{source}.{name}"]
                stems |= {_file(*origin, known) for origin in whole.imports.values()} - {""}
    return stems


def _file(module: str, name: str, known: dict[str, str]) -> str:
    """The file of a panel that an import reads; "" for a module that belongs to no panel."""
    panel, _, below = module.partition(".")
    if panel not in PANELS:
        return ""
    return known.get(f"{below}.{name}".lstrip(".")) or known.get(below, "")


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
