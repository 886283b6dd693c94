"""The autoregressive flow over maps: parity, derivatives, the order in which it reads, errors."""

import numpy as np
import pytest
import torch
from helpers.finite_differences import derivative_errors
from helpers.layers_with_same_weights import assert_same_state
from helpers.random_weights import randomized
from helpers.small_flows import KINDS, normal_draws
from helpers.small_map_flows import EACH_SHAPE, SHAPES, make_map_flows, readable_dimensions
from helpers.small_vlaes import small_config
from torch.nn import functional as F

from diptych import parity, weights
from diptych.arrays import to_numpy
from diptych.parity.measures.rows import normwise
from model_specs.autoregressive.map_flow import MapFlowConfig, MapOrder, map_degrees
from model_specs.common.key import Key
from numpy_ref.autoregressive import map_flow as left_side
from torch_impl.autoregressive import map_flow as right_side

BOTH_WAYS = pytest.mark.parametrize("backwards", [False, True], ids=["forwards", "backwards"])

# Parity


@pytest.mark.parametrize("layers", [1, 3])
@KINDS
@EACH_SHAPE
def test_parity(shape, mean_only, layers, device):
    """Parity of every layer and gradient, of the density, and of the inverse."""
    left, right = make_map_flows(shape, mean_only=mean_only, hidden_layers=layers)
    z = normal_draws(3, left.config.dim)
    report = parity.compare(left, right.to(device), (z,))
    assert report.ok, report
    checked = {row.name for row in report.rows}
    assert {"forward.eps", "forward.logdet", "steps.0.made.0", "steps.0.made.0.weight"} <= checked

    tensor = torch.from_numpy(z).requires_grad_()
    log_p, vjp = left.log_prob(z)
    cotangent = normal_draws(3, seed=1)
    left.zero_grad(), right.zero_grad()
    ours = {"log_p": log_p, "dz": vjp(cotangent), "z": left.inverse(z)} | left.gradients()
    result = right.log_prob(tensor)
    result.backward(torch.from_numpy(cotangent))
    theirs = {"log_p": result, "dz": tensor.grad, "z": right.inverse(torch.from_numpy(z))}
    theirs |= right.gradients()
    errors = {name: normwise(array, to_numpy(theirs[name])) for name, array in ours.items()}
    assert max(errors.values()) <= 1e-13, errors


@KINDS
def test_parity_of_several_samples_and_of_single_ones(mean_only):
    """Leading axes are rows: (N, K, D) and (D) give what (N, D) gives."""
    left, right = make_map_flows(mean_only=mean_only)
    z = normal_draws(3, 2, left.config.dim)
    report = parity.compare(left, right, (z,))
    assert report.ok, report
    eps, logdet = left(z)[0]
    assert eps.shape == z.shape and logdet.shape == z.shape[:2]
    for n, k in np.ndindex(3, 2):
        one = left(z[n, k])[0]
        assert one.eps.shape == z.shape[2:] and normwise(one.eps, eps[n, k]) <= 1e-14
        assert abs(one.logdet - logdet[n, k]) <= 1e-13
        assert normwise(left.inverse(z[n, k]), left.inverse(z)[n, k]) <= 1e-13


@KINDS
def test_parity_in_float32(mean_only):
    left, right = make_map_flows((5, 4, 4), "float32", mean_only=mean_only)
    z = normal_draws(5, 80).astype(np.float32)
    report = parity.compare(left, right, (z,))
    assert report.ok, report
    assert left.inverse(z).dtype == right(torch.from_numpy(z)).eps.numpy(force=True).dtype
    exact, _ = make_map_flows((5, 4, 4), mean_only=mean_only)
    exact.load_state_dict(left.state_dict())
    for side in (left.inverse(z), right.inverse(torch.from_numpy(z)).numpy()):
        assert side.dtype == np.float32 and normwise(side, exact.inverse(z.astype(float))) < 1e-5


