"""Read a file of both panels, and align it."""

from __future__ import annotations

import ast
from pathlib import Path

from diptych.site.sources.alignment import align
from diptych.site.sources.page import Definition, Group, SourcePage, Tally, TwinFile
from diptych.site.sources.statements import Function, flatten, head


def read_page(file: TwinFile) -> SourcePage:
    """Read both panels of a file and align their definitions and statements."""
    texts = {side: path.read_text() if path else "" for side, path in _sides(file)}
    trees = {side: ast.parse(text) for side, text in texts.items()}
    definitions = tuple(
        _definition(left, right, "", texts["left"].splitlines(), texts["right"].splitlines())
        for left, right in _match(trees["left"].body, trees["right"].body)
    )
    page = SourcePage(file, file.stem, definitions, texts)  # type: ignore[arg-type]
    groups = [g for d in page.walk() for g in d.groups if g.kind != "head" and g.left]
    groups = [g for g in groups if g.kind != "vjp"]
    tally = Tally(
        statements=sum(len(g.left) for g in groups),
        aligned=sum(len(g.left) for g in groups if g.right),
        one_to_one=sum(len(g.left) == len(g.right) == 1 for g in groups),
    )
    return SourcePage(file, file.stem, definitions, texts, tally)  # type: ignore[arg-type]


def _sides(file: TwinFile) -> list[tuple[str, Path | None]]:
    return [("left", file.left), ("right", file.right)]


def _match(left: list[ast.stmt], right: list[ast.stmt]) -> list[tuple[ast.AST | None, ...]]:
    """Definitions of both bodies by name, in the order of the left."""
    kinds = Function | ast.ClassDef
    ours = {n.name: n for n in left if isinstance(n, kinds)}
    theirs = {n.name: n for n in right if isinstance(n, kinds)}
    order = list(ours)
    for name in theirs:
        if name not in ours:
            before = [n for n in list(theirs)[: list(theirs).index(name)] if n in order]
            order.insert(order.index(before[-1]) + 1 if before else 0, name)
    return [(ours.get(name), theirs.get(name)) for name in order]


def _definition(
    left: ast.AST | None, right: ast.AST | None, prefix: str, a: list[str], b: list[str]
) -> Definition:
    node = left or right
    assert isinstance(node, Function | ast.ClassDef)
    name = f"{prefix}{node.name}"
    children: tuple[Definition, ...] = ()
    heads = [(head(n),) if n else () for n in (left, right)]  # type: ignore[arg-type]
    groups = [Group(f"{name}.0", "head", *heads)]
    if isinstance(node, ast.ClassDef):
        bodies = [n.body if n else [] for n in (left, right)]  # type: ignore[attr-defined]
        children = tuple(_definition(x, y, f"{name}.", a, b) for x, y in _match(*bodies))
        return Definition(name, "class", left, right, tuple(groups), children)
    ours = flatten(left.body, a, head(left).last) if left else []  # type: ignore
    theirs = flatten(right.body, b, head(right).last) if right else []  # type: ignore
    for number, (p, q) in enumerate(align(ours, theirs), 1):
        is_vjp = bool(p) and p[0].kind == "vjp"
        kind = "vjp" if is_vjp else "pair" if p and q else "left" if p else "right"
        remark = "autograd does this" if is_vjp else ""
        groups.append(Group(f"{name}.{number}", kind, p, q, remark))  # type: ignore[arg-type]
    return Definition(name, "method" if prefix else "function", left, right, tuple(groups))
