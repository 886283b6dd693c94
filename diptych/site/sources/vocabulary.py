"""The words of a statement that can have a twin: names, targets, callees, without the vjps."""

from __future__ import annotations

import ast
from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import cast

from diptych.site.sources.page import Statement
from diptych.site.sources.statements import Branch, Function
from diptych.site.sources.writes import as_assignment

TWINS = {
    "np": "torch",
    "Array": "Tensor",
    "ndarray": "Tensor",
    "DTypeLike": "dtype",
    "array": "tensor",
    "arrays": "tensors",
    "astype": "to",
    "double": "float64",
    "check_array": "check_tensor",
    "concatenate": "cat",
    "copy": "clone",
    "keepdims": "keepdim",
    "axis": "dim",
    "repeat": "repeat_interleave",
    "size": "numel",
    "split": "chunk",
    "transpose": "permute",
    "ascontiguousarray": "contiguous",
    "broadcast_to": "expand",
    "clip": "clamp",
}
"""By name of the left panel: the name that means the same on the right, lit up with it."""

SAME = {
    "maximum": "clamp",
    "minimum": "clamp",
    "relu": "clamp",
    "empty_like": "empty",
    "zeros_like": "zeros",
    "new_empty": "empty",
    "new_zeros": "zeros",
    "Iterable": "Iterator",
    "factory_kwargs": "dtype",
}
"""Other names that count as one in the comparison of statements."""

IGNORED = {
    *("np", "torch", "nn", "F", "functional", "special", "self", "Array", "Tensor", "Any", "cast"),
    *("data", "detach", "dtype", "device", "factory_kwargs", "as_dtype", "as_device", "to"),
    *("reshape", "flatten", "view", "float64", "int64", "uint64", "persistent"),
}
"""Words that say nothing about what a statement computes."""
BACKWARD = ("vjp", "vjps", "backward", "input_grad", "_input_grad")


def twin(name: str) -> str:
    """The name by which a name of either panel is lit up together with its twin."""
    return TWINS.get(name, name)


def common(name: str) -> str:
    """The word by which names of both panels that mean the same are compared."""
    name = twin(name)
    return SAME.get(name, name)


def is_backward_name(name: str) -> bool:
    """True for a name of the hand-written backward pass: `vjp`, `y_vjp`, `step_vjps`."""
    return name in BACKWARD or name.endswith(("_vjp", "_vjps"))


@dataclass(frozen=True)
class Words:
    """A statement as it is compared."""

    kind: str
    """assign, return, raise, expr, if, for, with, import, ...; backward if nothing else is left"""
    targets: tuple[str, ...]
    """what it assigns or writes into"""
    names: frozenset[str]
    """the variables among them"""
    words: Counter[str]
    callees: frozenset[str]
    all_targets: frozenset[str]
    """the variables that it assigns, vjps too"""
    all_reads: frozenset[str]
    """the variables that it reads anywhere, in a lambda too"""


def words_of(statement: Statement) -> Words:
    """The words of a statement, without what is there for the backward pass alone."""
    return _words(statement.node)


def forward_part(node: ast.AST) -> list[ast.AST]:
    """The parts of a statement that the right panel has too: without vjps and their lambdas."""
    return _forward_part(as_assignment(node))[2]


@cache
def _words(node: ast.AST) -> Words:
    kind, places, parts = _forward_part(as_assignment(node))
    words: Counter[str] = Counter()
    for part in parts:
        words.update(common(word) for n in ast.walk(part) if (word := _word(n)))
    for ignored in [w for w in words if w in IGNORED or is_backward_name(w)]:
        del words[ignored]
    calls = [n for part in parts for n in ast.walk(part) if isinstance(n, ast.Call)]
    names = [n for n in ast.walk(node) if isinstance(n, ast.Name)]
    targets = tuple(common(t) for place in places for t in _targets(place))
    if kind in ("assign", "expr") and not words and not targets and _serves_backward(node):
        kind = "backward"
    return Words(
        kind,
        targets,
        frozenset(common(n.id) for place in places for n in _variables(place)),
        words,
        frozenset(common(_last_name(n.func)) for n in calls) - IGNORED,
        frozenset(n.id for n in names if isinstance(n.ctx, ast.Store)),
        frozenset(n.id for n in names if isinstance(n.ctx, ast.Load)),
    )


