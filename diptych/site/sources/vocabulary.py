"""The words of a statement that can have a twin: names, targets, callees, without the vjps."""

from __future__ import annotations

import ast
from collections import Counter
from dataclasses import dataclass
from functools import cache

from diptych.site.sources.page import Statement
from diptych.site.sources.statements import Branch, Function

TWINS = {
    "np": "torch",
    "Array": "Tensor",
    "ndarray": "Tensor",
    "DTypeLike": "dtype",
    "array": "tensor",
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
    "stack": "stack",
    "transpose": "permute",
    "ascontiguousarray": "contiguous",
    "maximum": "clamp",
    "minimum": "clamp",
    "clip": "clamp",
    "relu": "clamp",
    "broadcast_to": "expand",
    "empty": "new_empty",
    "zeros": "new_zeros",
    "fill": "fill_",
}
"""Names of the left panel, or of either, and the name that means the same on the right."""

SAME = {
    "flatten": "reshape",
    "view": "reshape",
    "new_empty": "empty",
    "new_zeros": "zeros",
    "zeros_like": "zeros",
    "empty_like": "empty",
    "log_ndtr": "log_ndtr",
    "Iterable": "Iterator",
}
"""Other names that count as one in the comparison of statements."""

IGNORED = {
    *("np", "torch", "nn", "F", "functional", "special", "self", "Array", "Tensor", "Any", "cast"),
    *("data", "detach", "dtype", "device", "factory_kwargs", "as_dtype", "as_device", "to"),
    *("astype", "vjp", "vjps", "input_grad", "_input_grad", "reshape", "float64", "None"),
}
"""Words that say nothing about what a statement computes."""


def twin(name: str) -> str:
    """The name by which a name of either panel is compared and lit up with its twin."""
    return TWINS.get(name, name)


def is_vjp_name(name: str) -> bool:
    """True for a name of the hand-written backward pass: `vjp`, `y_vjp`, `step_vjps`."""
    return name in ("vjp", "vjps", "backward") or name.endswith(("_vjp", "_vjps"))


@dataclass(frozen=True)
class Words:
    """A statement as it is compared."""

    kind: str
    """assign, return, raise, expr, if, for, with, import, ..."""
    targets: tuple[str, ...]
    words: Counter[str]
    callees: frozenset[str]
    all_targets: frozenset[str]
    """the names that it assigns, those of vjps too"""
    all_reads: frozenset[str]
    """the names that it reads anywhere, in a lambda too"""


def words_of(statement: Statement) -> Words:
    """The words of a statement, without what is there for the backward pass alone."""
    return _words(statement.node)


@cache
def _words(node: ast.AST) -> Words:
    kind, targets, parts = _forward_part(node)
    words: Counter[str] = Counter()
    callees = set()
    for part in parts:
        for n in ast.walk(part):
            if isinstance(n, ast.Name):
                words[_common(n.id)] += 1
            elif isinstance(n, ast.Attribute):
                words[_common(n.attr)] += 1
            elif isinstance(n, ast.keyword) and n.arg:
                words[_common(n.arg)] += 1
            elif isinstance(n, ast.Constant) and n.value is not None:
                words[repr(n.value)] += 1
            elif isinstance(n, ast.alias):
                words[_common(n.name.rpartition(".")[2])] += 1
            if isinstance(n, ast.Call):
                callees.add(_common(_last_name(n.func)))
    for ignored in [w for w in words if w in IGNORED or is_vjp_name(w) or w == ""]:
        del words[ignored]
    names = [n for n in ast.walk(node) if isinstance(n, ast.Name)]
    return Words(
        kind,
        tuple(_common(t) for t in targets),
        words,
        frozenset(callees - IGNORED),
        frozenset(n.id for n in names if isinstance(n.ctx, ast.Store)),
        frozenset(n.id for n in names if isinstance(n.ctx, ast.Load)),
    )


def _common(name: str) -> str:
    name = twin(name)
    return SAME.get(name, name)


def _last_name(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def forward_part(node: ast.AST) -> list[ast.AST]:
    """The parts of a statement that the right panel has too: without vjps and their lambdas."""
    return _forward_part(node)[2]


def _forward_part(node: ast.AST) -> tuple[str, list[str], list[ast.AST]]:
    """The kind of a statement, the names that it assigns, and the parts that the right has too."""
    if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        place = node.targets[0] if isinstance(node, ast.Assign) else node.target
        kind, targets, parts = _assignment(place, node.value)
        return kind, targets, [*parts, place] if isinstance(node, ast.AugAssign) else parts
    if isinstance(node, ast.Return):
        value = node.value
        if isinstance(value, ast.Tuple):
            kept = [e for e in value.elts if not _is_backward(e)]
            return "return", [], list(kept)
        return "return", [], [value] if value else []
    if isinstance(node, ast.If | ast.While):
        return "if", [], [node.test]
    if isinstance(node, ast.For):
        return "for", [], [node.target, node.iter]
    if isinstance(node, ast.With):
        return "with", [], list(node.items)
    if isinstance(node, Branch):
        return node.word, [], []
    if isinstance(node, Function | ast.ClassDef):
        return "def", [node.name], [ast.Name(node.name, ast.Load())]
    if isinstance(node, ast.Import | ast.ImportFrom):
        module = getattr(node, "module", None) or ""
        first = module.rpartition("numpy_ref.")[2].rpartition("torch_impl.")[2]
        return "import", [], [*node.names, *([ast.Name(first, ast.Load())] if first else [])]
    return type(node).__name__.lower(), [], [node]


def _assignment(place: ast.expr, value: ast.expr | None) -> tuple[str, list[str], list[ast.AST]]:
    pairs: list[tuple[ast.expr, ast.expr | None]] = [(place, None)]
    if isinstance(place, ast.Tuple):
        values = value.elts if isinstance(value, ast.Tuple) else []
        paired = len(values) == len(place.elts)
        pairs = [(t, values[k] if paired else None) for k, t in enumerate(place.elts)]
        value = None if paired else value
    kept = [(t, v) for t, v in pairs if not _is_backward(t)]
    names = [n for t, _ in kept for n in _targets(t)]
    parts: list[ast.AST] = [v for _, v in kept if v is not None]
    parts += [t for t, _ in kept if isinstance(t, ast.Subscript)]
    if value is not None:
        parts.append(value)
    return "assign", names, parts


def _targets(place: ast.expr) -> list[str]:
    if isinstance(place, ast.Tuple | ast.List):
        return [name for element in place.elts for name in _targets(element)]
    if isinstance(place, ast.Starred):
        return _targets(place.value)
    if isinstance(place, ast.Subscript):
        return _targets(place.value)
    if isinstance(place, ast.Attribute):
        return [place.attr if place.attr != "data" else _last_name(place.value)]
    return [place.id] if isinstance(place, ast.Name) and place.id != "_" else []


def _is_backward(node: ast.expr) -> bool:
    if isinstance(node, ast.Lambda):
        return True
    return isinstance(node, ast.Name) and (is_vjp_name(node.id) or node.id == "_")
