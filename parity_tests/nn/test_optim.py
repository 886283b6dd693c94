"""Optimisers, clipping and schedules give torch.optim's numbers, step by step."""

import itertools

import mpmath
import numpy as np
import pytest
import torch

from diptych.parity.measures.rows import normwise
from numpy_ref.nn import optim
from numpy_ref.nn.module import Parameter

SHAPES = {"weight": (5, 3), "bias": (5,), "scalar": ()}

RMSPROPS = [
    {"alpha": alpha, "eps": eps, "weight_decay": decay, "momentum": momentum, "centered": centered}
    for (alpha, eps), decay, momentum, centered in itertools.product(
        ((0.99, 1e-8), (0.8, 1e-3)), (0.0, 0.3), (0.0, 0.9), (False, True)
    )
]
"""Every combination of the options of RMSprop."""
OF_GRAVES = {"momentum": 0.9, "centered": True}


def _twins(rng):
    ours = {name: Parameter(np.array(rng.normal(size=shape))) for name, shape in SHAPES.items()}
    theirs = {name: torch.tensor(p.data.copy(), requires_grad=True) for name, p in ours.items()}
    return ours, theirs


def _draw_gradients(rng, ours, theirs, scale=1.0):
    for name, parameter in ours.items():
        parameter.grad = np.array(scale * rng.normal(size=SHAPES[name]))
        theirs[name].grad = torch.tensor(parameter.grad.copy())


@pytest.mark.parametrize(
    ("ours_of", "theirs_of", "options"),
    [
        (optim.SGD, torch.optim.SGD, {"lr": 0.1}),
        (optim.SGD, torch.optim.SGD, {"lr": 0.03, "momentum": 0.9}),
        (optim.SGD, torch.optim.SGD, {"lr": 0.1, "weight_decay": 0.3}),
        (optim.SGD, torch.optim.SGD, {"lr": 0.03, "momentum": 0.9, "weight_decay": 0.3}),
        *((optim.RMSprop, torch.optim.RMSprop, options) for options in RMSPROPS),
        (optim.Adam, torch.optim.Adam, {"lr": 1e-3}),
        (optim.Adam, torch.optim.Adam, {"lr": 0.02, "betas": (0.7, 0.95), "eps": 1e-3}),
        (optim.Adam, torch.optim.Adam, {"lr": 0.02, "weight_decay": 0.3}),
        (optim.Adamax, torch.optim.Adamax, {}),
        (optim.Adamax, torch.optim.Adamax, {"lr": 0.02, "betas": (0.7, 0.95), "eps": 1e-3}),
        (optim.Adamax, torch.optim.Adamax, {"lr": 0.02, "weight_decay": 0.3}),
    ],
)
def test_each_step_is_that_of_torch(ours_of, theirs_of, options, rng):
    """One step from the same weights ends in the same weights to 1e-15; for 50 steps.

    The buffers follow their own trajectories: they are compared to 1e-13.
    """
    ours, theirs = _twins(rng)
    left, right = ours_of(ours.items(), **options), theirs_of(theirs.values(), **options)
    for step in range(50):
        _draw_gradients(rng, ours, theirs, scale=10.0 ** (step % 5 - 2))
        left.step(), right.step()
        for name, parameter in ours.items():
            assert normwise(parameter.data, theirs[name].detach().numpy()) <= 1e-15, (step, name)
            with torch.no_grad():  # so that each step is judged on its own
                theirs[name].copy_(torch.tensor(parameter.data))
            for buffer in left.buffers:
                array = right.state[theirs[name]][buffer].numpy()
                assert normwise(left.state[name][buffer], array) <= 1e-13, (step, name, buffer)


@pytest.mark.parametrize("options", RMSPROPS)
def test_fifty_steps_of_rmsprop_are_those_of_torch(options, rng):
    """Each element of the weights and of the state, after steps that build upon each other."""
    ours, theirs = _twins(rng)
    left = optim.RMSprop(ours.items(), lr=0.01, **options)
    right = torch.optim.RMSprop(theirs.values(), lr=0.01, **options)
    for step in range(50):
        _draw_gradients(rng, ours, theirs, scale=10.0 ** (step % 5 - 2))
        left.step(), right.step()
    for name, parameter in ours.items():
        state = {k: v for k, v in right.state[theirs[name]].items() if k != "step"}
        assert left.state[name].keys() == state.keys()
        pairs = [(parameter.data, theirs[name].detach())]
        pairs += [(left.state[name][buffer], state[buffer]) for buffer in state]
        for a, b in pairs:
            np.testing.assert_allclose(a, b.numpy(), rtol=1e-13)


