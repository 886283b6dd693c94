"""MADE and the autoregressive flow: parity, derivatives, dependence on dimensions, errors."""

import numpy as np
import pytest
import torch
from helpers.finite_differences import derivative_errors
from helpers.random_weights import randomized
from helpers.small_flows import (
    GRID,
    KINDS,
    ODD,
    ORDERS,
    SHUFFLED,
    SMALL,
    make_flows,
    normal_draws,
    numerical_jacobian,
)

from diptych import parity, weights
from diptych.arrays import to_numpy
from diptych.parity.measures.rows import normwise
from model_specs.autoregressive.flow import AutoregressiveFlowConfig, made_degrees
from model_specs.common.key import Key
from numpy_ref.autoregressive import flow as left_side
from numpy_ref.autoregressive.made import MaskedLinear
from torch_impl.autoregressive import flow as right_side

# Parity


@pytest.mark.parametrize("size", [(1,), (5,), (3, 2)], ids=str)
@pytest.mark.parametrize("settings", [*GRID, *ODD], ids=str)
def test_parity(settings, size, device):
    """Parity of every layer and gradient; (3, 2) are two samples of three examples."""
    left, right = make_flows(**settings)
    z = normal_draws(*size, left.config.dim)
    report = parity.compare(left, right.to(device), (z,))
    assert report.ok, report
    checked = {row.name for row in report.rows}
    assert {"forward.eps", "forward.logdet", "steps.0.made.0", "steps.0.made.0.weight"} <= checked

    tensor = torch.from_numpy(z).requires_grad_()
    log_p, vjp = left.log_prob(z)
    cotangent = normal_draws(*size, seed=1)
    left.zero_grad(), right.zero_grad()
    ours = {"log_p": log_p, "dz": vjp(cotangent)} | left.gradients()
    result = right.log_prob(tensor)
    result.backward(torch.from_numpy(cotangent))
    theirs = {"log_p": result, "dz": tensor.grad} | right.gradients()
    theirs |= {"z": right.inverse(torch.from_numpy(z))}
    ours |= {"z": left.inverse(z)}
    errors = {name: normwise(array, to_numpy(theirs[name])) for name, array in ours.items()}
    assert max(errors.values()) <= 1e-13, errors


@KINDS
def test_parity_in_float32(mean_only):
    left, right = make_flows("float32", mean_only=mean_only)
    report = parity.compare(left, right, (normal_draws(5, 7).astype(np.float32),))
    assert report.ok, report
    assert left.inverse(normal_draws(5, 7).astype(np.float32)).dtype == np.float32


@KINDS
def test_both_panels_draw_the_same_weights(mean_only):
    config = AutoregressiveFlowConfig(**SMALL | {"mean_only": mean_only})
    left = left_side.AutoregressiveFlow(config, Key(3)).state_dict()
    right = right_side.AutoregressiveFlow(config, Key(3)).state_dict()
    assert list(left) == list(right) and "steps.2.made.4.bias" in left
    for name, array in left.items():
        np.testing.assert_array_equal(array, right[name].numpy())
        fan_in = 7 if "made.0" in name else 11
        assert np.abs(array).max() <= fan_in**-0.5, name


# Derivatives


@pytest.mark.parametrize("layers", [1, 4])
@KINDS
def test_finite_differences(mean_only, layers, rng):
    left, _ = make_flows(mean_only=mean_only, hidden_layers=layers)
    names = dict(left.named_parameters()).keys()
    for function, size in ((left, (4,)), (left, (2, 3)), (left.log_prob, (4,))):
        errors = derivative_errors(
            function, (normal_draws(*size, 7),), left.named_parameters(), rng
        )
        assert errors.keys() == {"[0]", *names}
        assert max(errors.values()) < 1e-8, errors
    for step in left.steps:
        errors = derivative_errors(step, (normal_draws(4, 7),), step.named_parameters(), rng)
        assert max(errors.values()) < 1e-8, errors


def test_masked_linear_is_torch_s_linear_with_a_masked_weight(rng):
    """y, dx and dW agree; a masked weight keeps its value and gets no gradient."""
    in_degrees, out_degrees = (1, 2, 3, 3, 1), (2, 0, 3, 1)
    layer = randomized(MaskedLinear(in_degrees, out_degrees), rng)
    before = layer.weight.data.copy()
    x = normal_draws(3, 2, 5)
    y, vjp = layer(x)
    dy = normal_draws(3, 2, 4, seed=1)
    dx = vjp(dy)
    mask = torch.tensor([[m >= n for n in in_degrees] for m in out_degrees])
    weight = torch.tensor(before).requires_grad_()
    tensor = torch.tensor(x).requires_grad_()
    bias = torch.tensor(layer.bias.data)
    result = torch.nn.functional.linear(tensor, torch.where(mask, weight, 0), bias)
    result.backward(torch.tensor(dy))
    assert normwise(y, result.detach().numpy()) < 1e-15
    assert normwise(dx, tensor.grad.numpy()) < 1e-15
    assert normwise(layer.weight.grad, weight.grad.numpy()) < 1e-15
    assert not layer.weight.grad[~mask.numpy()].any() and layer.weight.grad[mask.numpy()].all()
    np.testing.assert_array_equal(layer.weight.data, before)
    once = layer.weight.grad.copy()
    vjp(dy)
    np.testing.assert_array_equal(layer.weight.grad, 2 * once)


