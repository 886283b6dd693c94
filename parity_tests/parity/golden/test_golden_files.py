"""Golden files: what `record` writes is read back, and a bad file is one clear error."""

from __future__ import annotations

import json
from typing import NamedTuple

import numpy as np
import pytest
import torch
from safetensors import safe_open

from diptych import parity
from diptych.parity.recordings.golden import load_run
from diptych.parity.recordings.packing import Reader, Unsaved, Writer
from model_specs.common.key import Key


def keys_of(path):
    with safe_open(path, framework="numpy") as file:
        return set(file.keys())


# Models


def test_a_torch_model_is_recorded_with_its_gradients_under_readable_keys(golden, mlp):
    _, model, x = mlp
    batch = torch.from_numpy(x).requires_grad_()
    with parity.record(golden, model):
        y = model(batch)
        y.square().sum().backward()
    run = load_run(golden)
    assert run.root == "forward" and run.differentiated and run.dtype == np.float64
    np.testing.assert_array_equal(run.calls["forward"].outputs[""], y.detach())
    np.testing.assert_array_equal(run.calls["forward"].output_grads[""], 2 * y.detach())
    np.testing.assert_array_equal(run.calls["1"].input_grads["0"], run.calls["0"].output_grads[""])
    np.testing.assert_array_equal(run.gradients["0.weight"], model[0].weight.grad)
    np.testing.assert_array_equal(run.inputs[0], x)
    expected = {"parameter/0.weight", "parameter gradient/2.bias", "input/0", "call/1/output"}
    assert expected | {"call/1/input gradient/0"} <= keys_of(golden)
    assert [(phase, call.name) for phase, call in run.events][:4] == [
        ("forward", "0"),
        ("forward", "1"),
        ("forward", "2"),
        ("forward", "forward"),
    ]
    assert run.calls["1"].parent is run.calls["forward"]


def test_a_numpy_model_is_recorded_as_the_torch_model_is(golden, mlp, tmp_path):
    left, right, x = mlp
    dy = np.random.default_rng(8).normal(size=(5, 3))
    with parity.record(golden, left):
        left(x)[1](dy)
    other = tmp_path / "right.safetensors"
    with parity.record(other, right):
        right(torch.from_numpy(x).requires_grad_()).backward(torch.from_numpy(dy))
    a, b = load_run(golden), load_run(other)
    assert a.calls.keys() == b.calls.keys() and a.gradients.keys() == b.gradients.keys()
    for name, call in a.calls.items():
        for kind in ("outputs", "inputs", "output_grads", "input_grads"):
            arrays, others = getattr(call, kind), getattr(b.calls[name], kind)
            assert arrays.keys() == others.keys(), (name, kind)
            for leaf, array in arrays.items():
                np.testing.assert_allclose(array, others[leaf], rtol=1e-13, atol=1e-15)
    for name, gradient in a.gradients.items():
        np.testing.assert_allclose(gradient, b.gradients[name], rtol=1e-13)


def test_without_a_backward_pass_no_gradient_is_recorded(golden, mlp):
    for model in mlp[:2]:
        with parity.record(golden, model):
            model(mlp[2] if model is mlp[0] else torch.from_numpy(mlp[2]))
        run = load_run(golden)
        assert not run.differentiated and not run.gradients
        assert run.calls["1"].outputs[""].shape == (5, 6)


def test_a_loss_is_recorded_with_the_structure_of_its_arguments(golden, vae):
    left, right, x, noise = vae
    with parity.record(golden, left):
        _, vjp = left.loss(x, noise)
        vjp()
    run = load_run(golden)
    assert run.root == "loss" and type(run.inputs[1]) is type(noise)
    for array, expected in zip(run.inputs[1], noise, strict=True):
        np.testing.assert_array_equal(array, expected)
    assert {".total", ".recon", ".kl"} <= run.calls["loss"].outputs.keys()
    for name, gradient in left.gradients().items():
        np.testing.assert_array_equal(run.gradients[name], gradient)
    del right


