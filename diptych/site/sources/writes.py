"""Methods that write in place, read as the assignments that they are.

x.copy_(v)   is x[...] = v          x.zero_(), x.fill(c), x.fill_(c)   is x[...] = c
x.mul_(v)    is x *= v              self.register_buffer("x", v)       is self.x = v
f(v, out=x)  is x = f(v)
"""

from __future__ import annotations

import ast

OPERATORS: dict[str, type[ast.operator]] = {
    "add_": ast.Add,
    "sub_": ast.Sub,
    "mul_": ast.Mult,
    "div_": ast.Div,
}


def as_assignment(node: ast.AST) -> ast.AST:  # noqa: PLR0911  (a method each)
    """The assignment that means the same as a statement's call; the statement if there is none."""
    if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
        return node
    call = node.value
    out = next((k.value for k in call.keywords if k.arg == "out"), None)
    if out:
        kept = [k for k in call.keywords if k.arg != "out"]
        return ast.Assign([_written(out)], ast.Call(call.func, call.args, kept))
    if not isinstance(call.func, ast.Attribute):
        return node
    place, method, arguments = call.func.value, call.func.attr, call.args
    if method == "register_buffer" and isinstance(arguments[0], ast.Constant):
        buffer = ast.Attribute(place, str(arguments[0].value), ast.Store())
        return ast.Assign([buffer], arguments[1])
    if method == "zero_":
        return ast.Assign([_written(place)], ast.Constant(0))
    if method in ("copy_", "fill_", "fill"):
        return ast.Assign([_written(place)], arguments[0])
    if method in OPERATORS:
        return ast.AugAssign(place, OPERATORS[method](), arguments[0])  # type: ignore[arg-type]
    return node


def _written(place: ast.expr) -> ast.expr:
    """place[...], as the target of an assignment."""
    if isinstance(place, ast.Subscript):
        return ast.Subscript(place.value, place.slice, ast.Store())
    return ast.Subscript(place, ast.Constant(...), ast.Store())
