"""Golden files that are damaged, truncated or of another kind."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diptych import parity, weights
from diptych.files import load_arrays, save_arrays
from diptych.parity.recordings.golden import load_run, load_versions
from model_specs.common.key import Key
from numpy_ref.nn.layers import Linear


@pytest.fixture
def written(golden, mlp):
    with parity.record(golden, mlp[1]):
        mlp[1](torch.from_numpy(mlp[2])).sum().backward()
    return golden


def test_the_versions_are_in_the_file(written):
    assert {"python", "numpy", "torch", "diptych", "blas"} <= load_versions(written).keys()
    assert load_versions(written)["torch"] == torch.__version__


def damaged(path, fault):
    """Write the file again with a fault in its arrays or in its metadata."""
    arrays, metadata = load_arrays(path)
    fault(arrays, metadata)
    save_arrays(path, arrays, metadata)


FAULTS = {
    "no metadata": (lambda a, m: m.clear(), "not a diptych recording"),
    "another version": (lambda a, m: m.update(version=99), "format version 99, takes 1"),
    "another format": (lambda a, m: m.update(format="x"), "it is 'x'"),
    "an entry missing": (lambda a, m: a.pop("call/1/output"), "no entry 'call/1/output'"),
    "an entry too many": (lambda a, m: a.update(z=np.ones(1)), "no call names: 'z'"),
    "a call missing": (lambda a, m: m["run"]["calls"].pop(), "metadata is damaged"),
    "no run": (lambda a, m: m.pop("run"), "metadata is damaged"),
    "a list": (lambda a, m: m.update(run=[]), "metadata is damaged"),
    "an input of no kind": (
        lambda a, m: m["run"]["inputs"].__setitem__(0, {}),
        "metadata is damaged",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_damaged_file_is_one_error_that_names_it(written, fault):
    plant, message = FAULTS[fault]
    damaged(written, plant)
    with pytest.raises(ValueError, match=message) as error:
        load_run(written)
    assert str(error.value).startswith(str(written)) and "\n" not in str(error.value)


def test_a_truncated_file_and_other_files_are_named(written, tmp_path):
    written.write_bytes(written.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"golden\.safetensors: not a whole safetensors file"):
        load_run(written)
    text = tmp_path / "text.safetensors"
    text.write_text("no tensors")
    with pytest.raises(ValueError, match=r"text\.safetensors: not a whole"):
        load_run(text)
    with pytest.raises(ValueError, match="no such file"):
        load_run(tmp_path / "missing.safetensors")
    weights.save(Linear(2, 3, Key(0)), text)
    with pytest.raises(ValueError, match="not a diptych recording"):
        load_run(text)
