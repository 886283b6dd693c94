"""Every registered pair of models agrees, in both dtypes."""

import numpy as np
import pytest
from torch import nn

from diptych import pairs, parity
from diptych.parity.running.numpy_side import NumpySide
from diptych.parity.running.sides import Plan
from diptych.parity.running.torch_side import TorchSide
from model_specs.common.key import Key
from numpy_ref.nn.module import Module


@pytest.mark.parametrize("name", pairs.names())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_registered_pairs_agree(name, dtype, device):
    """With several keys: some draw a sigma near 0, or a KL term whose sum cancels."""
    for seed in range(2 if "784" in name or "vlae" in name else 16):
        parity.assert_parity(name, dtype=dtype, device=device, key=Key(seed))


def test_the_bound_of_an_ill_conditioned_tensor_grows_with_its_rounding_errors():
    """A sum that cancels: both forms of it are correct, and differ by more than 1e-13."""

    class Left(Module):
        def forward(self, x):
            return (x + 1e4) - 1e4, lambda dy: dy

    class Right(nn.Module):
        def forward(self, x):
            return 1.0 * x

    report = parity.compare(Left(), Right(), np.random.default_rng(0).normal(size=(7, 5)))
    (row,) = (row for row in report.rows if row.kind == "output")
    assert report.ok and 1e-13 < row.error < row.bound < 1e-9 and report.runs["noisy"] == 1


def test_a_perturbed_run_uses_the_perturbed_parameters():
    """A run restores the parameters first; a perturbation that it undid would measure nothing."""
    pair, config = pairs.find("mlp_vae[tanh]")
    batch, noise = pair.batch(config, Key(1), np.dtype(np.float64), 3), None
    for side in (
        NumpySide(pair.left(config), "left"),
        TorchSide(pair.right(config, dtype="float64"), "right"),
    ):
        noise = noise or side.model.draw_noise(Key(2), 3)
        plan = Plan("loss", (batch, noise), {}, lambda _: {}, set())
        first = side.run_once(plan).outputs[".total"]
        side.change_parameters(lambda _, array: array * 1.5)
        assert abs(side.run_once(plan).outputs[".total"] - first) > 1e-3
