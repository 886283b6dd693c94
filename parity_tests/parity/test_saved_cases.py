"""Saved cases: everything that a comparison needs, in one file without pickle."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.maker_files import write_makers
from safetensors import safe_open

from diptych import parity
from diptych.cli.comparing import read_options
from diptych.commands.compare import transfer
from diptych.options.options import Options
from diptych.parity.makers import make, parse
from diptych.parity.running.run import Run
from diptych.parity.saved_cases import load_case
from model_specs.common.key import Key

CASE = "case.safetensors"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    write_makers(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def x():
    return np.random.default_rng(7).normal(size=(5, 4))


def model(text):
    return make("left", parse("left", text))


def test_two_models_without_makers_are_recorded(folder, vae):
    left, right, batch, noise = vae
    options = {"bound": {"posterior.*": 1e-9}, "key": Key(3), "dtype": torch.float64}
    parity.save_case(CASE, left, right, batch, noise, name="vae", **options)
    case = load_case(CASE)
    assert isinstance(case.left, Run) and isinstance(case.right, Run)
    assert type(case.noise) is type(noise) and case.options["key"] == Key(3)
    assert case.options == {**options, "dtype": "float64", "name": "vae"}
    np.testing.assert_array_equal(case.batch, batch)
    np.testing.assert_array_equal(
        case.left.calls["loss"].outputs[".total"], case.right.calls["loss"].outputs[".total"]
    )
    with safe_open(CASE, framework="numpy") as file:
        keys = set(file.keys())
    assert {"batch", "noise.eps", "left/call/loss/output/.total"} <= keys
    assert "right/parameter/posterior.mu.weight" in keys


def test_recorded_models_are_compared_without_their_code(folder, vae):
    parity.save_case(CASE, *vae)
    assert load_case(CASE).compare().ok
    with torch.no_grad():
        vae[1].posterior.mu.bias += 1e-3
    parity.save_case(CASE, *vae)
    assert load_case(CASE).compare().first_divergence.name == "posterior.mu.bias"


def test_names_and_layouts_of_a_case_are_kept(folder, x):
    left, right = model("left.py:make"), model("right.py:Transposed")
    options = read_options(folder / "map.toml", [], [], [])
    transfer(left, right, Options(**options))
    makers = ("left.py:make", "right.py:Transposed")
    for settings in ({}, {"makers": makers}):
        parity.save_case(CASE, left, right, x, **settings, **options)
        report = load_case(CASE).compare()
        assert report.ok and {"0.weight", "2"} <= {row.name for row in report.rows}, report.full()
        assert report.options["layout"] == {"0.weight": "o i -> i o"}


def test_makers_alone_store_the_weights_of_the_models_that_they_build(folder, x):
    parity.save_case(CASE, "left.py:make", "right.py:make", x)
    case = load_case(CASE)
    np.testing.assert_array_equal(case.right[0].weight.detach(), case.left.state_dict()["0.weight"])
    assert case.compare().ok
    assert not case.compare(name="b").failures


def test_a_case_moves_with_the_folder_of_its_makers(folder, x, monkeypatch, tmp_path_factory):
    parity.save_case(CASE, "left.py:make", "right.py:make", x)
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "moved"
    folder.rename(elsewhere)
    monkeypatch.chdir(elsewhere.parent)
    assert load_case("moved/case.safetensors").compare().ok


def test_faults_of_a_case_are_named_when_it_is_saved(folder, x):
    left, right = model("left.py:make"), model("right.py:make")
    faults = [
        ((left, right, x), {"makers": ("left.py:make", None)}, "makers: got none for the right"),
        ((left, right, x), {"makers": ("left.py:make", "right.py:single")}, "0.weight is float32"),
        ((left, right, x), {"makers": ("left.py:number", "right.py:make")}, "left: the maker gave"),
        ((left, right, x), {"makers": ("left.py:make", "right.py:Transposed")}, "right: right.py"),
        (("left.py", "right.py:make", x), {}, "left: got 'left.py', takes file.py:function"),
        (("left.py:make", "right.py:make", print), {}, "batch: got a builtin_function"),
        (("left.py:make", "right.py:make", x), {"tolerance": 1}, "option: got 'tolerance'"),
        (("left.py:make", "right.py:make", x), {"bound": -1}, "bound: got -1"),
        (("none.safetensors", "right.py:make", x), {}, "none.safetensors: no such file"),
    ]
    for arguments, options, message in faults:
        with pytest.raises(ValueError) as error:
            parity.save_case(CASE, *arguments, **options)
        assert message in str(error.value)
        assert not (folder / CASE).exists()
    with pytest.raises(ValueError, match=r"ends in \.safetensors"):
        parity.save_case("case.npz", left, right, x)


def test_a_case_whose_maker_changed_names_the_side(folder, x):
    parity.save_case(CASE, "left.py:make", "right.py:make", x)
    text = (folder / "left.py").read_text()
    (folder / "left.py").write_text(text.replace("Linear(4, 6", "Linear(4, 7"))
    with pytest.raises(ValueError, match=r"left: case\.safetensors.*0\.weight"):
        load_case(CASE)
    (folder / "left.py").unlink()
    with pytest.raises(ValueError, match=r"left: .*there is no file 'left\.py'"):
        load_case(CASE)


def test_a_recording_is_no_case_and_a_case_is_no_recording(folder, x):
    net = model("left.py:make")
    with parity.record("golden.safetensors", net):
        net(x)
    with pytest.raises(ValueError, match=r"not a diptych case \(it is 'diptych recording'\)"):
        load_case("golden.safetensors")
    parity.save_case(CASE, "golden.safetensors", "right.py:make")
    assert isinstance(load_case(CASE).left, Run)
    with pytest.raises(ValueError, match="not a diptych recording"):
        parity.save_case(CASE, CASE, "right.py:make")
