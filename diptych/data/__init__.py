"""Load a data set by its name: images in splits, text as streams of token ids, or memory tasks.

Images are float32 rows in [0, 1] (`Dataset`), text is a stream of int64 ids (`Corpus`), and the
sequences of a memory task are generated from a key (`MemoryTask`). Each object has a `summary`, one
sentence that says how many examples were read and from where. The module of each data set
describes its files: names, layout, origin, size and checks.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable

from diptych.data import (
    caltech101,
    cifar10,
    colour_digits,
    digits,
    fashion_mnist,
    kmnist,
    memory,
    mnist,
    omniglot,
    ptb,
    static_mnist,
    text,
    topics,
    words,
)
from diptych.data.corpus import ContiguousBatches, Corpus, Vocabulary
from diptych.data.dataset import Dataset, Root, Split
from diptych.data.memory import MemoryTask

__all__ = [
    "DATASETS",
    "PARAMETRIC",
    "ContiguousBatches",
    "Corpus",
    "Data",
    "Dataset",
    "MemoryTask",
    "Split",
    "Vocabulary",
    "check_root",
    "load",
]

Data = Dataset | Corpus | MemoryTask

DATASETS: dict[str, Callable[[Root], Data]] = {
    "digits": digits.load,
    "digits16": digits.load_enlarged,
    "binary_digits": digits.load_binary,
    "binary_digits16": digits.load_binary_enlarged,
    "mnist": mnist.load,
    "static_mnist": static_mnist.load,
    "dynamic_mnist": mnist.load_dynamic,
    "fashion_mnist": fashion_mnist.load,
    "kmnist": kmnist.load,
    "omniglot": omniglot.load,
    "caltech101_silhouettes": caltech101.load,
    "colour_digits": colour_digits.load,
    "cifar10": cifar10.load,
    "ptb": ptb.load,
    "ptb/characters": ptb.load_characters,
    "topics": topics.load,
    "topics/characters": topics.load_characters,
    "copy": lambda root: memory.parse("copy"),
    "adding": lambda root: memory.parse("adding"),
}

PARAMETRIC: dict[str, Callable[[str, Root], Data]] = {
    "text:PATH": lambda path, root: text.load(path, "words"),
    "text/characters:PATH": lambda path, root: text.load(path, "characters"),
    "words:FOLDER": lambda folder, root: words.load(folder),
    "copy:LENGTH": lambda numbers, root: memory.parse(f"copy:{numbers}"),
    "copy:LENGTH:ITEMS": lambda numbers, root: memory.parse(f"copy:{numbers}"),
    "adding:LENGTH": lambda numbers, root: memory.parse(f"adding:{numbers}"),
    "colour_digits:SIZE": lambda size, root: colour_digits.load(
        root, _parse_size("colour_digits", size)
    ),
    "cifar10:SIZE": lambda size, root: cifar10.load(root, _parse_size("cifar10", size)),
}
"""Loaders of the names that take arguments: each is called with the text after the first colon, and
the folder of the files."""

SIZES = {"colour_digits": colour_digits.SIZES, "cifar10": cifar10.SIZES}
"""The sizes of the images of each data set that has several, for `name:SIZE` and --size."""
DEFAULTS = {
    "colour_digits": (colour_digits.SIZE,),
    "cifar10": (cifar10.SIZE,),
    "copy": (memory.LENGTH, memory.ITEMS),
    "adding": (memory.LENGTH,),
}
"""The numbers in a name that may be left out, because they are those of the name without them."""

EMBEDDED = (
    *("digits", "binary_digits", "digits16", "binary_digits16", "colour_digits"),
    *("topics", "copy", "adding"),
)
"""The data sets that need no files, up to the first slash or colon."""
TEXTS = ("ptb", "topics", "text", "words")
"""The names of the texts, up to the first slash or colon."""


def load(name: str, root: Root = None) -> Data:
    """Load the data set `name` from the folder `root`, by default the environment's DIPTYCH_DATA.

    `name` is a key of DATASETS, or a key of PARAMETRIC with values in place of the capitals. Data
    that are embedded or generated need no folder.
    Raises: ValueError for an unknown name, and every error of the reader.
    """
    if name in DATASETS:
        return DATASETS[name](root)
    head, colon, argument = str(name).partition(":")
    readers = {_head(form): reader for form, reader in PARAMETRIC.items()}
    if colon and head in readers:
        return readers[head](argument, root)
    forms = (*DATASETS, *PARAMETRIC)
    heads = {_head(form): form for form in reversed(forms)}  # keeps the first form of each head
    if _is_path(
        head if len(head) > 1 else str(name)
    ):  # txt:a/b is a misspelt text:PATH, D:\a a drive
        raise ValueError(
            f"name: got {name!r}, which is a path, takes the name of a data set (`diptych list "
            "data`): --data-root (root=...) gives the folder of its files, text:PATH a text file"
        )
    matches = difflib.get_close_matches(head.lower(), heads, n=1, cutoff=0.5)
    hint = f", did you mean {heads[matches[0]]!r}?" if matches else ""
    raise ValueError(f"name: got {name!r}, takes one of {', '.join(map(repr, forms))}{hint}")


def check_root(name: str, root: Root) -> None:
    """Raise ValueError for a folder `root` that the data set `name` would not read."""
    head = _head(name).partition("/")[0]
    if root is not None and (head in EMBEDDED or (":" in name and head not in DATASETS)):
        reason = "which needs no files" if head in EMBEDDED else "which names its own place"
        raise ValueError(f"root: got '{root}' with data {name!r}, {reason}, takes no folder")


def sized(name: str, size: int | None) -> str:
    """Return the name of a data set with images of this size: "cifar10:16" for cifar10 and 16.

    Raises: ValueError for a size that the data set does not have, a data set of one size, or a name
    with another size.
    """
    if size is None:
        return name
    head, colon, own = name.partition(":")
    got = f"got {size} with data {name!r}"
    if head not in SIZES:
        raise ValueError(f"size: {got}, takes none; {' and '.join(SIZES)} have several")
    if colon and own != str(size):
        raise ValueError(f"size: {got}, which names its size")
    if size not in SIZES[head]:
        raise ValueError(f"size: {got}, takes {' or '.join(map(str, SIZES[head]))}")
    return f"{head}:{size}"


def canonical(name: str) -> str:
    """Return the name without the numbers that are the defaults: cifar10 for "cifar10:32"."""
    head, *numbers = name.split(":")
    defaults = [str(number) for number in DEFAULTS.get(head, ())]
    while numbers and numbers == [*numbers[:-1], *defaults[len(numbers) - 1 : len(numbers)]]:
        numbers.pop()
    return ":".join([head, *numbers])


def _parse_size(name: str, size: str) -> int:
    """Return the size in a name "cifar10:16". Raises: ValueError for other sizes."""
    names = {f"{name}:{n}": n for n in SIZES[name]}
    if (got := f"{name}:{size}") not in names:
        raise ValueError(f"name: got {got!r}, takes {' or '.join(names)}")
    return names[got]


def _is_path(name: str) -> bool:
    """Return True if `name` looks like a path: a separator (not in ptb/...), or a dot."""
    first, separator, _ = name.replace("\\", "/").partition("/")
    return bool(separator and first not in DATASETS) or "." in name or name == "~"


def is_text(name: str) -> bool:
    """Return True if `name` is that of a text, from its spelling alone."""
    return _head(name).partition("/")[0] in TEXTS


def _head(form: str) -> str:
    return form.partition(":")[0]
