"""README.md and the pages under docs/, and the shell script that runs their code blocks.

A ```bash block is run line by line and a ```python block as a program, all pages in one shell, in
the order in which README.md links to them. Python blocks that begin with a file name are not run:
a path (`# numpy_ref/mlp_vae.py`) is the file of which the block is an excerpt, and a bare name
(`# test_mine.py`) is what the block is saved as. Blocks of other languages (```sh, ```text) are
not run.

A comment at the end of a line may say what it takes: minutes (`# 5 min`, run shortened), data files
(`# needs mnist`, run shortened or left out) or `# needs a GPU` (left out without one).
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

ROOT = Path(__file__).parents[2]
DATA_FILES = {
    "mnist": "mnist",
    "static_mnist": "binarized_mnist_larochelle_packed.npz",
    "omniglot": "omniglot28_area.npz",
    "caltech101_silhouettes": "caltech101_silhouettes_28_split1.mat",
    "cifar10": "cifar-10-batches-bin",
    "ptb": "ptb",
}


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    page: str
    number: int
    """of the first line in it"""
    language: str
    text: str

    @property
    def file(self) -> str | None:
        """The file name in the comment that a block of code begins with, if there is one."""
        match = re.match(r"# ([\w/.-]+\.py)\n", self.text)
        return match and match[1]

    @property
    def is_excerpt(self) -> bool:
        """True if the code is that of a file of this repository."""
        return "/" in (self.file or "")


@dataclass(frozen=True)
class Line:
    """A line of a ```bash block, and what the comment at its end says."""

    place: str
    command: str
    comment: str

    @property
    def long(self) -> bool:
        return bool(re.search(r"\d (min|h)\b", self.comment))

    @property
    def needs(self) -> list[str]:
        """The data sets whose files the line reads, and "GPU"."""
        return [name.removeprefix("a ") for name in re.findall(r"needs (a GPU|\w+)", self.comment)]

    @property
    def lacks(self) -> list[str]:
        """Those of its needs that this machine does not meet."""
        return [name for name in self.needs if not _is_there(name)]


def _is_there(need: str) -> bool:
    if need == "GPU":
        return torch.cuda.is_available()
    folder = os.environ.get("DIPTYCH_DATA")
    return bool(folder) and (Path(folder) / DATA_FILES[need]).exists()


def pages() -> dict[str, str]:
    """The text of README.md and of every page that it links to, in that order."""
    readme = (ROOT / "README.md").read_text()
    names = dict.fromkeys(re.findall(r"\]\((docs/\w+\.md)\)", readme))
    return {"README.md": readme} | {
        name: (ROOT / name).read_text() for name in names if (ROOT / name).exists()
    }


def blocks(page: str, text: str) -> Iterator[Block]:
    """The fenced blocks of a page."""
    for match in re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        above = text[: match.start()]
        yield Block(page, above.count("\n") + 2, match[1], match[2])


def bash_lines(block: Block) -> Iterator[Line]:
    """The commands of a ```bash block; a line that ends in a backslash goes on in the next."""
    number, text = block.number, ""
    for offset, part in enumerate(block.text.splitlines()):
        text += part
        if text.endswith("\\"):
            text = text[:-1]
            continue
        command, _, comment = text.partition(" # ")
        if command.strip() and not command.startswith("#"):
            yield Line(f"{block.page}:{number}", command.strip(), comment)
        number, text = block.number + offset + 1, ""


def script(folder: Path) -> str:
    """The shell script that runs every block; blocks of Python are saved in `folder`."""
    steps = ["set -eu"]
    for page, text in pages().items():
        for block in blocks(page, text):
            if block.language == "bash":
                steps += [step for line in bash_lines(block) for step in _step(line)]
            elif block.language == "python":
                steps += _python(block, folder)
    return "\n".join(steps) + "\n"


def left_out() -> list[Line]:
    """The lines that cannot be run here, for want of data or of a GPU."""
    fenced = [block for page, text in pages().items() for block in blocks(page, text)]
    lines = [line for b in fenced if b.language == "bash" for line in bash_lines(b)]
    return [line for line in lines if line.lacks]


def _step(line: Line) -> list[str]:
    if line.lacks:
        return [f"echo {shlex.quote(f'@ {line.place} left out: {line.command}')}"]
    shortened = "SHORTENED=1 " if line.long or line.needs else ""
    return [f"echo {shlex.quote(f'@ {line.place} {line.command}')}", shortened + line.command]


def _python(block: Block, folder: Path) -> list[str]:
    if block.is_excerpt:
        return []
    saved = folder / f"block_{block.page.replace('/', '_')}_{block.number}.py"
    saved.write_text(block.text)
    steps = [f"echo '@ {block.page}:{block.number} python'"]
    if block.file:
        return [*steps, f"cp {saved} {block.file}"]
    run = "pytest -q" if "\ndef test_" in block.text else "run_block"
    return [*steps, f"{run} {saved}"]