@pytest.mark.parametrize("is_graves", [False, True])
def test_rmsprop_is_the_published_rule(is_graves):
    """One weight in 40 digits: the lecture's rule, and that of Graves, whose b contains lr.

    Both with eps = 0, as in the lecture; the learning rate is constant, as in both sources.
    """
    gradients = [1.5, -0.25, 3.0, 0.125, -2.0, 0.5, 1e-3, -40.0]
    options = OF_GRAVES if is_graves else {}
    parameter = Parameter(np.array([0.7]))
    optimizer = optim.RMSprop([parameter], lr=0.0625, alpha=0.75, eps=0, **options)
    with mpmath.workdps(40):
        w, n, m, delta, keep = mpmath.mpf(0.7), mpmath.mpf(0), 0, 0, mpmath.mpf(0.9)
        for g in map(mpmath.mpf, gradients):
            n = 0.75 * n + 0.25 * g**2
            m = 0.75 * m + 0.25 * g
            if is_graves:
                delta = keep * delta - 0.0625 * g / mpmath.sqrt(n - m**2)
            else:
                delta = -0.0625 * g / mpmath.sqrt(n)
            w += delta
            parameter.grad = np.array([float(g)])
            optimizer.step()
            assert parameter.data[0] == pytest.approx(float(w), rel=1e-14)


def test_the_eps_of_rmsprop_is_outside_of_the_root():
    """v = 0.25 * 16 = 4, and p = 1 - 0.5 * 4 / (2 + 0.5)."""
    parameter = Parameter(np.array([1.0]))
    parameter.grad = np.array([4.0])
    optim.RMSprop([parameter], lr=0.5, alpha=0.75, eps=0.5).step()
    assert parameter.data[0] == pytest.approx(0.2, rel=1e-15)


def test_adamax_is_algorithm_2_of_the_paper(rng):
    """With eps = 0, as in the paper. A run of 100 steps agrees with torch."""
    ours, theirs = _twins(rng)
    alpha, beta1, beta2 = 0.02, 0.8, 0.97
    theta = {name: p.data.copy() for name, p in ours.items()}
    m, u = ({name: np.zeros(shape) for name, shape in SHAPES.items()} for _ in range(2))
    left = optim.Adamax(ours.items(), alpha, betas=(beta1, beta2), eps=0)
    right = torch.optim.Adamax(theirs.values(), alpha, betas=(beta1, beta2), eps=0)
    for t in range(1, 101):
        _draw_gradients(rng, ours, theirs, scale=10.0 ** (t % 5 - 2))
        left.step(), right.step()
        for name, parameter in ours.items():
            for i in np.ndindex(SHAPES[name]):
                g = parameter.grad[i]
                m[name][i] = beta1 * m[name][i] + (1 - beta1) * g
                u[name][i] = max(beta2 * u[name][i], abs(g))
                theta[name][i] -= alpha / (1 - beta1**t) * m[name][i] / u[name][i]
            assert normwise(parameter.data, theta[name]) <= 1e-12, (t, name)
            assert normwise(parameter.data, theirs[name].detach().numpy()) <= 1e-10, (t, name)


@pytest.mark.parametrize(
    ("make", "options"),
    [(optim.Adamax, {}), (optim.RMSprop, {}), (optim.RMSprop, OF_GRAVES)],
)
def test_a_weight_without_gradient_does_not_move(make, options, rng):
    """A masked weight never has a gradient, and eps prevents 0 / 0."""
    start = rng.normal(size=4)
    parameter = Parameter(start.copy())
    optimizer = make([parameter], **options)
    for _ in range(3):
        parameter.grad = np.array([0.0, 0.0, 1.0, -1.0])
        optimizer.step()
    np.testing.assert_array_equal(parameter.data[:2], start[:2])
    assert (parameter.data[2:] != start[2:]).all()


def test_plain_parameters_are_named_by_position(rng):
    ours, _ = _twins(rng)
    state = optim.Adam(ours.values()).state_dict()
    assert set(state) == {f"{i}.{b}" for i in range(3) for b in ("exp_avg", "exp_avg_sq")} | {
        "step"
    }


