"""`diptych compare`: makers, golden files and saved cases from the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from helpers.maker_files import write_makers
from safetensors.numpy import save_file

from diptych import parity
from diptych.cli.comparing import read_options
from diptych.commands import compare as command
from diptych.files import load_arrays, save_arrays
from diptych.options.options import Options
from diptych.parity.makers import make, parse


@pytest.fixture
def folder(tmp_path, monkeypatch):
    write_makers(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def model(text):
    return make("left", parse("left", text))


INPUT = ("--input", "x.npz")


def test_makers_that_agree_exit_0_and_write_every_report(run, folder):
    outputs = ("--json", "r.json", "--html", "r.html", "--markdown", "r.md", "--name", "my pair")
    status, out, err = run("compare", "left.py:make", "right.py:make", *INPUT, *outputs)
    assert status == 0, err
    assert "my pair" in out
    report = json.loads((folder / "r.json").read_text())
    assert report["ok"] is True and report["name"] == "my pair" and report["tensors"] > 8
    assert "<html" in (folder / "r.html").read_text() and "my pair" in (folder / "r.md").read_text()


def test_makers_that_differ_exit_1_and_name_the_first_tensor(run, folder):
    status, out, _ = run("compare", "left.py:make", "right.py:faulty", *INPUT, "--json", "r.json")
    report = json.loads((folder / "r.json").read_text())
    assert status == 1 and report["ok"] is False and "1" in out.splitlines()[0]
    assert "diptych compare left.py:make right.py:faulty --input x.npz" in out
    more = run("compare", "left.py:make", "right.py:faulty", *INPUT, "-v")[1]
    assert len(more.splitlines()) > len(out.splitlines())


def test_weights_are_copied_on_request(run, folder):
    arguments = ("compare", "left.py:other_weights", "right.py:random_weights", *INPUT)
    assert run(*arguments)[0] == 1
    assert run(*arguments, "--copy-weights")[0] == 0


def test_weights_are_copied_through_names_and_layouts(folder):
    left, right = model("left.py:make"), model("right.py:Transposed")
    command.transfer(left, right, Options(**read_options(folder / "map.toml", [], [], [])))
    state = left.state_dict()
    np.testing.assert_array_equal(right.w.detach(), state["0.weight"].T)
    np.testing.assert_array_equal(right.b.detach(), state["0.bias"])
    np.testing.assert_array_equal(right.last.weight.detach(), state["2.weight"])
    with pytest.raises(ValueError, match=r"copy_weights: .*w is missing.*0\.weight is unexpected"):
        command.transfer(left, right, Options())
    with pytest.raises(ValueError, match=r"copy_weights: 0\.weight has shape \(6, 4\)"):
        command.transfer(left, right, Options(rename={"0.weight": "w", "0.bias": "b", "2": "last"}))


def test_a_map_renames_parameters_and_gives_their_layout(run, folder):
    sides = ("left.py:make", "right.py:Transposed")
    status, out, err = run(
        "compare", *sides, *INPUT, "--rename", "map.toml", "--copy-weights", "-v"
    )
    assert status == 0, out + err
    assert "0.weight" in out


# Golden files


@pytest.fixture
def golden(folder):
    net, x = model("left.py:make"), np.load("x.npz")["arr_0"]
    with parity.record("golden.safetensors", net):
        net(x)[1](np.random.default_rng(1).normal(size=(5, 3)))
    return folder / "golden.safetensors"


def test_a_golden_file_is_compared_with_live_code_on_its_own_inputs(run, golden):
    assert run("compare", golden, "right.py:make")[0] == 0
    assert run("compare", golden, "right.py:make", *INPUT)[0] == 0
    status, out, _ = run("compare", golden, "right.py:faulty")
    assert status == 1 and "1" in out.splitlines()[0]


@pytest.mark.parametrize("key", ["call/0/output", "call/1/input gradient/0", "call/2/output"])
def test_one_altered_value_of_a_golden_file_is_named(run, golden, key):
    arrays, metadata = load_arrays(golden)
    arrays[key][1, 2] += 1e-6
    save_arrays("altered.safetensors", arrays, metadata)
    status, out, _ = run("compare", golden, "altered.safetensors")
    assert status == 1
    assert out.partition(":")[0].strip() or out
    assert key.split("/")[1] in out.splitlines()[0] and "[1, 2]" in out.splitlines()[0]
    assert run("compare", golden, golden)[0] == 0
    status, out, _ = run("compare", "altered.safetensors", "right.py:make")
    assert status == 1 and key.split("/")[1] in out.splitlines()[0]


def test_golden_files_of_different_roots_are_bad_input(run, folder, golden, vae):
    left, _, x, noise = vae
    with parity.record("loss.safetensors", left):
        left.loss(x, noise)[1]()
    status, _, err = run("compare", golden, "loss.safetensors")
    assert status == 2 and "forward" in err and "loss" in err


# Saved cases


def test_a_saved_case_runs_the_code_of_today_on_the_stored_weights(run, folder):
    left, right = model("left.py:other_weights"), model("right.py:make")
    x = np.load("x.npz")["arr_0"]
    (folder / "cases").mkdir()
    makers = ("left.py:make", "right.py:random_weights")
    command.transfer(left, right, Options())
    parity.save_case("cases/case.safetensors", left, right, x, makers=makers, name="stored")
    status, out, err = run("compare", "cases/case.safetensors")
    assert status == 0, out + err
    assert "stored" in out
    assert run("compare", "cases/case.safetensors", *INPUT, "--name", "again")[0] == 0
    text = (folder / "right.py").read_text()
    (folder / "right.py").write_text(text.replace("nn.Tanh()", "nn.Sigmoid()"))
    assert run("compare", "cases/case.safetensors")[0] == 1


# Inputs and options


def test_inputs_of_every_kind_of_file(folder):
    a, b = np.ones((2, 3)), np.zeros(4)
    np.savez("pair.npz", x=a, **{"noise.eps": b, "noise.u": a})
    batch, noise = command.read_inputs(folder / "pair.npz")
    assert len(batch) == 1 and noise._fields == ("eps", "u") and noise.u.shape == (2, 3)
    np.savez("args.npz", *([a] * 11), b, noise=b)
    batch, noise = command.read_inputs(folder / "args.npz")
    assert len(batch) == 12 and batch[11].shape == (4,) and noise.shape == (4,)
    np.save("one.npy", a)
    assert command.read_inputs(folder / "one.npy")[0][0].shape == (2, 3)
    save_file({"x10": b, "x9": a}, "args.safetensors")
    batch, noise = command.read_inputs(folder / "args.safetensors")
    assert [array.shape for array in batch] == [(2, 3), (4,)] and noise is None


def test_options_of_the_file_and_of_the_command_add_up(folder):
    options = read_options(folder / "map.toml", ["1e-9", "2.*=1e-6"], ["3"], ["0.bias"])
    assert options["rename"] == {"0.weight": "w", "0.bias": "b", "2": "last"}
    assert options["bound"] == {"*": 1e-9, "2.*": 1e-6}
    assert options["ignore"] == ["forward(*", "3"] and options["allow_unused"] == ["0.bias"]
    assert read_options(None, ["1e-9"], [], []) == {"bound": 1e-9}
    Options(**options)


GOOD = ("left.py:make", "right.py:make")
BAD_INPUT = [
    ([], "Missing argument 'left'"),
    (["left.py:make"], "right: got None, takes a golden file"),
    (["left.py", "right.py:make"], "left: got 'left.py', takes file.py:function"),
    (["missing.py:make", "right.py:make"], "there is no file 'missing.py'"),
    (["left.py:mkae", "right.py:make"], "did you mean 'make'?"),
    (["left.py:make", "right.py:faultless", *INPUT], "did you mean 'faulty'?"),
    (["left.py:Linear", "right.py:make", *INPUT], "needs in_features"),
    (["left.py:raises", "right.py:make", *INPUT], "RuntimeError: no data (left.py, line 16)"),
    ([*GOOD], "--input: got none, takes a file"),
    ([*GOOD, "--input", "missing.npz"], "--input: got 'missing.npz', there is no such file"),
    ([*GOOD, "--input", "map.toml"], "--input: got 'map.toml', takes a .npz or .npy or"),
    ([*GOOD, "--input", "text.npz"], "text.npz: not a whole file of NumPy arrays"),
    ([*GOOD, "--input", "objects.npz"], "objects.npz: not a whole file of NumPy arrays"),
    ([*GOOD, "--input", "noise.npz"], "noise.npz: holds no array of the batch"),
    ([*GOOD, *INPUT, "--rename", "broken.toml"], "broken.toml: not TOML"),
    ([*GOOD, *INPUT, "--rename", "key.toml"], "key.toml: key: got 'renames', takes one of"),
    ([*GOOD, *INPUT, "--rename", "list.toml"], "list.toml: rename: got ['a'], takes a table"),
    ([*GOOD, *INPUT, "--bound", "small"], "--bound: got 'small', takes NUMBER"),
    ([*GOOD, *INPUT, "--bound", "-1"], "--bound: got -1.0, takes a finite number above 0"),
    ([*GOOD, *INPUT, "--json", "r.txt"], "--json: got 'r.txt', takes a name that ends in .json"),
    ([*GOOD, *INPUT, "--html", "left.py/r.html"], "--html: got 'left.py/r.html', cannot write"),
    (["left.py:number", "right.py:make", *INPUT], "left: got int, takes a numpy_ref.nn.Module"),
    (["right.py:make", "left.py:make", *INPUT], "takes the NumPy module on the left"),
    (["left.py:make", "right.py:raising", *INPUT], "right: 1 raised KeyError: 'no such entry'"),
    (["none.safetensors", "right.py:make"], "left: got 'none.safetensors', there is no such file"),
    (["text.safetensors", "right.py:make"], "text.safetensors: not a whole safetensors file"),
    (["text.safetensors"], "text.safetensors: not a whole safetensors file"),
    (["weights.safetensors", "right.py:make"], "weights.safetensors: not a diptych recording"),
    (["weights.safetensors"], "weights.safetensors: not a diptych case"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_INPUT, ids=lambda v: str(v)[:60])
def test_bad_input_is_one_line_and_exits_2(run, folder, arguments, message):
    (folder / "text.npz").write_text("no arrays")
    (folder / "text.safetensors").write_text("no arrays")
    (folder / "broken.toml").write_text("[rename\n")
    (folder / "key.toml").write_text("[renames]\n")
    (folder / "list.toml").write_text('rename = ["a"]\n')
    np.savez("objects.npz", np.array([{}], dtype=object))
    np.savez("noise.npz", noise=np.ones(1))
    save_file({"w": np.ones(1)}, "weights.safetensors")
    status, out, err = run("compare", *arguments)
    assert status == 2 and message in err, err
    assert err.startswith("error: ") and err.count("\n") == 1 and "Traceback" not in out + err


def test_the_command_runs_in_a_process_of_its_own(folder):
    arguments = [sys.executable, "-m", "diptych", "compare", *GOOD, *INPUT]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
