"""Small changes of a Python source, one at a time: the mutants that `benchmarks/mutants.py` runs.

Mutated are operators, comparisons, conditions, numbers, names of random streams, slices, keyword
arguments, calls of one argument, the order of results, and single statements. Not mutated are
annotations, docstrings, imports, decorators, assertions, type aliases, `__all__`, and the messages
of errors.

mutmut 3 mutates functions alone and replaces each by a trampoline. cosmic-ray 8 offers every
operator for every other one (407 of its 547 mutants of numpy_ref/nn/functional.py), most of them a
TypeError at once, and neither removes a term, a keyword argument or a statement.
"""

from __future__ import annotations

import ast
import copy
import dataclasses
from collections import Counter
from collections.abc import Iterator
from typing import Any

BINARY: dict[type, type] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
}
TERMS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.BitXor)
"""Operators of which one operand is left out, too."""
COMPARISONS: dict[type, tuple[type, ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
LIBRARIES = {"np", "math", "torch", "F", "special", "functional"}
METHODS = {
    "copy",
    "detach",
    "clone",
    "contiguous",
    "swapaxes",
    "transpose",
    "clamp",
    "abs",
    "astype",
}
METHODS |= {"to", "squeeze", "sqrt", "exp", "reshape", "fill", "flatten", "expand", "double", "cpu"}
TYPED = {"cast", "TypeVar", "NewType"}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


@dataclasses.dataclass(frozen=True)
class Mutation:
    """One change of one file."""

    file: str
    function: str
    """Dotted name of the class, the function and the nested function, "" at module level."""
    old: str
    new: str
    lines: tuple[int, int]
    span: tuple[int, int]
    """The bytes of the source that `new` replaces."""
    number: int = 1
    """1, or 2, 3, ... for the same change of the same expression further down in the function."""

    @property
    def key(self) -> str:
        """The name of the mutant, which does not depend on line numbers."""
        count = f" #{self.number}" if self.number > 1 else ""
        return f"{self.file} {self.function}: {self.old} -> {self.new}{count}"

    def apply(self, source: str) -> str:
        """The source with the change."""
        text, (start, stop) = source.encode(), self.span
        return (text[:start] + self.new.encode() + text[stop:]).decode()


def mutations(file: str, source: str) -> list[Mutation]:
    """Every mutation of a source that still compiles."""
    starts = [0]
    for line in source.encode().splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    result, counts = [], Counter[str]()
    for function, node, new in _walk(ast.parse(source), ()):
        text = ast.unparse(new)
        if isinstance(node, ast.expr) and not isinstance(new, ast.Call | ast.Name | ast.Constant):
            text = f"({text})"
        span = starts[node.lineno - 1] + node.col_offset, 0
        span = span[0], starts[node.end_lineno - 1] + node.end_col_offset
        lines = node.lineno, node.end_lineno
        mutation = Mutation(file, ".".join(function), ast.unparse(node), text, lines, span)
        if mutation.old == mutation.new.strip("()") or not _compiles(mutation.apply(source)):
            continue
        counts[mutation.key] += 1
        result.append(dataclasses.replace(mutation, number=counts[mutation.key]))
    return result


def _compiles(source: str) -> bool:
    try:
        compile(source, "mutant", "exec", dont_inherit=True)
    except SyntaxError:
        return False
    return True


def _walk(node: Any, function: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """(function, node, its replacement) for every mutation under `node`."""
    if _is_left_alone(node):
        return
    yield from ((function, node, new) for new in _replacements(node))
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name | ast.Attribute | ast.Call):
        yield function, node.test, ast.UnaryOp(ast.Not(), node.test)
    if isinstance(node, FUNCTIONS):
        function = (*function, getattr(node, "name", "lambda"))
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "bases", "type_params"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not _is_docstring(child):
                yield from _walk(child, function)


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_left_alone(node: Any) -> bool:
    """True for types, imports, assertions, messages, and `strict` of zip."""
    match node:
        case ast.Import() | ast.ImportFrom() | ast.Assert() | ast.JoinedStr() | ast.arg():
            return True
        case ast.Raise(exc=exception):
            return "NotImplementedError" in ast.unparse(node) or exception is None
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            alias = isinstance(value, ast.Subscript | ast.Attribute | ast.BinOp)
            return name == "__all__" or (alias and name[0].isupper() and not name.isupper())
        case ast.Call(func=ast.Name(id=name)):
            return name in TYPED
        case ast.keyword(arg="strict"):
            return True
    return False


def _replacements(node: Any) -> Iterator[Any]:  # noqa: PLR0912  (one case for each operator)
    match node:
        case ast.Raise():
            yield ast.Pass()
        case ast.Expr(value=ast.Call()):
            yield ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield ast.Pass()
        case ast.AugAssign(target=target, op=op, value=value):
            yield ast.Pass()
            yield ast.Assign([target], value, lineno=0)
            if type(op) in BINARY:
                yield _with(node, op=BINARY[type(op)]())
        case ast.BinOp(left=left, op=op, right=right):
            if any(
                isinstance(side, ast.JoinedStr | ast.Tuple | ast.List) for side in (left, right)
            ):
                return
            if any(isinstance(s, ast.Constant) and isinstance(s.value, str) for s in (left, right)):
                return
            if type(op) in BINARY:
                yield _with(node, op=BINARY[type(op)]())
            if isinstance(op, TERMS):
                yield from (left, right)
        case ast.UnaryOp(op=ast.USub() | ast.Not() | ast.Invert(), operand=operand):
            yield operand
        case ast.Compare(ops=ops):
            for k, op in enumerate(ops):
                for new in COMPARISONS[type(op)]:
                    yield _with(node, ops=[*ops[:k], new(), *ops[k + 1 :]])
        case ast.BoolOp(op=op):
            yield _with(node, op=ast.Or() if isinstance(op, ast.And) else ast.And())
        case ast.Constant(value=value):
            yield from (ast.Constant(new) for new in _constants(value))
        case ast.IfExp(body=body, orelse=orelse):
            yield _with(node, body=orelse, orelse=body)
        case ast.Attribute(attr="T", value=value):
            yield value
        case ast.Slice(lower=lower, upper=upper):
            if lower is not None:
                yield _with(node, lower=None)
            if upper is not None:
                yield _with(node, upper=None)
        case ast.Return(value=ast.Tuple(elts=[a, b, *rest])):
            yield ast.Return(ast.Tuple([b, a, *rest], ast.Load()))
        case ast.Lambda(body=ast.Tuple(elts=[a, b, *rest])):
            yield _with(node, body=ast.Tuple([b, a, *rest], ast.Load()))
        case ast.Call():
            yield from _calls(node)


def _calls(node: ast.Call) -> Iterator[Any]:
    for k, keyword in enumerate(node.keywords):
        if keyword.arg not in (None, "strict"):
            yield _with(node, keywords=node.keywords[:k] + node.keywords[k + 1 :])
    function, arguments = node.func, node.args
    match function:
        case ast.Name(id="fold_in") | ast.Attribute(attr="fold_in"):
            match arguments:
                case [ast.Constant(value=str(name))]:
                    yield _with(node, args=[ast.Constant(f"{name}?")])
        case ast.Attribute(value=ast.Name(id=module)) if module in LIBRARIES:
            if arguments and not isinstance(arguments[0], ast.Starred):
                yield arguments[0]
        case ast.Attribute(value=value, attr=method) if method in METHODS:
            yield value


def _constants(value: object) -> Iterator[object]:
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield value + 1
    elif isinstance(value, float):
        yield 2 * value if value else 1.0


def _with(node: Any, **fields: Any) -> Any:
    new = copy.copy(node)
    for name, value in fields.items():
        setattr(new, name, value)
    return new