# Dependence on dimensions


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("layers", [1, 2, 3, 4])
@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_made_is_strictly_triangular_in_its_order(order, layers, outputs, rng):
    """For each pair: output i changes with z_j if j comes before i, and not otherwise.

    Weights and inputs are positive, so that no ReLU is closed and no sum cancels.
    """
    left = left_side.MADE(order, 11, layers, outputs)
    right = right_side.MADE(order, 11, layers, outputs)
    for parameter in left.parameters():
        parameter.data[...] = rng.uniform(0.5, 1, parameter.data.shape)
    weights.transfer(left, right)
    z = rng.uniform(0.5, 1, 7)
    place = np.argsort(order)
    wanted = np.tile(place[None, :] < place[:, None], (outputs, 1))
    for j, before in enumerate(wanted.T):
        moved = z.copy()
        moved[j] += 0.1
        change = left(moved[None])[0] - left(z[None])[0]
        np.testing.assert_array_equal(change[0] != 0, before)
    slopes = torch.autograd.functional.jacobian(right, torch.from_numpy(z))
    np.testing.assert_array_equal(slopes.numpy() != 0, wanted)


def test_few_hidden_units_still_let_the_last_dimension_see_all_others(rng):
    for hidden_dim in (1, 2, 5, 6, 7, 20):
        inputs, hidden, outputs = made_degrees(SHUFFLED, hidden_dim, 1)
        assert sorted(hidden) == list(hidden) and hidden[0] >= 1 and hidden[-1] == 6
        assert set(hidden) == set(range(1, 7)) or hidden_dim < 6
        assert [inputs[d] for d in SHUFFLED] == list(range(1, 8))
        assert [outputs[d] for d in SHUFFLED] == list(range(7))
        counts = np.bincount(hidden)[sorted(set(hidden))]
        assert counts.max() - counts.min() <= 1, "evenly spread"


@KINDS
def test_the_order_reverses_from_step_to_step(mean_only):
    """Each step is triangular in its order; the flow is triangular only without `reverse`."""
    place = np.argsort(SHUFFLED)
    later = place[None, :] > place[:, None]
    for reverse in (True, False):
        left, _ = make_flows(mean_only=mean_only, reverse=reverse, hidden_dim=40)
        assert left.config.orders == [SHUFFLED, SHUFFLED[:: -1 if reverse else 1], SHUFFLED]
        z = normal_draws(7)
        for k, step in enumerate(left.steps):
            slopes = numerical_jacobian(lambda z, f=step: f(z)[0].eps, z)
            hidden = later.T if reverse and k % 2 else later
            assert not slopes[hidden].any() and slopes[~hidden].any()
        whole = numerical_jacobian(lambda z, f=left: f(z)[0].eps, z)
        assert whole[later].any() == reverse


# Refusals


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("dim", bad) for bad in (0, -1, 2.0, True)),
        *(("hidden_dim", bad) for bad in (0, 1.5)),
        *(("hidden_layers", bad) for bad in (0, 5, 2.0, True)),
        *(("steps", bad) for bad in (0, "4")),
        *(("mean_only", bad) for bad in (1, "no")),
        ("reverse", None),
        *(("order", bad) for bad in ((), (0, 1), (0, 1, 1), (1, 2, 3), (0.0, 1, 2), [0, 1, 2])),
    ],
)
def test_impossible_configs_name_field_value_and_what_is_allowed(field, value):
    with pytest.raises(ValueError) as error:
        AutoregressiveFlowConfig(**{"dim": 3, field: value})
    assert str(error.value).startswith(f"{field}: got {value!r}, takes ")


@pytest.mark.parametrize("side", [left_side, right_side])
def test_an_impossible_made_is_one_clear_error(side):
    for arguments, name in (
        (((), 4, 1), "order"),
        (((0, 2), 4, 1), "order"),
        (((0, 1), 0, 1), "hidden_dim"),
        (((0, 1), 4, 5), "hidden_layers"),
    ):
        with pytest.raises(ValueError, match=f"^{name}: got .*, takes "):
            side.MADE(*arguments)


@pytest.mark.parametrize("method", ["forward", "log_prob", "inverse"])
def test_inputs_that_do_not_fit_are_one_clear_error(method):
    good = normal_draws(5, 7)
    name = "eps" if method == "inverse" else "z"
    for bad, what in (
        (good[:, :6], r"shape \(5, 6\), takes \(any, 7\)"),
        (good[0, :6], r"shape \(6,\), takes \(7\)"),
        (good[:0], r"shape \(0, 7\), takes \(any, 7\)"),
        (good[0, 0], r"shape \(\), takes \(7\)"),
        (good.astype(np.float32), "dtype .*float32, takes .*float64"),
        (good.tolist(), "list, takes"),
    ):
        for model in make_flows():
            array = np.asarray(bad) if not isinstance(bad, list) else bad
            if isinstance(model, torch.nn.Module) and not isinstance(bad, list):
                array = torch.from_numpy(array)
            with pytest.raises(ValueError, match=f"^{name}: got {what}"):
                getattr(model, method)(array)
