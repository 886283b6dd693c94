"""Free-bits KL penalties: their definitions, derivatives, and the updates of gamma."""

import numpy as np
import pytest
import torch
from helpers.finite_differences import derivative_errors
from helpers.layers_with_same_weights import make_config
from helpers.run_layers import normwise_errors, outputs_and_gradients

from diptych import weights
from diptych.parity.measures.rows import normwise
from model_specs.vlae import FREE_BITS
from numpy_ref.autoregressive import latents as left_side
from torch_impl.autoregressive import latents as right_side

SIDES = left_side, right_side
KL = np.array([[0.9, 0.02, 1.7], [0.1, 0.06, 2.9], [0.5, 0.01, 0.2], [1.3, 0.03, 0.4]])
"""KL of four images in three parts: means 0.7, 0.03 and 1.3, in total 2.03."""
LAMBDAS = (0.0, 0.6, 2.0, 2.2, 9.0)
"""Free nats; lambda / 3 for each part is 0, 0.2, 0.67, 0.73, 3."""


def makers(free):
    """Functions that make each kind of penalty on a panel."""
    return {
        "none": lambda side: side.NoFreeBits(),
        "total": lambda side: side.TotalFreeBits(free),
        "latent": lambda side: side.LatentFreeBits(free),
        "soft": lambda side: side.SoftFreeBits(free),
    }


def pair(kind, free, gamma=None):
    """[left, right] penalties of one kind, with gamma set."""
    penalties = [makers(free)[kind](side) for side in SIDES]
    if gamma is not None:
        for penalty in penalties:
            weights.load_state(penalty, {"gamma": np.array(gamma)}, "")
    return penalties


def value(bits, kl):
    """The penalty of either panel, as a number."""
    if isinstance(bits, torch.nn.Module):
        return bits(torch.from_numpy(kl)).item()
    return float(bits(kl)[0])


def gamma_of(bits):
    return float(weights.to_arrays(bits.state_dict())["gamma"])


def penalty_by_definition(kind, free, kl, gamma=1.0):
    """The penalty and its derivative in kl, summed one image and one part at a time."""
    N, G = kl.shape
    total = sum(kl[n, g] for n in range(N) for g in range(G)) / N
    slope = np.full(kl.shape, 1 / N)
    if kind == "total":
        return max(free, total), slope if total > free else 0 * slope
    if kind == "latent":
        means = [sum(kl[n, g] for n in range(N)) / N for g in range(G)]
        for g in range(G):
            slope[:, g] *= means[g] > free / G
        return sum(max(free / G, mean) for mean in means), slope
    return gamma * total, gamma * slope


@pytest.mark.parametrize("kind", makers(0))
@pytest.mark.parametrize("free", LAMBDAS)
def test_penalties_agree_with_their_definitions(free, kind, rng):
    """Below lambda the gradient is exactly 0."""
    for kl in (KL, KL[:1], KL[:, :1], 3 * rng.random((5, 2))):
        gamma = 0.7 if kind == "soft" else None
        wanted, slope = penalty_by_definition(kind, free, kl, gamma or 1.0)
        for bits in pair(kind, free, gamma):
            result = outputs_and_gradients(bits.train(), (kl,), [np.array(1.3)])
            assert result["y0"].shape == ()
            assert result["y0"] == pytest.approx(wanted, rel=1e-14)
            np.testing.assert_array_equal(result["dx0"] == 0, slope == 0)
            np.testing.assert_allclose(result["dx0"], 1.3 * slope, rtol=1e-14)


@pytest.mark.parametrize("kind", makers(0))
@pytest.mark.parametrize("free", LAMBDAS)
def test_parity(free, kind, rng):
    for kl in (KL, KL[:1], 3 * rng.random((5, 2)), rng.normal(size=(3, 1))):
        assert max(normwise_errors(*pair(kind, free), (kl,), rng).values()) <= 1e-13


@pytest.mark.parametrize("kind", ["none", "total", "latent", "soft"])
@pytest.mark.parametrize("free", LAMBDAS)
def test_finite_differences(free, kind, rng):
    """Away from the kink; soft free bits keep one gamma for all points of the difference."""
    bits, _ = pair(kind, free, 0.7 if kind == "soft" else None)

    def function(kl):
        if kind == "soft":
            weights.load_state(bits, {"gamma": np.array(0.7)}, "")
        return bits(kl)

    result = derivative_errors(function, (KL.copy(),), {}, rng)
    assert result.keys() == {"[0]"}
    assert result["[0]"] < 1e-9


@pytest.mark.parametrize("kind", ["total", "latent"])
def test_at_the_kink_both_panels_take_the_slope_from_above(kind):
    """So a lambda of 0 changes nothing, even if the posterior is the prior."""
    for kl, free in ((np.zeros((2, 2)), 0.0), (np.full((2, 2), 0.25), 0.5)):
        for bits in pair(kind, free):
            result = outputs_and_gradients(bits, (kl,), [np.array(1.0)])
            assert result["y0"] == free
            np.testing.assert_array_equal(result["dx0"], 0.5)