def _word(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.keyword):
        return node.arg or ""
    if isinstance(node, ast.alias):
        return node.name.rpartition(".")[2]
    if isinstance(node, ast.Constant) and node.value not in (None, ...):
        text = str(node.value)
        return text if text.isidentifier() else repr(node.value)
    return ""


def _last_name(node: ast.AST) -> str:
    return _word(node) if isinstance(node, ast.Attribute | ast.Name) else ""


def _serves_backward(node: ast.AST) -> bool:
    names = [n.id for n in ast.walk(node) if isinstance(n, ast.Name)]
    return any(is_backward_name(name) for name in names)


Parts = tuple[str, list[ast.expr], list[ast.AST]]
"""The kind of a statement, the places that it assigns, and the parts that the right has too."""


def _forward_part(node: ast.AST) -> Parts:  # noqa: PLR0911  (a kind of statement each)
    if isinstance(node, ast.Assign | ast.AnnAssign):
        return _assignment(node.targets[0] if isinstance(node, ast.Assign) else node.target, node)
    if isinstance(node, ast.AugAssign):
        return "assign", [node.target], [node.target, node.op, node.value]
    if isinstance(node, ast.Return):
        values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
        return "return", [], [v for v in values if v and not _is_backward(v)]
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        method = node.value.func
        if isinstance(method, ast.Attribute) and _is_backward(method.value):
            return "expr", [], []
    if isinstance(node, ast.If | ast.While):
        return "if", [], [node.test]
    if isinstance(node, ast.For):
        return "for", [], [node.target, node.iter]
    if isinstance(node, ast.With):
        return "with", [], list(node.items)
    if isinstance(node, Branch):
        return node.word, [], []
    if isinstance(node, Function | ast.ClassDef):
        return "def", [], [ast.Name(node.name, ast.Load())]
    if isinstance(node, ast.Import | ast.ImportFrom):
        module = getattr(node, "module", None) or ""
        own = module.removeprefix("numpy_ref.").removeprefix("torch_impl.")
        return "import", [], [*node.names, *([ast.Name(own, ast.Load())] if own else [])]
    return type(node).__name__.lower(), [], [node]


def _assignment(place: ast.expr, node: ast.Assign | ast.AnnAssign) -> Parts:
    """Leaves out the places for vjps, and their values where these stand apart."""
    value = node.value
    if not isinstance(place, ast.Tuple):
        places = [] if _is_backward(place) else [place]
    else:
        values = value.elts if isinstance(value, ast.Tuple) else []
        kept = [k for k, element in enumerate(place.elts) if not _is_backward(element)]
        places = [place.elts[k] for k in kept]
        if len(values) == len(place.elts):
            value = ast.Tuple([values[k] for k in kept], ast.Load())
    indices = [n.slice for p in places for n in ast.walk(p) if isinstance(n, ast.Subscript)]
    return "assign", places, [*indices, *([value] if value is not None else [])]


def _targets(place: ast.expr) -> list[str]:
    """The last names of what is assigned: `h`, `weight` of self.weight, `h` of h[0]."""
    if isinstance(place, ast.Tuple | ast.List):
        return [name for element in place.elts for name in _targets(element)]
    if isinstance(place, ast.Starred | ast.Subscript):
        return _targets(place.value)
    if isinstance(place, ast.Attribute):
        return _targets(place.value) if place.attr == "data" else [place.attr]
    return [place.id] if isinstance(place, ast.Name) else []


def _variables(place: ast.expr) -> list[ast.Name]:
    """The variables of the function that an assignment binds."""
    names = [n for n in ast.walk(place) if isinstance(n, ast.Name)]
    return [n for n in names if isinstance(n.ctx, ast.Store)]


def _is_backward(node: ast.expr) -> bool:
    if isinstance(node, ast.Lambda):
        return True
    name = cast(str, getattr(node, "id", "") or getattr(node, "attr", ""))
    return isinstance(node, ast.Name | ast.Attribute) and (is_backward_name(name) or name == "_")
