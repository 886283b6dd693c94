"""Makers: "file.py:function" and "package.module:function", which build the model of one side."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from diptych.files import digest
from diptych.names import lookup

TAKES = "file.py:function, package.module:function"


class Maker(NamedTuple):
    """A file or a module, and the name of a function or class in it that takes no arguments."""

    module: str
    """Path of a .py file, or the dotted name of a module"""
    function: str

    @property
    def file(self) -> Path | None:
        """The path, or None for the name of a module."""
        return Path(self.module) if self.module.endswith(".py") else None

    def __str__(self) -> str:
        return f"{self.module}:{self.function}"

    def seen_from(self, folder: Path) -> Maker:
        """The maker with its path relative to `folder`; the name of a module is kept."""
        if self.file is None:
            return self
        path = os.path.relpath(self.file.resolve(), folder.resolve())
        return self._replace(module=Path(path).as_posix())


def parse(argument: str, text: str, more: str = "", folder: Path = Path()) -> Maker:
    """Parse "file.py:function" or "package.module:function"; nothing is imported.

    A file is looked for in `folder`.

    Raises: ValueError that names `argument`, if the text has another form or the file is missing.
    """
    module, colon, function = text.rpartition(":")
    dotted = all(part.isidentifier() for part in module.split("."))
    if not colon or not function.isidentifier() or not (module.endswith(".py") or dotted):
        raise ValueError(f"{argument}: got {text!r}, takes {TAKES}{more}")
    maker = Maker((folder / module).as_posix() if module.endswith(".py") else module, function)
    if maker.file is not None and not maker.file.is_file():
        raise ValueError(f"{argument}: got {text!r}, there is no file '{maker.file}'")
    return maker


def make(argument: str, maker: Maker) -> Any:
    """Import the maker's module, call its function, and return the model.

    The folder of a file is on `sys.path` meanwhile, so that the file can import its neighbours. Two
    files in different folders may have neighbours of the same name.
    Raises: ValueError that names `argument` and the cause, whatever the imported code raises.
    """
    with _importable(maker.file):
        try:
            module = _import(maker)
        except Exception as error:
            raise ValueError(
                f"{argument}: cannot import '{maker.module}': {_cause(error)}"
            ) from error
        public = {n: v for n, v in vars(module).items() if callable(v) and not n.startswith("_")}
        own = {n: v for n, v in public.items() if getattr(v, "__module__", "") == module.__name__}
        if maker.function not in public:
            try:
                lookup("function", maker.function, own)
            except ValueError as error:
                has = "" if own else "; it defines no function"
                raise ValueError(f"{argument}: '{maker.module}': {error}{has}") from None
        function = public[maker.function]
        required = _required_arguments(function)
        if required:
            raise ValueError(
                f"{argument}: '{maker}' needs {', '.join(required)}; takes a function or a class "
                "without required arguments"
            )
        try:
            return function()
        except Exception as error:
            raise ValueError(f"{argument}: '{maker}' failed: {_cause(error)}") from error


def _required_arguments(function: Any) -> list[str]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # a built-in function may have no signature
        return []
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind not in variadic]


def _cause(error: Exception) -> str:
    """The type of an error, its message and the innermost line of code, as one line."""
    place = ""
    if error.__traceback__ is not None and not isinstance(error, SyntaxError):
        step = error.__traceback__
        while step.tb_next is not None:
            step = step.tb_next
        file = step.tb_frame.f_code.co_filename
        place = "" if file.startswith("<") else f" ({Path(file).name}, line {step.tb_lineno})"
    return f"{type(error).__name__}: {error}{place}"


_neighbours: dict[str, Path] = {}
"""Names of the modules that a maker's file imported from its own folder -> that folder"""


def _import(maker: Maker) -> ModuleType:
    if maker.file is None:
        if os.getcwd() not in sys.path and "" not in sys.path:
            sys.path.append(os.getcwd())  # a script has its own folder there instead
        return importlib.import_module(maker.module)
    path = maker.file.resolve()
    name = f"{path.stem}_{digest(str(path).encode())[:8]}"  # torch.py must not replace torch
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@contextlib.contextmanager
def _importable(file: Path | None) -> Iterator[None]:
    """Put the folder of a file on `sys.path`.

    Modules that another file imported from another folder are hidden: a neighbour of the same name
    would be taken from there, and one side would be compared with itself.
    """
    if file is None:
        yield
        return
    folder = file.resolve().parent
    others = [name for name, owner in _neighbours.items() if owner != folder]
    hidden = {name: sys.modules.pop(name) for name in others if name in sys.modules}
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(str(folder))
        for name in sys.modules.keys() - before:
            if _is_neighbour(name, sys.modules[name], folder):
                _neighbours[name] = folder
        for name, module in hidden.items():
            sys.modules.setdefault(name, module)


def _is_neighbour(name: str, module: ModuleType, folder: Path) -> bool:
    """True for a module in folder/name.py or in the package folder/name."""
    source = getattr(module, "__file__", None)
    if not source or folder not in Path(source).resolve().parents:
        return False
    first = Path(source).resolve().relative_to(folder).parts[0]
    return first.removesuffix(".py") == name.partition(".")[0]  # not those in folder/.venv
