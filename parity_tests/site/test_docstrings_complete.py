"""Every public function, class and method of both panels names its shapes and its source.

A reader finds an explanation where it is written once, so that it counts for a definition if it is

* in its own docstring,
* for a method, in the docstring of its class, or of the same method or class further up,
* in the docstring of its file.

Shapes: sizes in brackets such as (N, D), the words "Any shape", or a reference such as "as in".
Letters: each letter of a size is explained as in "N examples", "D = input_dim" or "H x W pixels".
Source: a term "Source:", which also says if something is a definition or the project's own design.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import model_specs
import numpy_ref
import torch_impl
from diptych.site.prose.blocks import items

PANELS = [Path(package.__file__).parent for package in (numpy_ref, torch_impl)]
FILES = [path for panel in PANELS for path in sorted(panel.rglob("*.py")) if path.stem[0] != "_"]
SPECS = sorted(Path(model_specs.__file__).parent.rglob("*.py"))
LETTER = "(?:[A-Z]|[Ok][HW])"
SIZE = rf"(?:\d+ )?{LETTER}(?: {LETTER})*"
SIZES = re.compile(
    rf"(?<![\w.\])}}])\((?:(?:\.\.\.|n|count|steps|{SIZE})(?:,[^()]*)?"
    rf"|\w[\w ]*, [^()]*{SIZE}[^()]*)\)"
)
ELSEWHERE = re.compile(
    r"Any shape|`shape`|\bthe shape of\b|\bshapes? (?:of|as)\b|\bas (?:in|the)\b"
)
ARRAYS = re.compile(r"\b(?:Array|Tensor)\b")
IN_NATS = re.compile(r"(?:.*_)?(?:nll|kl|loss|log_prob|log_weight|log_q|cross_entropy|log_softmax)")


def by_name(path: Path) -> str:
    """The name of a file in the report of a test: numpy_ref/nn/layers."""
    root = next(panel for panel in PANELS if panel in path.parents)
    return path.relative_to(root.parent).with_suffix("").as_posix()


each_file = pytest.mark.parametrize("path", FILES, ids=by_name)


@dataclass(frozen=True)
class Definition:
    """A public function, class or method, and the docstrings that explain it, its own first."""

    name: str
    node: ast.FunctionDef | ast.ClassDef
    docstrings: tuple[str, ...]

    @property
    def has_arrays(self) -> bool:
        """True if a parameter or the result is annotated as an array; false for a class."""
        if isinstance(self.node, ast.ClassDef):
            return False
        arguments = self.node.args.args + self.node.args.kwonlyargs
        notes = [argument.annotation for argument in arguments] + [self.node.returns]
        return any(ARRAYS.search(ast.unparse(note)) for note in notes if note)

    @property
    def names_shapes(self) -> bool:
        """True if one of the docstrings names sizes, or says where they are."""
        return any(SIZES.search(text) for text in self.docstrings) or any(
            ELSEWHERE.search(text) for text in self.docstrings
        )

    @property
    def unexplained(self) -> set[str]:
        """Letters of the sizes in its own docstring that no docstring explains."""
        sizes = " ".join(match[0] for match in SIZES.finditer(self.docstrings[0]))
        text = " ".join(" ".join(self.docstrings).split())
        pairs = re.findall(rf"\b({LETTER} x {LETTER}) [a-z]{{3,}}", text)
        explained = re.findall(rf"(?<!over )\b({LETTER}) (?:=|`?[a-z]{{2,}})", text)
        return set(re.findall(rf"\b{LETTER}\b", sizes)) - {*explained, *" ".join(pairs).split()}


def public_functions(node: ast.ClassDef) -> list[ast.FunctionDef]:
    """The public methods of a class."""
    return [f for f in node.body if isinstance(f, ast.FunctionDef) and f.name[0] != "_"]


CLASSES = {
    (panel, node.name): node
    for panel in PANELS
    for path in panel.rglob("*.py")
    for node in ast.parse(path.read_text()).body
    if isinstance(node, ast.ClassDef)
}


def ancestors(panel: Path, node: ast.ClassDef) -> Iterator[ast.ClassDef]:
    """The class and the classes of the panel above it."""
    yield node
    for base in node.bases:
        if (panel, ast.unparse(base)) in CLASSES:
            yield from ancestors(panel, CLASSES[panel, ast.unparse(base)])


def docstring(node: ast.FunctionDef | ast.ClassDef | ast.Module) -> str:
    """The docstring, "" without one."""
    return ast.get_docstring(node) or ""


def definitions(path: Path) -> Iterator[Definition]:
    """The public functions, classes and methods of a file."""
    panel = next(panel for panel in PANELS if panel in path.parents)
    tree = ast.parse(path.read_text())
    file = docstring(tree)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name[0] != "_":
            yield Definition(node.name, node, (docstring(node), file))
        if isinstance(node, ast.ClassDef) and node.name[0] != "_":
            classes = list(ancestors(panel, node))
            texts = tuple(map(docstring, classes))
            yield Definition(node.name, node, (*texts, file))
            for method in public_functions(node):
                same = [f for c in classes for f in public_functions(c) if f.name == method.name]
                yield Definition(
                    f"{node.name}.{method.name}", method, (*map(docstring, same), *texts, file)
                )


@each_file
def test_every_public_definition_has_a_docstring(path):
    silent = [d.name for d in definitions(path) if not any(d.docstrings[:-1])]
    assert silent == []


@each_file
def test_whatever_takes_or_returns_arrays_names_their_shapes(path):
    silent = [d.name for d in definitions(path) if d.has_arrays and not d.names_shapes]
    assert silent == []


@each_file
def test_every_letter_of_a_size_is_explained(path):
    unexplained = {d.name: d.unexplained for d in definitions(path) if d.unexplained}
    assert unexplained == {}


@each_file
def test_whatever_computes_names_its_source(path):
    silent = [
        d.name
        for d in definitions(path)
        if d.has_arrays and not any(i.name == "Source" for t in d.docstrings for i in items(t))
    ]
    assert silent == []


@each_file
def test_losses_and_log_probabilities_name_their_unit(path):
    silent = [
        d.name
        for d in definitions(path)
        if IN_NATS.fullmatch(d.name.rpartition(".")[2])
        and not re.search(r"\b(?:nats?|bits?|units?)\b", " ".join(d.docstrings), re.IGNORECASE)
    ]
    assert silent == []


def explained_fields(path: Path) -> Iterator[tuple[ast.ClassDef, str, bool]]:
    """(class, field, True if a docstring, a comment, the class or the type explains it)."""
    lines = path.read_text().splitlines()
    classes = [n for n in ast.parse(path.read_text()).body if isinstance(n, ast.ClassDef)]
    for node in classes:
        for field, after in zip(node.body, [*node.body[1:], None], strict=True):
            if isinstance(field, ast.AnnAssign):
                name = field.target.id
                yield (
                    node,
                    name,
                    isinstance(getattr(after, "value", None), ast.Constant)
                    or "#" in lines[field.lineno - 1]
                    or bool(re.search(rf"\b{name}\b", docstring(node)))
                    or ast.unparse(field.annotation) in {c.name for c in classes},
                )


INHERITED = {(n.name, field) for p in SPECS for n, field, clear in explained_fields(p) if clear}


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_every_config_and_named_tuple_explains_its_fields(path):
    silent = [
        f"{node.name}.{name}"
        for node, name, clear in explained_fields(path)
        if not clear and not any((ast.unparse(b), name) in INHERITED for b in node.bases)
    ]
    assert silent == []
