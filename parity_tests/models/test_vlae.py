"""The VLAE: parity over its switches, trajectories, and the definition of its loss."""

import itertools

import numpy as np
import pytest
import torch
from helpers.finite_differences import derivative
from helpers.run_layers import tensors
from helpers.small_vlaes import KEY, KINDS, binary_images, make_config, make_models
from torch import distributions as td

import numpy_ref.nn.averaging
import numpy_ref.nn.optim
import numpy_ref.nn.random
import numpy_ref.vlae
import torch_impl.nn.averaging
import torch_impl.vlae
from diptych import parity
from diptych.panels import NumpyPanel, TorchPanel
from diptych.parity.measures.rows import normwise
from model_specs.common.key import Key
from model_specs.vlae import FREE_BITS, VLAEConfig, VLAENoise

each_kind = pytest.mark.parametrize(("latent", "context"), KINDS)


def test_vlae_left_equals_right():
    """The same weights, images and noise: equal losses and equal gradients of every parameter."""
    config = VLAEConfig(height=5, width=7, maps=3, hidden_dim=11, latent_dim=4, decoder_maps=6)
    left = numpy_ref.vlae.VLAE(config, Key(1))
    right = torch_impl.vlae.VLAE(config)
    x = (numpy_ref.nn.random.uniform(Key(2), (6, 1, 5, 7)) < 0.4).astype("float64")
    noise = left.draw_noise(Key(3), batch_size=6)
    left.initialize(x, noise)
    right.load_state_dict(left.state_dict())

    loss, backward = left.loss(x, noise)
    backward()
    right_loss = right.loss(torch.from_numpy(x), VLAENoise(torch.from_numpy(noise.eps)))
    right_loss.total.backward()

    np.testing.assert_allclose(loss.total, right_loss.total.item(), rtol=1e-13)
    assert left.gradients().keys() == dict(right.named_parameters()).keys()
    for name, parameter in right.named_parameters():
        gradient = parameter.grad.numpy()
        bound = 1e-13 * np.abs(gradient).max()
        np.testing.assert_allclose(left.gradients()[name], gradient, rtol=1e-13, atol=bound)


def loss_and_gradients(model, x, noise):
    """The loss terms and the parameter gradients of either panel, by name."""
    model.zero_grad()
    if isinstance(model, torch.nn.Module):
        loss = model.loss(*tensors(x), type(noise)(*tensors(*noise)))
        loss.total.backward()
        result = {name: term.detach() for name, term in loss._asdict().items()}
        return {name: array.numpy() for name, array in (result | model.gradients()).items()}
    loss, backward = model.loss(x, noise)
    backward()
    return {name: np.array(array) for name, array in (loss._asdict() | model.gradients()).items()}


@pytest.mark.parametrize("free_bits_of", FREE_BITS)
@each_kind
def test_losses_and_gradients_agree_over_the_switches(latent, context, free_bits_of):
    """Batches of 5 and of 1 in training, and evaluation mode, which has no free bits."""
    flow = latent in ("af_prior", "iaf_posterior")
    for tied, mean_only in itertools.product((True, False), (True, False) if flow else (True,)):
        options = {"free_bits_of": free_bits_of, "tied": tied, "flow_mean_only": mean_only}
        left, right = make_models(make_config(latent, context, **options))
        for training, size in ((True, 5), (True, 1), (False, 5)):
            left.train(training), right.train(training)
            x, noise = binary_images(left.config, size), left.draw_noise(KEY, size)
            ours, theirs = (loss_and_gradients(model, x, noise) for model in (left, right))
            assert ours.keys() == theirs.keys() and {"total", "recon", "kl"} < ours.keys()
            for name, array in ours.items():
                assert array.shape == theirs[name].shape
                if name == "pixels.first.horizontal.weight_v" and latent == "none":
                    # it reads one pixel, so its direction does not matter: both are rounding
                    assert max(np.abs(array).max(), np.abs(theirs[name]).max()) <= 1e-13
                    continue
                assert normwise(array, theirs[name]) <= 1e-13, (options, size, name)
            if not training:
                assert ours["total"] == pytest.approx(ours["recon"] + ours["kl"], rel=1e-14)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("latent", "context"), [("none", "raster"), ("gaussian", "none"), ("iaf_posterior", "local")]
)
def test_every_tensor_agrees(latent, context, dtype):
    """float32 stays within the bound of its dtype and size, against the float64 left panel."""
    config = make_config(latent, context, height=4, width=3, tied=context == "local")
    left, right = make_models(config, dtype)
    report = parity.assert_parity(
        left, right, binary_images(config, 3, dtype), left.draw_noise(KEY, 3)
    )
    assert {"loss.total", "encode[0]", "decode"} <= {row.name for row in report.rows}
    gradients = {row.name for row in report.rows if row.kind == "parameter gradient"}
    assert gradients == set(left.gradients())
    if dtype == "float64":
        assert all(row.error <= 1e-13 for row in report.rows)


@pytest.mark.parametrize(
    "config",
    [make_config("iaf_posterior", "local", height=8, width=8, maps=4), VLAEConfig()],
    ids=["8 x 8", "28 x 28, the recipe"],
)
def test_every_tensor_agrees_at_real_sizes(config, device):
    left, right = make_models(config)
    report = parity.assert_parity(
        left, right.to(device), binary_images(config, 2), left.draw_noise(KEY, 2)
    )
    assert all(row.error <= 1e-13 for row in report.rows)