@pytest.mark.parametrize("free", LAMBDAS)
def test_in_evaluation_no_bits_are_free(free):
    for kind in makers(free):
        plain = [outputs_and_gradients(bits, (KL,), [np.array(1.3)]) for bits in pair("none", free)]
        for bits, wanted in zip(
            pair(kind, free, 0.4 if kind == "soft" else None), plain, strict=True
        ):
            result = outputs_and_gradients(bits.eval(), (KL,), [np.array(1.3)])
            for name, array in result.items():
                if name in wanted:
                    np.testing.assert_array_equal(array, wanted[name])
            if kind == "soft":
                assert gamma_of(bits) == 0.4


# Soft free bits


def test_gamma_follows_the_kl(rng):
    """Both panels update gamma as a plain loop does over one sequence of KLs."""
    left, right = pair("soft", 2.0)
    gamma, gammas = 1.0, []
    for scale in rng.uniform(0.3, 2.2, 60):
        kl = scale * KL
        mean = kl.sum() / len(kl)
        result = [outputs_and_gradients(bits, (kl,), [np.array(1.0)]) for bits in (left, right)]
        for side in result:  # with the gamma from before this update
            assert side["y0"] == pytest.approx(gamma * mean, rel=1e-13)
            np.testing.assert_allclose(side["dx0"], gamma / 4, rtol=1e-13)
        if mean > 1.05 * 2.0:
            gamma = min(1.0, gamma * 1.1)
        elif mean < 2.0:
            gamma /= 1.1
        assert gamma_of(left) == gamma_of(right) == pytest.approx(gamma, rel=1e-13)
        assert 0 < gamma_of(left) <= 1
        gammas.append(gamma)
    assert len(set(np.round(gammas, 9))) > 5 and min(gammas) < 0.8 and gammas.count(1.0) > 1


@pytest.mark.parametrize(
    ("mean", "before", "after"),
    [
        (1.9, 0.5, 0.5 / 1.1),
        (2.0, 0.5, 0.5),
        (2.05, 0.5, 0.5),
        (2.2, 0.5, 0.55),
        (2.2, 0.95, 1.0),
        (1.9, 0.00105, 0.001),  # 0.00105 / 1.1 is below the minimum
    ],
)
def test_gamma_moves_in_steps_of_a_tenth_and_stays_within_its_bounds(mean, before, after):
    kl = np.full((2, 4), mean / 4)
    for bits in pair("soft", 2.0, before):
        assert value(bits, kl) == pytest.approx(before * mean, rel=1e-15)
        assert gamma_of(bits) == pytest.approx(after, rel=1e-15)


def test_gamma_is_a_buffer_on_both_panels(tmp_path):
    left, right = pair("soft", 2.0)
    assert list(left.state_dict()) == list(right.state_dict()) == ["gamma"]
    assert not list(left.parameters()) and not list(right.parameters())
    assert gamma_of(left) == gamma_of(right) == 1
    for bits in (left, right):
        value(bits, 0.1 * KL)
        weights.save(bits, tmp_path / "gamma.safetensors")
        for fresh in pair("soft", 2.0):
            weights.load(fresh, tmp_path / "gamma.safetensors")
            assert gamma_of(fresh) == gamma_of(bits) < 1
            assert value(fresh, 0.1 * KL) == pytest.approx(gamma_of(bits) * 0.203, rel=1e-13)


def test_float32_stays_float32():
    for kind in makers(0.6):
        for side in SIDES:
            model_inputs = ("float32",) if side is left_side else (torch.float32,)
            bits = (
                side.SoftFreeBits(0.6, *model_inputs) if kind == "soft" else makers(0.6)[kind](side)
            )
            result = outputs_and_gradients(
                bits, (KL.astype("float32"),), [np.array(1.3, "float32")]
            )
            wanted, slope = penalty_by_definition(kind, 0.6, KL)
            assert all(a.dtype == np.float32 for a in result.values())
            assert normwise(result["dx0"].astype(float), 1.3 * slope) <= 1e-6
            assert result["y0"] == pytest.approx(wanted, rel=1e-6)
            if kind == "soft":
                assert weights.to_arrays(bits.state_dict())["gamma"].dtype == np.float32


# Configurations


@pytest.mark.parametrize("kind", FREE_BITS)
def test_each_config_makes_its_penalty(kind):
    config = make_config("gaussian", free_bits_of=kind, free_bits=0.02)
    for bits, side in (
        (left_side.make_free_bits(config, np.dtype("float64")), left_side),
        (right_side.make_free_bits(config, dtype=torch.float64, device="cpu"), right_side),
    ):
        wanted = makers(0.02 * 5 * 7)[kind](side)
        assert type(bits) is type(wanted) and getattr(bits, "free", None) == getattr(
            wanted, "free", None
        )
        assert value(bits, KL / 5) == value(wanted, KL / 5)


def test_a_model_without_a_latent_has_no_penalty():
    config = make_config("none")
    for bits in (
        left_side.make_free_bits(config, np.dtype("float64")),
        right_side.make_free_bits(config, dtype=torch.float64, device="cpu"),
    ):
        assert value(bits, np.zeros((3, 0))) == 0
        assert value(bits.eval(), np.zeros((3, 0))) == 0