def test_gradients_from_before_the_block_are_not_recorded_and_not_lost(golden, mlp):
    left, right, x = mlp
    batch, dy = torch.from_numpy(x), np.ones((5, 3))
    for _ in range(2):
        with parity.record(golden, right):
            right(batch).sum().backward()
        once = load_run(golden).gradients["0.weight"]
    np.testing.assert_allclose(right[0].weight.grad, 2 * once, rtol=1e-14)
    for _ in range(2):
        with parity.record(golden, left):
            left(x)[1](dy)
        once = load_run(golden).gradients["0.weight"]
    np.testing.assert_allclose(left.gradients()["0.weight"], 2 * once, rtol=1e-14)
    with parity.record(golden, left):
        left.zero_grad()
        left(x)[1](dy)
    np.testing.assert_array_equal(left.gradients()["0.weight"], once)
    assert "zero_grad" not in vars(left)


def test_the_model_is_free_of_the_trace_afterwards(golden, mlp):
    attributes = [{**vars(m)} for model in mlp[:2] for _, m in model.named_modules()]
    with pytest.raises(KeyError), parity.record(golden, mlp[0]):
        mlp[0](mlp[2])
        raise KeyError
    with parity.record(golden, mlp[1]):
        mlp[1](torch.from_numpy(mlp[2]))
    after = [{**vars(m)} for model in mlp[:2] for _, m in model.named_modules()]
    assert [list(a) for a in attributes] == [list(a) for a in after]
    assert not mlp[1][0].weight._backward_hooks


def test_an_exception_leaves_no_file_and_keeps_the_old_one(golden, mlp):
    with pytest.raises(KeyError), parity.record(golden, mlp[0]):
        mlp[0](mlp[2])
        raise KeyError
    assert not list(golden.parent.iterdir())
    with parity.record(golden, mlp[0]):
        mlp[0](mlp[2])
    before = golden.read_bytes()
    with pytest.raises(KeyError), parity.record(golden, mlp[0]):
        raise KeyError
    assert golden.read_bytes() == before and list(golden.parent.iterdir()) == [golden]


def test_a_block_that_records_nothing_is_an_error(golden, mlp):
    with (
        pytest.raises(ValueError, match=r"nothing was recorded.*call Sequential inside"),
        parity.record(golden, mlp[0]),
    ):
        pass
    with (
        pytest.raises(ValueError, match=r"nothing was recorded.*parity\.tap"),
        parity.record(golden),
    ):
        pass
    assert not golden.exists()


def test_record_names_a_wrong_path_and_a_wrong_model(tmp_path):
    with pytest.raises(ValueError, match=r"path: .*ends in \.safetensors"), parity.record("x.npz"):
        pass
    with (
        pytest.raises(ValueError, match=r"model: got a dict, takes a torch"),
        parity.record(tmp_path / "x.safetensors", {}),
    ):
        pass


def test_copies_of_an_output_are_stored_once(golden, mlp):
    with parity.record(golden, mlp[1]):
        mlp[1](torch.from_numpy(mlp[2]))
    assert "call/1/input/0" not in keys_of(golden) and "call/0/output" in keys_of(golden)
    run = load_run(golden)
    np.testing.assert_array_equal(run.calls["1"].inputs["0"], run.calls["0"].outputs[""])
    np.testing.assert_array_equal(run.calls["1"].arguments[0], run.calls["0"].outputs[""])


def test_arrays_of_equal_bytes_and_another_shape_or_dtype_are_no_copies():
    writer = Writer()
    arrays = [np.zeros((2, 3)), np.zeros((3, 2)), np.zeros((2, 3), np.int64), np.zeros((2, 3))]
    for i, array in enumerate(arrays):
        writer.add(str(i), array, shared=True)
    assert writer.copies == {"3": "0"}
    reader = Reader(writer.arrays, writer.copies)
    for i, array in enumerate(arrays):
        assert reader.get(str(i)).shape == array.shape and reader.get(str(i)).dtype == array.dtype


# Programs without a model


class Moments(NamedTuple):
    mu: np.ndarray
    logvar: np.ndarray


