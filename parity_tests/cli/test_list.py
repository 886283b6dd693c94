"""`diptych list` and `diptych --version`."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import re

import pytest

import diptych
from diptych import data, names, pairs
from diptych.cli import terminal
from diptych.cli.listing import FILES, descriptions
from diptych.display import Console
from diptych.training.presets import PRESETS


@pytest.fixture
def narrow(run, monkeypatch):
    """`run` in a terminal of 80 columns."""
    monkeypatch.setattr(terminal, "console", Console(width=80))

    def invoke(*arguments):
        status, out, err = run(*arguments)
        assert status == 0 and not err and max(map(len, out.splitlines())) <= 80
        return out

    return invoke


def test_the_version_is_that_of_the_package(narrow):
    assert narrow("--version") == f"diptych {diptych.__version__}\n"


def test_each_pair_is_listed_with_its_variants(narrow):
    out = narrow("list", "pairs")
    for model, pair in pairs.PAIRS.items():
        assert re.search(rf"^{model} +{pair.data} ", out, re.MULTILINE)
        for variant in filter(None, pair.variants):
            assert f"[{variant}]" in out


def test_each_preset_is_listed_with_its_model_its_data_and_its_source(narrow):
    out = narrow("list", "presets")
    for name, preset in PRESETS.items():
        assert re.search(rf"^{name} +{preset.model} +{preset.data} ", out, re.MULTILINE)
        assert all(word in out for word in preset.source.split())


def test_each_data_set_is_listed_with_its_files(narrow):
    out = narrow("list", "data")
    assert list(FILES) == [*data.DATASETS, *data.PARAMETRIC]
    for name in FILES:
        assert re.search(rf"^{re.escape(name)}  ", out, re.MULTILINE)


@pytest.mark.parametrize("name", list(data.DATASETS))
def test_the_files_that_are_listed_are_those_that_are_read(name, tmp_path):
    """A data set without files loads; any other names one of its listed files as missing."""
    files = FILES[name].replace("the files of mnist", FILES["mnist"])
    files = files.replace("the files of ptb", FILES["ptb"])
    if files.startswith("none"):
        data.load(name, tmp_path)
        return
    with pytest.raises(ValueError, match=r"\.(npz|mat|txt|bin)|idx3") as error:
        data.load(name, tmp_path)
    stems = re.findall(r"[\w.-]*[\w]\.(?:npz|mat|txt|bin)|train-|idx3", files)
    assert stems and any(stem in str(error.value) for stem in stems), str(error.value)


@pytest.mark.parametrize("model", list(names.MODELS))
def test_each_field_is_listed_with_its_type_its_default_and_its_description(narrow, model):
    out = narrow("list", "fields", model)
    config = names.MODELS[model]
    described = descriptions(config)
    for field in dataclasses.fields(config):
        assert f"\n{field.name}: {field.type} = {field.default!r}\n" in f"\n{out}"
        text = " ".join(out.split())
        assert field.name in described and described[field.name] in text


def test_everything_is_listed_where_nothing_is_named(narrow):
    out = narrow("list")
    assert all(narrow("list", what) in out for what in ("pairs", "presets", "data"))


def test_the_version_of_an_installed_package_is_the_same():
    try:
        installed = importlib.metadata.version("diptych")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("diptych is not installed, only on the path")
    assert installed == diptych.__version__
