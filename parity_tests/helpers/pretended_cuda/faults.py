"""Plant faults into modules of the project, without a change of their files.

A fault is another text for some words of a source file, on the same line, so that the lines keep
their numbers. The modules of the project are imported again, in a process that ends afterwards.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import linecache
import sys
from pathlib import Path
from typing import Any

from helpers.pretended_cuda.ledger import ROOT

PACKAGES = ("diptych", "torch_impl", "numpy_ref", "model_specs")
IMPORTERS = ("helpers.pretended_cuda.situations", "helpers.pretended_cuda.steps")


def plant(file: str, old: str, new: str) -> int:
    """Make `file` import with `new` in place of `old`; return the number of this line.

    Raises: ValueError unless `old` occurs once, or if the lines would move.
    """
    path = ROOT / file
    source = path.read_text()
    if source.count(old) != 1 or old.count("\n") != new.count("\n"):
        raise ValueError(f"{file}: {old!r} occurs {source.count(old)} times, takes once")
    changed = source.replace(old, new)
    for name in list(sys.modules):
        if name.partition(".")[0] in PACKAGES or name in IMPORTERS:
            del sys.modules[name]
    sys.meta_path.insert(0, _Finder(str(path), changed))
    lines = changed.splitlines(keepends=True)
    linecache.cache[str(path)] = (len(changed), None, lines, str(path))
    return source[: source.index(old)].count("\n") + 1


class _Finder(importlib.abc.MetaPathFinder):
    """A finder that loads one file with another text."""

    def __init__(self, path: str, source: str) -> None:
        self.path, self.source = path, source
        name = Path(path).relative_to(ROOT).with_suffix("")
        self.module = ".".join(name.parts).removesuffix(".__init__")

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name != self.module:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None:
            spec.loader = _Loader(name, self.path, self.source)
        return spec


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, name: str, path: str, source: str) -> None:
        super().__init__(name, path)
        self.text = source

    def get_code(self, fullname: str) -> Any:
        return compile(self.text, self.path, "exec")
