"""The command list: pairs, presets, data sets, and the fields of a model's config."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
from typing import Annotated, Any

import typer

from diptych.cli import terminal
from diptych.display import Table
from diptych.names import MODELS, lookup

EMBEDDED = "none: embedded"
GENERATED = "none: generated"
WIDTH = 76
"""Characters in a line of a field's description, without its indent of four."""

FILES: dict[str, str] = {
    "digits": EMBEDDED,
    "digits16": EMBEDDED,
    "binary_digits": EMBEDDED,
    "binary_digits16": EMBEDDED,
    "mnist": "train- and t10k-images-idx3-ubyte, -labels-idx1-ubyte, .gz or not",
    "static_mnist": "binarized_mnist_larochelle_packed.npz, or binarized_mnist_*.amat",
    "dynamic_mnist": "the files of mnist",
    "fashion_mnist": "the files of mnist, in fashion_mnist/ or FashionMNIST/raw/",
    "kmnist": "the files of mnist, in kmnist/ or KMNIST/raw/, or kmnist-*.npz",
    "omniglot": "omniglot28_area.npz",
    "caltech101_silhouettes": "caltech101_silhouettes_28_split1.mat",
    "colour_digits": EMBEDDED,
    "cifar10": "data_batch_1.bin to data_batch_5.bin, test_batch.bin, or their .tar.gz",
    "ptb": "ptb.train.txt, ptb.valid.txt, ptb.test.txt; or awd-lstm's penn/train.txt ...",
    "ptb/characters": "the files of ptb",
    "topics": "none: the help pages of Python",
    "topics/characters": "none: the help pages of Python",
    "copy": GENERATED,
    "adding": GENERATED,
    "text:PATH": "the text file PATH",
    "text/characters:PATH": "the text file PATH",
    "words:FOLDER": "FOLDER's train.txt, valid.txt, test.txt, or wiki.*.tokens, or ptb.*.txt",
    "copy:LENGTH": GENERATED,
    "copy:LENGTH:ITEMS": GENERATED,
    "adding:LENGTH": GENERATED,
    "colour_digits:SIZE": "none: embedded; SIZE is 16 or 32 pixels",
    "cifar10:SIZE": "the files of cifar10; SIZE is 16 or 32 pixels",
}
"""The files of each data set that must lie in the folder --data-root."""


def list_names(
    what: Annotated[
        str | None,
        typer.Argument(
            help="pairs, presets, data or fields.  [default: pairs, presets and data]",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Argument(help="The model whose fields are listed.", show_default=False)
    ] = None,
) -> None:
    """List the names that the other commands take."""
    if what is not None:
        lookup("what", what, {**LISTS, "fields": None})
    if (what == "fields") != (model is not None):
        raise ValueError(f"model: got {model!r}, `diptych list fields` takes a model, others none")
    if model is not None:
        _print_fields(lookup("model", model, MODELS))
        return
    for count, name in enumerate([what] if what is not None else LISTS):
        if count:
            terminal.console.print()
        terminal.console.print(LISTS[name]())


def _pairs() -> Table:
    from diptych.pairs import PAIRS, names

    table = Table("pair", "default data", "variants, for `diptych check 'PAIR[VARIANT]'`", box=None)
    for model, pair in PAIRS.items():
        variants = (name.removeprefix(model) for name in names([model]))
        table.add_row(model, pair.data, " ".join(filter(None, variants)))
    return table


def _presets() -> Table:
    from diptych.training.presets import PRESETS

    table = Table("preset", "model", "data", "reproduces", box=None)
    for name, preset in PRESETS.items():
        table.add_row(name, preset.model, preset.data or "default", preset.source)
    return table


def _data() -> Table:
    from diptych.data import DATASETS, PARAMETRIC

    table = Table("data set", "files in --data-root", box=None)
    for name in (*DATASETS, *PARAMETRIC):
        table.add_row(name, FILES[name])
    return table


LISTS = {"pairs": _pairs, "presets": _presets, "data": _data}


def _print_fields(config: Any) -> None:
    """Print name, type and default of each field, and its description below."""
    described = descriptions(config)
    for field in dataclasses.fields(config):
        head = f"{field.name}: {field.type} = {field.default!r}"
        text = textwrap.fill(described.get(field.name, ""), WIDTH, break_on_hyphens=False)
        lines = [head, *textwrap.indent(text, " " * 4).splitlines()]
        terminal.console.print("\n".join(lines), markup=False, highlight=False, emoji=False)


def descriptions(config: type) -> dict[str, str]:
    """Return the docstring below each field of a dataclass or of its bases, as one line."""
    result: dict[str, str] = {}
    for cls in config.__mro__[:-1]:
        body: Any = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
        for field, after in zip(body.body, body.body[1:], strict=False):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(after, ast.Expr)
                and isinstance(after.value, ast.Constant)
            ):
                result.setdefault(field.target.id, " ".join(str(after.value.value).split()))
    return result