@pytest.mark.parametrize(
    ("kind", "free_bits_of"),
    [(("af_prior", "raster"), "soft"), (("gaussian", "local"), "latent")],
)
def test_a_hundred_steps_end_in_the_same_weights_and_averages(kind, free_bits_of):
    """Adamax with Polyak averaging; the KL crosses lambda during the run."""
    changes = {"height": 4, "width": 5, "free_bits": 0.05, "free_bits_of": free_bits_of}
    left, right = make_models(make_config(*kind, **changes))
    start = left.state_dict()
    ours = numpy_ref.nn.optim.Adamax(left.named_parameters(), lr=0.002)
    theirs = torch.optim.Adamax(right.parameters(), lr=0.002)
    our_mean = numpy_ref.nn.averaging.PolyakAverage(left.named_parameters(), 0.95)
    their_mean = torch_impl.nn.averaging.PolyakAverage(right.named_parameters(), 0.95)
    crossed = set()
    for step in range(100):
        x, noise = (
            binary_images(left.config, 6, key=KEY.fold_in(step)),
            left.draw_noise(Key(step), 6),
        )
        for model, optimizer, mean in ((left, ours, our_mean), (right, theirs, their_mean)):
            result = loss_and_gradients(model, x, noise)
            optimizer.step(), mean.update()
        crossed.add(bool(result["kl"] > left.config.free_nats))
    assert crossed == {True, False}
    ends, means = right.state_dict(), their_mean.state_dict()
    for name, array in left.state_dict().items():
        assert normwise(array, ends[name].numpy()) <= 1e-10, name
        assert normwise(array, start[name]) > 1e-4, name
    for name, array in our_mean.state_dict().items():
        assert normwise(array, means[name].numpy()) <= 1e-10, name


# Witnesses other than the panels


@each_kind
def test_the_gradient_agrees_with_finite_differences(latent, context, rng):
    """One random direction of all parameters, scaled by their size. The step is short, so that no
    input of an ELU changes its sign."""
    left, _ = make_models(make_config(latent, context, free_bits_of="none"))
    x, noise = binary_images(left.config, 3), left.draw_noise(KEY, 3)
    loss_and_gradients(left, x, noise)
    parameters = dict(left.named_parameters())
    tangents = {
        name: (p.data**2).mean() ** 0.5 * rng.normal(size=p.data.shape)
        for name, p in parameters.items()
    }
    slope = sum((parameters[name].grad * v).sum() for name, v in tangents.items())
    start = left.state_dict()

    def total(step):
        for name, v in tangents.items():
            parameters[name].data[...] = start[name] + step * v
        return left.loss(x, noise)[0].total

    assert derivative(total, step=2e-7) == pytest.approx(slope, rel=1e-6)


@each_kind
def test_the_loss_agrees_with_torch_distributions(latent, context):
    """The KL is sampled for a flow, and in closed form without one."""
    _, right = make_models(make_config(latent, context, free_bits_of="none"))
    x, noise = *tensors(binary_images(right.config, 4)), right.draw_noise(KEY, 4)
    loss = right.loss(x, noise)
    mu, logvar = right.encode(x)
    q, prior = td.Normal(mu, (0.5 * logvar).exp()), td.Normal(torch.zeros(()).double(), 1)
    z = q.loc + q.scale * noise.eps
    if latent in ("none", "gaussian"):
        code, kl = z, td.kl_divergence(q, prior).sum(1)
    else:
        u, logdet = right.latent.flow(z)
        code = z if latent == "af_prior" else u
        kl = q.log_prob(z).sum(1) - prior.log_prob(u).sum(1) - logdet
    recon = -td.Bernoulli(logits=right.decode(code, x)).log_prob(x).sum((1, 2, 3)).mean()
    assert loss.recon.item() == pytest.approx(recon.item(), rel=1e-12)
    assert loss.kl.item() == pytest.approx(kl.mean().item(), rel=1e-12)
    assert loss.total.item() == pytest.approx((recon + kl.mean()).item(), rel=1e-12)


@pytest.mark.parametrize(("lam", "kl_penalty"), [(1e-3, "kl"), (1e3, "lambda")])
def test_bits_below_lambda_are_free(lam, kl_penalty):
    """The penalty is then constant, and the encoder's gradient is that of the reconstruction."""
    left, _ = make_models(make_config("gaussian", free_bits=lam / 35, free_bits_of="total"))
    x, noise = binary_images(left.config, 5), left.draw_noise(KEY, 5)
    result = loss_and_gradients(left, x, noise)
    expected = result["kl"] if kl_penalty == "kl" else lam
    assert result["total"] - result["recon"] == pytest.approx(expected, rel=1e-12)
    left.eval()
    whole = loss_and_gradients(left, x, noise)
    assert whole["total"] - whole["recon"] == pytest.approx(result["kl"], rel=1e-12)
    name = "encoder.logvar.bias"
    assert np.array_equal(whole[name], result[name]) == (kl_penalty == "kl")


@pytest.mark.parametrize("side", [0, 1], ids=["left", "right"])
def test_the_weight_of_soft_free_bits_is_no_part_of_the_average(side):
    """gamma is a buffer, and evaluation uses 1 whatever its value in training."""
    model = make_models(make_config(free_bits_of="soft", free_bits=10.0))[
        side
    ]  # more than any KL here
    panel = (NumpyPanel, TorchPanel)[side](model, "adamax", 2e-3, 0.0)
    panel.keep_average(0.9)
    assert "free_bits.gamma" in model.state_dict()
    assert panel.average_state().keys() == {name for name, _ in model.named_parameters()}
    x, noise = binary_images(model.config, 5), model.draw_noise(KEY, 5)
    panel.forward_backward(x, noise)
    assert float(model.state_dict()["free_bits.gamma"]) == pytest.approx(1 / 1.1)
    with panel.evaluating():
        terms = panel.terms(x, noise)
    assert terms["total"] == pytest.approx(terms["recon"] + terms["kl"], rel=1e-14)
    assert float(model.state_dict()["free_bits.gamma"]) == pytest.approx(1 / 1.1)
