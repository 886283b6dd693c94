"""The files that both panels have, in reading order."""

from __future__ import annotations

from pathlib import Path

import numpy_ref
import torch_impl
from diptych.site.sources.page import TwinFile

CHAPTERS = ("", "nn", "probability", "recurrent", "autoregressive")
MODELS = ("mlp_vae", "rnn", "lstm", "conv_vae", "vlae")


def twin_files() -> list[TwinFile]:
    """All files of both panels in reading order: the models, then the chapters beneath them."""
    folders = Path(numpy_ref.__file__).parent, Path(torch_impl.__file__).parent
    stems = {
        path.relative_to(folder).with_suffix("").as_posix()
        for folder in folders
        for path in folder.rglob("*.py")
        if path.name != "__init__.py"
    }
    return [_twin_file(stem, *folders) for stem in sorted(stems, key=_reading_order)]


def _twin_file(stem: str, left: Path, right: Path) -> TwinFile:
    paths = [folder / f"{stem}.py" for folder in (left, right)]
    return TwinFile(stem, *(path if path.exists() else None for path in paths))


def _reading_order(stem: str) -> tuple[int, int, str]:
    chapter, _, name = stem.rpartition("/")
    model = MODELS.index(name) if name in MODELS else len(MODELS)
    return CHAPTERS.index(chapter), model, stem