def test_a_saved_state_does_not_follow_the_optimiser(rng):
    """state_dict copies, and so does load_state_dict: later steps change neither."""
    ours, theirs = _twins(rng)
    optimizer = optim.Adam(ours.items())
    _draw_gradients(rng, ours, theirs)
    optimizer.step()
    saved = optimizer.state_dict()
    kept = {name: array.copy() for name, array in saved.items()}
    optimizer.load_state_dict(saved)
    for _ in range(2):
        optimizer.step()
    assert all(np.array_equal(saved[name], kept[name]) for name in kept)
    assert not np.array_equal(optimizer.state_dict()["step"], kept["step"])
    optimizer.load_state_dict(saved)
    assert all(np.array_equal(optimizer.state_dict()[name], kept[name]) for name in kept)


@pytest.mark.parametrize("max_norm", [0.5, 1e3])
def test_clipping_is_that_of_torch(max_norm, rng):
    ours, theirs = _twins(rng)
    _draw_gradients(rng, ours, theirs, scale=3.0)
    norm = optim.clip_grad_norm(ours.values(), max_norm)
    torch_norm = torch.nn.utils.clip_grad_norm_(theirs.values(), max_norm)
    assert norm == pytest.approx(torch_norm.item(), rel=1e-15)
    for name, parameter in ours.items():
        assert normwise(parameter.grad, theirs[name].grad.numpy()) <= 1e-15


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_clipping_a_gradient_that_is_not_finite_is_that_of_torch(value, rng):
    ours, theirs = _twins(rng)
    _draw_gradients(rng, ours, theirs)
    name = next(iter(ours))
    ours[name].grad.flat[1] = value
    theirs[name].grad.view(-1)[1] = value
    optim.clip_grad_norm(ours.values(), 1.0)
    torch.nn.utils.clip_grad_norm_(theirs.values(), 1.0)
    for name, parameter in ours.items():
        np.testing.assert_array_equal(parameter.grad, theirs[name].grad.numpy())


def test_weight_decay_leaves_the_gradient_as_it_was(rng):
    """And reaches every element, beyond the first block too."""
    start = rng.normal(size=optim.BLOCK + 3)
    parameter = Parameter(start.copy())
    optim.SGD([parameter], lr=0.5, weight_decay=0.2).step()
    np.testing.assert_allclose(parameter.data, 0.9 * start, rtol=1e-15)
    assert not parameter.grad.any()


def test_state_moves_to_another_optimizer_and_nothing_else_does(rng):
    ours, theirs = _twins(rng)
    first = optim.Adam(ours.items(), lr=0.1)
    _draw_gradients(rng, ours, theirs)
    first.step()
    twin = {name: Parameter(p.data.copy()) for name, p in ours.items()}
    second = optim.Adam(twin.items(), lr=0.1)
    second.load_state_dict(first.state_dict())
    for name in ours:
        twin[name].grad = ours[name].grad
    first.step(), second.step()
    assert all(np.array_equal(ours[name].data, twin[name].data) for name in ours)
    with pytest.raises(ValueError, match=r"weight\.exp_avg"):
        second.load_state_dict({"step": np.array(1)})


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: optim.Adam([], lr=0), "lr"),
        (lambda: optim.Adam([], lr=float("nan")), "lr"),
        (lambda: optim.Adam([], betas=(0.9, 1.0)), "betas"),
        (lambda: optim.Adamax([], betas=(1.0, 0.9)), "betas"),
        (lambda: optim.Adamax([], eps=-1e-8), "eps"),
        (lambda: optim.RMSprop([], alpha=1.0), "alpha"),
        (lambda: optim.RMSprop([], eps=-1e-8), "eps"),
        (lambda: optim.RMSprop([], momentum=-0.1), "momentum"),
        (lambda: optim.SGD([], momentum=-1), "momentum"),
        (lambda: optim.SGD([], weight_decay=-0.1), "weight_decay"),
        (lambda: optim.Adam([], weight_decay=float("nan")), "weight_decay"),
        (lambda: optim.clip_grad_norm([], 0), "max_norm"),
    ],
)
def test_errors_name_the_bad_setting(make, word):
    with pytest.raises(ValueError, match=word):
        make()
