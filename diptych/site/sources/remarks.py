"""Why a statement stands alone: rules that read the statement, and a short table for the rest.

A rule gives a remark only where the statement itself shows that it is true.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence

from diptych.site.sources.backward import backward_only
from diptych.site.sources.lone import lone
from diptych.site.sources.page import SideName, Statement
from diptych.site.sources.statements import Branch
from diptych.site.sources.vocabulary import words_of

AUTOGRAD = "autograd does this on the right"
DEVICE_WORDS = {"dtype", "device", "factory_kwargs"}


def remark(
    statement: Statement, side: SideName, stem: str, name: str, function: Sequence[Statement]
) -> str:
    """The remark for a statement without a twin, "" if no rule holds.

    `function` has all statements of its side of the definition.
    """
    if statement.kind == "vjp":
        return AUTOGRAD
    source = first_line(statement.node)
    if text := lone(stem, side, name, source):
        return text
    if side == "left" and statement in backward_only(function):
        return f"for the vjp: {AUTOGRAD}"
    for text, holds in LEFT if side == "left" else RIGHT:
        if holds(statement.node, source):
            return text
    return ""


def first_line(node: ast.AST) -> str:
    """The text by which the table names a statement, as `ast.unparse` writes it."""
    return node.word if isinstance(node, Branch) else ast.unparse(node).partition("\n")[0]


def _is_import(node: ast.AST, _: str) -> bool:
    return isinstance(node, ast.Import | ast.ImportFrom)


def _is_errstate(node: ast.AST, source: str) -> bool:
    return source.startswith("with np.errstate(")


def _keeps_input_grad(node: ast.AST, source: str) -> bool:
    return source == "self._input_grad = input_grad"


def _is_super_init(node: ast.AST, source: str) -> bool:
    return source == "super().__init__()"


def _is_no_grad(node: ast.AST, source: str) -> bool:
    return source.startswith("with torch.no_grad()")


def _detaches(node: ast.AST, source: str) -> bool:
    return isinstance(node, ast.Assign) and source.endswith(".detach()")


def _assigns_devices(node: ast.AST, source: str) -> bool:
    targets = set(words_of(Statement(node, 0, 0)).targets)
    return bool(targets) and targets <= DEVICE_WORDS and "device" in source


def _compares_devices(node: ast.AST, source: str) -> bool:
    return isinstance(node, ast.If) and "device" in source


def _assigns_dtype(node: ast.AST, source: str) -> bool:
    return source == "dtype = as_dtype(dtype)"


def _reads_autocast(node: ast.AST, source: str) -> bool:
    return "autocast" in source


def _is_for_types(node: ast.AST, _: str) -> bool:
    return isinstance(node, ast.Assert) or (isinstance(node, ast.AnnAssign) and node.value is None)


def _reads_is_compiling(node: ast.AST, source: str) -> bool:
    return source == "if torch.compiler.is_compiling():"


def _names_kernel(node: ast.AST, source: str) -> bool:
    return "fused" in source or "check_choice('kernel'" in source


def _skips_init(node: ast.AST, source: str) -> bool:
    return source.startswith("return skip_init(")


def _passes_names_on(node: ast.AST, source: str) -> bool:
    return source.startswith("__all__ =")


Rule = tuple[str, Callable[[ast.AST, str], bool]]
LEFT: tuple[Rule, ...] = (
    ("the dtype of the parameters below", _assigns_dtype),
    ("only the left panel needs it", _is_import),
    ("NumPy would warn here; torch does not", _is_errstate),
    (
        "the gradient of data is left out; autograd sees by itself that data needs none",
        _keeps_input_grad,
    ),
)
RIGHT: tuple[Rule, ...] = (
    ("only the right panel needs it", _is_import),
    ("nn.Module's own constructor, which the left panel's Module does without", _is_super_init),
    ("autograd must not record this; on the left nothing is recorded", _is_no_grad),
    ("autograd must not follow it; the left writes no vjp for it", _detaches),
    ("only torch has fused kernels; the left has the loop over time", _names_kernel),
    ("the dtype and the device; only the right panel has devices", _assigns_devices),
    ("only the right panel has devices", _compares_devices),
    ("the dtype of the parameters below", _assigns_dtype),
    ("only the right panel runs under autocast", _reads_autocast),
    ("for the type checker", _is_for_types),
    ("only the right panel is compiled; a compiled graph cannot check values", _reads_is_compiling),
    ("torch's own layer, without its draw from torch's global random state", _skips_init),
    ("names of torch.nn that this file passes on", _passes_names_on),
)
