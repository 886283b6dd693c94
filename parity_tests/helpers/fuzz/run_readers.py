"""The readers of run folders, weights, recordings and options, each on small valid files."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from helpers.short_runs import MODEL, short_run
from helpers.small_recordings import record

from diptych import data, parity, weights
from diptych.commands.compare import read_inputs
from diptych.commands.open import open_run
from diptych.commands.verify import verify
from diptych.data import Dataset, Split, Vocabulary
from diptych.files import load_arrays, save_arrays
from diptych.options.layouts import Layout
from diptych.options.options import Options
from diptych.options.slices import parse
from diptych.pairs import get, parse_fields
from diptych.parity.recordings import golden
from diptych.parity.saved_cases import load_case
from diptych.runs import results
from diptych.runs.data_identity import array_digest
from diptych.runs.folder import RunFolder, read_metrics
from diptych.runs.vocabulary import read_vocabulary, write_vocabulary
from diptych.training.train import train
from model_specs.common.key import Key
from model_specs.mlp_vae import MLPVAEConfig
from numpy_ref.mlp_vae import MLPVAE
from numpy_ref.nn import Linear

from . import mutations, reader
from .data_readers import Maker
from .reader import Reader


@cache
def _dataset() -> Dataset:
    small = data.load("digits")
    parts = (Split(s.x[:40], s.y[:40]) for s in (small.train, small.valid, small.test))
    return Dataset("digits", *parts, small.image_shape, "some digits")


def _train(folder: Path, dataset: Dataset) -> RunFolder:
    config = short_run(epochs=2, backend="numpy", polyak=0.9)
    return train(config, dataset, folder).folder


def _of_run_file(
    folder: Path, name: str, read: Callable[[RunFolder], Any], dataset: Dataset | None = None
) -> Reader:
    """Change one file of a finished run; the others are put back before each input."""
    original = _train(folder / "original", dataset or _dataset())
    run = RunFolder(folder / "run")

    def restore() -> None:
        shutil.rmtree(run.path, ignore_errors=True)
        shutil.copytree(original.path, run.path)

    restore()
    path, content = run.path / name, (original.path / name).read_bytes()

    def change(rng: Random) -> None:
        restore()
        if name.endswith(".safetensors") and rng.random() < 0.6:
            save_arrays(path, *mutations.change_arrays(*load_arrays(path), rng))
        elif name.endswith(".json") and rng.random() < 0.7:
            path.write_text(mutations.change_json(content.decode(), rng))
        elif name.endswith(".jsonl") and rng.random() < 0.5:
            lines = content.decode().splitlines()
            i = rng.randrange(len(lines))
            lines[i] = mutations.change_json(lines[i], rng)
            path.write_text("\n".join(lines) + "\n")
        else:
            path.write_bytes(mutations.change_bytes(content, rng, ()))

    return Reader(change, lambda: read(run), (name, str(run.path)))


def _resume(run: RunFolder) -> Any:
    config = short_run(epochs=2, backend="numpy", polyak=0.9)
    return train(config, _dataset(), run.path, resume=True)


def run_settings(folder: Path) -> Reader:
    return _of_run_file(folder, "run.json", lambda run: open_run(run.path))


def run_settings_on_resume(folder: Path) -> Reader:
    return _of_run_file(folder, "run.json", _resume)


def metrics(folder: Path) -> Reader:
    return _of_run_file(folder, "metrics.jsonl", lambda run: read_metrics(run.metrics_file))


def metrics_on_resume(folder: Path) -> Reader:
    return _of_run_file(folder, "metrics.jsonl", _resume)


def checkpoint(folder: Path) -> Reader:
    return _of_run_file(folder, "checkpoint.safetensors", _resume)


def run_weights(folder: Path) -> Reader:
    return _of_run_file(folder, "best.safetensors", lambda run: open_run(run.path))


def verification(folder: Path) -> Reader:
    def read(run: RunFolder) -> None:
        wrong = [claim for claim in verify(run) if claim.ok is False]
        if wrong:
            raise ValueError(f"{run.path / wrong[0].file}: {wrong[0].claim}")

    return _of_run_file(folder, "checkpoint.safetensors", read, data.load("digits"))


def vocabulary(folder: Path) -> Reader:
    tokens = ("the", "cat", "<eos>", "<unk>")
    write_vocabulary(folder, Vocabulary(tokens, "words"))
    settings = {"data_digests": {"vocabulary": array_digest(Vocabulary(tokens, "words").contents)}}
    path = folder / "vocabulary.json"
    return reader.of_json(path, path.read_text(), lambda: read_vocabulary(folder, settings))


def safetensors(folder: Path) -> Reader:
    path = folder / "arrays.safetensors"
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b": np.arange(3), "c": np.float32(2.0)}
    return reader.of_arrays(
        path, arrays, {"kind": "test", "sizes": [1, 2]}, lambda: load_arrays(path)
    )


def model_weights(folder: Path) -> Reader:
    path = folder / "weights.safetensors"
    model = MLPVAE(MLPVAEConfig(**MODEL), Key(1), dtype="float32")
    arrays = weights.to_arrays(model.state_dict())
    return reader.of_arrays(path, arrays, {}, lambda: weights.load(model, path))


def recording(folder: Path) -> Reader:
    path = folder / "golden.safetensors"
    record(path, Linear(3, 2, Key(2), dtype="float64"), np.ones((2, 3)))
    return reader.of_arrays(path, *load_arrays(path), lambda: golden.load_run(path))


def saved_case(folder: Path) -> Reader:
    path = folder / "case.safetensors"
    left, right = (Linear(3, 2, Key(2), dtype="float64") for _ in range(2))
    parity.save_case(path, left, right, np.ones((2, 3)), bound=1e-9)
    return reader.of_arrays(path, *load_arrays(path), lambda: load_case(path))


def inputs_npz(folder: Path) -> Reader:
    path = folder / "inputs.npz"
    np.savez(path, x=np.arange(6.0).reshape(2, 3), **{"noise.eps": np.ones(2)})
    seeds = [path.read_bytes()]
    np.savez_compressed(path, x=np.arange(6.0))
    return reader.of_file(path, [*seeds, path.read_bytes()], lambda: read_inputs(path))


def inputs_npy(folder: Path) -> Reader:
    path = folder / "inputs.npy"
    np.save(path, np.arange(6.0).reshape(2, 3))
    return reader.of_file(path, [path.read_bytes()], lambda: read_inputs(path))


def result(folder: Path) -> Reader:
    path = Path(__file__).parents[3] / "benchmarks" / "results"
    text = min(path.glob("*.json"), key=lambda p: p.stat().st_size).read_text()
    copy = folder / "result.json"
    return reader.of_json(copy, text, lambda: results.read(copy))


def fields(folder: Path) -> Reader:
    tokens = ["=", "hidden_dim", "rate", "scheme", "None", "1e9", "True", "nan", "per-step"]

    def read(text: str) -> Any:
        return get("lstm").config(vocab_size=10, **parse_fields(get("lstm"), text.split(" ")))

    names = ["config field", *MLPVAEConfig.__dataclass_fields__]
    names += list(get("lstm").config.__dataclass_fields__)
    return reader.of_text("hidden_dim=8 rate=0.5 scheme=variational", tokens, read, names)


def layout(folder: Path) -> Reader:
    tokens = ["->", "(", ")", " ", "i", "o", "1", "...", "g=4"]

    def read(text: str) -> Any:
        options = Options(layout={"w": text})
        return options.to_right("w", np.arange(24.0).reshape(2, 3, 4))

    return reader.of_text("(g i) h o -> o h (i g)", tokens, read, ["layout"])


def layout_alone(folder: Path) -> Reader:
    return reader.of_text("i o -> o i", ["->", "(", ")", "...", "i o"], Layout, [""])


def renaming(folder: Path) -> Reader:
    tokens = [".*", "[", "]", "...", ":", ",", "0:2", "-1", "q", "."]

    def read(text: str) -> Any:
        options = Options(rename={"q.*": text})
        options.check(["q.weight"], ["c.weight", "c"])
        return options.from_right("q.weight", {"c.weight": np.zeros((3, 4))})

    return reader.of_text("c.*[..., 0:2]", tokens, read, ["rename"])


def slices(folder: Path) -> Reader:
    tokens = ["[", "]", "...", ":", ",", "-1", "99999999999999999999"]
    return reader.of_text(
        "c.weight[0:2, ...]", tokens, lambda t: parse(t).part_of(np.zeros((3, 4, 5))), [""]
    )


MAKERS: dict[str, Maker] = {
    make.__name__: make
    for make in (
        run_settings, run_settings_on_resume, metrics, metrics_on_resume, checkpoint, run_weights,
        verification, vocabulary, safetensors, model_weights, recording, saved_case, inputs_npz,
        inputs_npy, result, fields, layout, layout_alone, renaming, slices,
    )
}  # fmt: skip
"""The readers by name; each is made in an empty folder of its own."""