def test_taps_and_named_values_are_recorded_without_a_model(golden, rng):
    x, weight = rng.normal(size=(2, 3)), rng.normal(size=(4, 3))
    with parity.record(golden) as recording:
        recording["input/0"] = x
        recording["parameter/fc.weight"] = weight
        hidden = parity.tap("fc", x @ weight.T)
        assert hidden.shape == (2, 4)
        recording["moments"] = Moments(hidden + 1, hidden - 1)
        parity.tap("fc", hidden + 2)
        recording["loss"] = 0.5
        recording["output gradient/fc"] = np.ones((2, 4))
        recording["parameter gradient/fc.weight"] = np.zeros((4, 3))
    run = load_run(golden)
    assert list(run.calls) == ["fc", "moments", "fc#2", "loss"] and run.root == "loss"
    np.testing.assert_array_equal(run.calls["fc"].outputs[""], x @ weight.T)
    np.testing.assert_array_equal(run.calls["fc#2"].output_grads[""], np.ones((2, 4)))
    assert list(run.calls["moments"].outputs) == [".mu", ".logvar"]
    assert run.parameters == {"fc.weight"} and run.gradients["fc.weight"].shape == (4, 3)
    assert run.differentiated and run.inputs[0].shape == (2, 3)


def test_a_tap_in_torch_records_its_gradient(golden):
    x = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
    with parity.record(golden):
        y = parity.tap("square", x.square())
        (3 * y).sum().backward()
    call = load_run(golden).calls["square"]
    np.testing.assert_array_equal(call.output_grads[""], [3.0, 3.0])
    np.testing.assert_array_equal(x.grad, [6.0, 12.0])


def test_taps_do_nothing_outside_of_a_recording():
    x = np.ones(3)
    assert parity.tap("x", x) is x and parity.tap_gradient("x", x) is x


def test_a_recording_names_what_it_cannot_hold(golden):
    with parity.record(golden) as recording:
        recording["y"] = 1.0
        with pytest.raises(ValueError, match=r"recording\['name'\]: got a str, takes an array"):
            recording["name"] = "text"
        with pytest.raises(ValueError, match="takes input/0 next"):
            recording["input/1"] = np.ones(2)
        with pytest.raises(ValueError, match="no such output"):
            recording["output gradient/z"] = np.ones(2)
    assert list(load_run(golden).calls) == ["y"]
    with pytest.raises(ValueError, match="takes 'parameter/w' as well"):  # noqa: SIM117
        with parity.record(golden) as recording:
            recording["y"] = 1.0
            recording["parameter gradient/w"] = np.ones(2)


# Values


def test_nested_values_are_packed_without_pickle():
    value = {
        "a": (1, 2.5, None, True, "text"),
        "b": [np.arange(3), {"c": torch.ones(2)}],
        "m": Moments(np.ones(1), np.zeros(2)),
        "key": Key(3).fold_in("x"),
        "set": {"y", "x"},
    }
    writer = Writer()
    packed = json.loads(json.dumps(writer.pack("value", value)))
    assert {"value.b[0]", "value.m.mu"} <= writer.arrays.keys()
    result = Reader(writer.arrays, {}).unpack(packed)
    assert result["a"] == value["a"] and result["set"] == {"x", "y"}
    assert type(result["m"]) is Moments and result["key"] == Key(3).fold_in("x")
    np.testing.assert_array_equal(result["b"][1]["c"], [1, 1])
    with pytest.raises(ValueError, match=r"value\.f: got a function, takes arrays"):
        writer.pack("value", {"f": json.dumps})
    assert Reader({}, {}).unpack(writer.pack("f", json.dumps, strict=False)) == Unsaved("function")


def test_a_class_that_was_not_imported_is_read_as_a_namedtuple():
    writer = Writer()
    packed = json.loads(json.dumps(writer.pack("m", Moments(np.ones(1), np.zeros(2)))))
    packed["class"] = "no_such_module:Moments"
    result = Reader(writer.arrays, {}).unpack(packed)
    assert type(result).__name__ == "Moments" and result._fields == ("mu", "logvar")
    packed["class"] = "os:system"
    assert type(Reader(writer.arrays, {}).unpack(packed))._fields == ("mu", "logvar")