@KINDS
def test_both_panels_draw_the_same_weights(mean_only):
    config = MapFlowConfig(2, 2, 3, hidden_dim=5, steps=3, mean_only=mean_only)
    left, right = (side.MapFlow(config, Key(3)) for side in (left_side, right_side))
    assert_same_state(left, right)
    assert "steps.2.made.4.bias" in left.state_dict()
    for name, array in left.state_dict().items():
        np.testing.assert_array_equal(array, right.state_dict()[name].numpy())
        fan_in = 9 * (2 if "made.0" in name else 5)
        assert 0 < np.abs(array).max() <= fan_in**-0.5, name


# Derivatives


@pytest.mark.parametrize("shape", SHAPES[:-1], ids=str)
@KINDS
def test_finite_differences(mean_only, shape, rng):
    """The steps are small, so that no ReLU of the many opens or closes in one."""
    left, _ = make_map_flows(shape, mean_only=mean_only)
    for function in (left, left.log_prob, *left.steps):
        z = normal_draws(2, left.config.dim)
        errors = derivative_errors(function, (z,), left.named_parameters(), rng, step=3e-6)
        assert max(errors.values()) < 1e-8, errors


@BOTH_WAYS
def test_the_masked_convolution_is_torch_s_with_a_masked_weight(backwards, rng):
    """The mask is drawn tap by tap here; a masked weight keeps its value and gets no gradient."""
    in_degrees, out_degrees = (1, 2, 3, 3, 1), (2, 0, 3, 1)
    layer = randomized(left_side.MaskedMapConv2d(in_degrees, out_degrees, backwards), rng)
    twin = right_side.MaskedMapConv2d(in_degrees, out_degrees, backwards)
    mask = torch.zeros(4, 5, 3, 3, dtype=torch.bool)
    for i, j in ((0, 0), (0, 1), (0, 2), (1, 0)):
        mask[:, :, 2 - i if backwards else i, 2 - j if backwards else j] = True
    for o, m in enumerate(out_degrees):
        for i, n in enumerate(in_degrees):
            mask[o, i, 1, 1] = m >= n
    np.testing.assert_array_equal(layer.mask, mask.numpy())
    np.testing.assert_array_equal(twin.mask.numpy(), mask.numpy())
    assert list(twin.state_dict()) == ["weight", "bias"]

    before = layer.weight.data.copy()
    x, dy = normal_draws(2, 5, 4, 3), normal_draws(2, 4, 4, 3, seed=1)
    y, vjp = layer(x)
    dx = vjp(dy)
    weight, tensor = torch.tensor(before).requires_grad_(), torch.tensor(x).requires_grad_()
    result = F.conv2d(
        tensor, torch.where(mask, weight, 0), torch.tensor(layer.bias.data), padding=1
    )
    result.backward(torch.tensor(dy))
    assert normwise(y, result.detach().numpy()) < 1e-14
    assert normwise(dx, tensor.grad.numpy()) < 1e-14
    assert normwise(layer.weight.grad, weight.grad.numpy()) < 1e-14
    assert not layer.weight.grad[~mask.numpy()].any() and layer.weight.grad[mask.numpy()].all()
    np.testing.assert_array_equal(layer.weight.data, before)


# Order


def test_the_order_is_pixel_by_pixel_and_the_maps_of_each_in_turn():
    """Two maps of 2 x 2 pixels; a flat code has one map after the other."""
    assert MapOrder(2, 2, 2).dimensions == (0, 4, 1, 5, 2, 6, 3, 7)
    assert MapOrder(2, 2, 2, backwards=True).dimensions == (7, 3, 6, 2, 5, 1, 4, 0)
    for shape in SHAPES:
        config = MapFlowConfig(*shape, steps=3)
        forwards, backwards, again = config.orders
        assert forwards.dimensions == backwards.dimensions[::-1] == again.dimensions
        assert sorted(forwards.dimensions) == list(range(config.dim))
        assert not MapFlowConfig(*shape, steps=3, reverse=False).orders[1].backwards


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("layers", [1, 2, 4])
@BOTH_WAYS
@EACH_SHAPE
def test_every_output_reads_the_dimensions_before_it_within_reach(
    shape, backwards, layers, outputs, rng
):
    """Perturb each dimension: exactly the outputs after it and within reach change.

    Weights and inputs are positive, so that no ReLU is closed and no sum cancels.
    """
    order = MapOrder(*shape, backwards)
    left, right = (s.MapMADE(order, 7, layers, outputs) for s in (left_side, right_side))
    for parameter in left.parameters():
        parameter.data[...] = rng.uniform(0.5, 1, parameter.data.shape)
    weights.transfer(left, right)
    D = len(order.dimensions)
    z = rng.uniform(0.5, 1, D)
    wanted = readable_dimensions(order, layers + 1)
    place = np.argsort(order.dimensions)
    assert not wanted[place[:, None] <= place].any()
    for side in (left, right):
        for e in range(D):
            moved = z.copy()
            moved[e] += 0.1
            both = np.stack((z, moved))
            y = side(both)[0] if side is left else to_numpy(side(torch.from_numpy(both)))
            np.testing.assert_array_equal(y[1] != y[0], np.tile(wanted[:, e], outputs))


