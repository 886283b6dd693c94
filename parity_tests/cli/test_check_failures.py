"""`diptych check` with a layer that raises: it is named, and the other pairs are compared."""

import json

import pytest
from torch.nn import ConvTranspose2d

import numpy_ref.mlp_vae
import torch_impl.mlp_vae
from diptych.commands import check
from numpy_ref.autoregressive.latents import FlowPrior
from numpy_ref.nn.layers import BatchNorm2d


def product_of_wrong_shapes(self, x, *rest):
    return x @ x


def no_kernel(self, *arguments):
    raise RuntimeError("no kernel for this device")


@pytest.mark.parametrize(
    ("layer", "fault", "pair", "message"),
    [
        (
            numpy_ref.mlp_vae.LogvarPosterior,
            product_of_wrong_shapes,
            "mlp_vae[tanh]",
            "left: posterior raised ValueError: matmul: Input operand",
        ),
        (
            torch_impl.mlp_vae.LogvarPosterior,
            product_of_wrong_shapes,
            "mlp_vae[tanh]",
            "right: posterior raised RuntimeError: mat1 and mat2 shapes",
        ),
        (
            BatchNorm2d,
            no_kernel,
            "conv_vae[tanh]",
            "left: encoder.3 raised RuntimeError: no kernel",
        ),
        (
            ConvTranspose2d,
            no_kernel,
            "conv_vae[tanh]",
            "right: decoder.0 raised RuntimeError: no kernel",
        ),
        # the left is initialised by a forward pass of its own before the comparison
        (FlowPrior, no_kernel, "vlae[stacks]", "left: latent raised RuntimeError: no kernel"),
    ],
)
def test_a_layer_that_raises_is_named_and_the_other_pairs_go_on(
    run, monkeypatch, tmp_path, layer, fault, pair, message
):
    monkeypatch.setattr(layer, "forward", fault)
    status, out, err = run("check", pair, "rnn[per_step]", "--json", tmp_path / "c.json")
    assert status == 1 and not err
    assert f"{pair}: {message}" in out and f"diptych check '{pair}'" in out
    failed, other = json.loads((tmp_path / "c.json").read_text())["pairs"]
    assert failed["name"] == pair and failed["ok"] is False and message in failed["problem"]
    assert failed["tensors"] == 0 and failed["worst"]["tensor"] is None
    assert other["name"] == "rnn[per_step]" and other["ok"] is True and "problem" not in other


def test_a_vjp_that_raises_is_named(run, monkeypatch):
    forward = numpy_ref.mlp_vae.LogvarPosterior.forward

    def failing_vjp(self, h):
        return forward(self, h)[0], no_kernel

    monkeypatch.setattr(numpy_ref.mlp_vae.LogvarPosterior, "forward", failing_vjp)
    status, out, _ = run("check", "mlp_vae[tanh]")
    assert status == 1 and "left: posterior raised RuntimeError: no kernel" in out


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_value_that_raises_is_named(run, monkeypatch, side):
    panel = {"left": numpy_ref, "right": torch_impl}[side]
    monkeypatch.setattr(panel.mlp_vae.MLPVAE, "sample", no_kernel_for_samples)
    status, out, _ = run("check", "mlp_vae[tanh]")
    assert status == 1 and f"{side}: sample raised RuntimeError: no kernel" in out


def no_kernel_for_samples(self, key, count, *, mean=False):
    raise RuntimeError("no kernel for this device")


def test_a_constructor_that_raises_fails_its_pair_alone(run, monkeypatch, tmp_path):
    monkeypatch.setattr(torch_impl.mlp_vae.MLPVAE, "__init__", no_constructor)
    status, out, _ = run("check", "mlp_vae[tanh]", "random", "--json", tmp_path / "c.json")
    assert status == 1 and "mlp_vae[tanh]: RuntimeError: out of memory" in out
    failed, other = json.loads((tmp_path / "c.json").read_text())["pairs"]
    assert failed["problem"] == "RuntimeError: out of memory" and other["ok"] is True


def no_constructor(self, *arguments, **options):
    raise RuntimeError("out of memory")


def test_an_unknown_device_stops_before_any_pair(run, monkeypatch):
    monkeypatch.setattr(check, "compare", lambda *a, **options: pytest.fail("a pair was run"))
    status, _, err = run("check", "mlp_vae", "--device", "nonsense")
    assert status == 1 and "device: got 'nonsense'" in err
