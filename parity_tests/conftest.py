"""Shared fixtures: pairs with the same weights, data, and the command line."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from diptych import cli, data, pairs, weights
from diptych.cli import terminal
from diptych.data import Dataset, Split
from diptych.display import Console
from model_specs.common.key import Key
from model_specs.mlp_vae import MLPVAEConfig
from numpy_ref.nn import random

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]

# two workers on two cores: more threads than that only wait for each other
torch.set_num_threads(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fuzz-inputs", type=int, default=200, help="changed inputs for each reader (fuzz)"
    )
    parser.addoption(
        "--all-situations",
        action="store_true",
        help="run all variants in all situations on the pretended CUDA device (cuda)",
    )


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20261121)


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    """The device of the right panel: the CPU and, where there is one, a CUDA device."""
    return request.param


@pytest.fixture
def make_pair() -> Callable[..., tuple[Any, Any]]:
    """(config, dtype) -> left and right with the same weights, none of them zero."""

    def make(
        config: Any, dtype: str = "float64", name: str = "mlp_vae", **right_options: Any
    ) -> tuple[Any, Any]:
        pair = pairs.get(name)
        left = pair.left(config, Key(11).fold_in("weights"), dtype=dtype)
        right = pair.right(config, Key(12), dtype=dtype, **right_options)
        for path, parameter in left.named_parameters():
            # zero biases hide a missing or doubled bias
            parameter.data += 0.1 * random.normal(Key(13).fold_in(path), parameter.data.shape)
        weights.transfer(left, right)
        return left, right

    return make


@pytest.fixture
def make_vae(make_pair: Callable[..., tuple[Any, Any]]) -> Callable[..., tuple[Any, ...]]:
    """(dtype) -> (left, right, batch, noise) of a small VAE, all well."""

    def make(dtype: str = "float64") -> tuple[Any, ...]:
        config = MLPVAEConfig(input_dim=13, hidden_dim=11, latent_dim=3, beta=0.7, samples=2)
        left, right = make_pair(config, dtype)
        key = Key(31)
        return left, right, random.uniform(key, (5, 13), dtype=dtype), left.draw_noise(key, 5)

    return make


@pytest.fixture
def vae(make_vae: Callable[..., tuple[Any, ...]]) -> tuple[Any, ...]:
    return make_vae()


@pytest.fixture(scope="session")
def few_digits() -> Dataset:
    """The first 70 digits: two batches and an odd last one."""
    digits = data.load("digits")
    return dataclasses.replace(digits, train=Split(digits.train.x[:70], digits.train.y[:70]))


@pytest.fixture
def real() -> Callable[[str], Any]:
    """`load`, for a test that needs a folder of the real data sets."""
    if not os.environ.get("DIPTYCH_DATA"):
        pytest.skip("DIPTYCH_DATA is not set to the folder of the real data sets")
    return data.load


@pytest.fixture
def run(capsys: Any, monkeypatch: Any) -> Callable[..., tuple[int, str, str]]:
    """run("check", "mlp_vae") -> (exit status, stdout, stderr), wide enough not to wrap."""
    monkeypatch.setattr(terminal, "console", Console(width=200))
    monkeypatch.delenv("DIPTYCH_DATA", raising=False)

    def invoke(*arguments: Any) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as done:
            cli.main([str(a) for a in arguments])
        out, err = capsys.readouterr()
        return int(done.value.code or 0), out, err

    return invoke


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest test first, so that no worker waits for it at the end."""
    items.sort(key=lambda item: item.name != "test_every_command_of_the_pages_runs_as_typed")