def test_the_channels_of_a_pixel_have_degrees_as_in_a_made():
    """Degree 0 is present, for the first channel, and the last degree is C - 1."""
    for C, H in ((1, 3), (2, 2), (5, 5), (5, 7), (5, 23), (16, 128)):
        inputs, *hidden, outputs = map_degrees(MapOrder(C, 2, 3), H, 2, 2)
        assert inputs == tuple(range(1, C + 1)) and outputs == 2 * tuple(range(C))
        assert hidden[0] == hidden[1] == tuple(sorted(hidden[0]))
        counts = np.bincount(hidden[0])
        assert len(counts) == C and counts.min() >= 1 and counts.max() - counts.min() <= 1
    inputs, hidden, outputs = map_degrees(MapOrder(3, 1, 1, backwards=True), 1, 1)
    assert (inputs, hidden, outputs) == ((3, 2, 1), (2,), (2, 1, 0))


# Refusals


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((name, bad) for name in ("channels", "height", "width") for bad in (0, -1, 2.0, True)),
        *(("hidden_dim", bad) for bad in (0, 1.5)),
        *(("hidden_layers", bad) for bad in (0, 5, 2.0, True)),
        *(("steps", bad) for bad in (0, "4")),
        ("mean_only", 1),
        ("reverse", None),
    ],
)
def test_impossible_configs_name_field_value_and_what_is_allowed(field, value):
    with pytest.raises(ValueError) as error:
        MapFlowConfig(**{field: value})
    assert str(error.value).startswith(f"{field}: got {value!r}, takes ")


def test_the_flow_of_latent_maps_is_one_over_maps():
    """Its fields are those of the flow of a vector; an error has the name of the model's field."""
    config = small_config(latent_maps=2, strides=2)
    flow = config.flow
    assert isinstance(flow, MapFlowConfig) and flow.dim == config.code_dim == 8
    assert (flow.channels, flow.height, flow.width) == config.code_shape == (2, 2, 2)
    assert (flow.steps, flow.hidden_dim) == (config.flow_steps, config.flow_hidden_dim)
    assert flow.hidden_layers == config.flow_hidden_layers
    assert flow.mean_only == config.flow_mean_only
    with pytest.raises(ValueError, match="flow_hidden_dim: got 0, takes"):
        small_config(latent_maps=2, strides=2, flow_hidden_dim=0)


@pytest.mark.parametrize("method", ["forward", "log_prob", "inverse"])
def test_codes_that_do_not_fit_are_one_clear_error(method):
    """Codes are flat: maps (N, C, h, w) are refused too."""
    good = normal_draws(5, 12)
    name = "eps" if method == "inverse" else "z"
    for bad, message in (
        (good[:, :6], r"shape \(5, 6\), takes \(any, 12\)"),
        (good.reshape(5, 2, 2, 3), r"shape \(5, 2, 2, 3\), takes \(any, any, any, 12\)"),
        (good.astype(np.float32), "dtype .*float32, takes .*float64"),
    ):
        for model, array in zip(make_map_flows(), (bad, torch.from_numpy(bad)), strict=True):
            with pytest.raises(ValueError, match=f"^{name}: got {message}"):
                getattr(model, method)(array)
