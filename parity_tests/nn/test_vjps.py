"""Every hand-written vjp against a finite difference along a random direction."""

import functools

import numpy as np
import pytest
from helpers.finite_differences import derivative_errors

from model_specs.common.effects import effective
from model_specs.common.key import Key
from model_specs.mlp_vae import LIKELIHOODS, MLPVAEConfig
from numpy_ref.mlp_vae import POSTERIORS, make_likelihood
from numpy_ref.nn import functional, layers
from numpy_ref.nn.module import Sequential
from numpy_ref.probability import discretized_logistics, distributions, grey_distributions

N, L, D, H, Z = 4, 3, 6, 5, 2
ZEROS = np.zeros((N, Z)), np.zeros((N, L, Z))


def _cases(rng):
    def normal(*shape):
        return rng.normal(size=shape)

    x = rng.random((N, D))
    d = distributions
    yield "linear", functional.linear, (normal(N, L, D), normal(H, D), normal(H)), 3
    yield "weight_norm", functional.weight_norm, (normal(H, D), normal(H, 1)), 2
    yield "relu", functional.relu, (normal(N, D),), 1
    yield "elu", functional.elu, (normal(N, D),), 1
    yield "tanh", functional.tanh, (normal(N, D),), 1
    yield "bernoulli_nll", d.bernoulli_nll, (normal(N, L, D), x[:, None]), 1
    yield "bernoulli_clamped_nll", d.bernoulli_clamped_nll, (normal(N, L, D), x[:, None]), 1
    yield "gaussian_nll", lambda m, t: d.gaussian_nll(m, t, 0.7), (normal(N, L, D), x[:, None]), 1
    yield from _learned_variance_cases(np.random.default_rng(2))
    g = grey_distributions
    # wide, so that both of its forms are used
    yield (
        "continuous_bernoulli_nll",
        g.continuous_bernoulli_nll,
        (2 * normal(N, L, D), x[:, None]),
        1,
    )
    yield "beta_nll", g.beta_nll, (normal(N, L, D), normal(N, L, D), x[:, None]), 2
    cut = functools.partial(g.truncated_gaussian_nll, std=0.7)
    yield "truncated_gaussian_nll", cut, (2 * normal(N, L, D), x[:, None]), 1
    yield from _mixture_cases(np.random.default_rng(1))
    yield "squared_error", d.squared_error, (normal(N, L, D), x[:, None]), 1
    yield "gaussian_kl", d.gaussian_kl, (normal(N, Z), normal(N, Z)), 2
    yield "gaussian_kl_sigma", d.gaussian_kl_sigma, (normal(N, Z), normal(N, Z)), 2
    sampled = (normal(N, Z), normal(N, L, Z), normal(N, L, Z))
    yield "gaussian_kl_sampled", d.gaussian_kl_sampled, sampled, 2
    for name, posterior in POSTERIORS.items():
        q = posterior(H, Z)
        yield f"{name} posterior", q, (normal(N, H),), 1
        if name == "deterministic":
            yield f"{name} reparameterize", _of_mu(q.reparameterize), (normal(N, Z), *ZEROS), 1
            continue
        yield f"{name} reparameterize", q.reparameterize, (normal(N, Z), *sampled[0::2]), 2
        yield f"{name} kl", q.kl, (normal(N, Z), normal(N, Z)), 2
        yield f"{name} kl_sampled", q.kl_sampled, sampled, 2
    for name in LIKELIHOODS:
        fields = effective(MLPVAEConfig, {"gaussian_std": 1.3}, {"likelihood": name})
        config = MLPVAEConfig(**fields)
        likelihood = make_likelihood(config)
        logits = normal(N, L, config.outputs * D)
        yield type(likelihood).__name__, likelihood.nll, (logits, x), 1
    yield "Linear", layers.Linear(D, H, Key(1)), (normal(N, L, D),), 1
    images = normal(N, 3, 4, 2)
    yield "batch_norm", _normalised, (images, normal(3), normal(3)), 3
    constants = 3 * rng.random(3), rng.random(3)
    by_averages = functools.partial(_normalised, statistics=constants)
    yield "batch_norm by running averages", by_averages, (images, normal(3), normal(3)), 3
    yield "BatchNorm2d", layers.BatchNorm2d(3), (images,), 1
    for activation in (functional.ReLU, functional.Tanh, functional.ELU):
        yield activation.__name__, activation(), (normal(N, D),), 1
    net = Sequential(layers.Linear(D, H, Key(1)), functional.Tanh(), layers.Linear(H, Z, Key(2)))
    yield "Sequential", net, (normal(N, D),), 1
    for name in ("softmax", "log_softmax", "logsumexp"):
        function = getattr(functional, name)
        yield name, function, (3 * normal(N, L, D),), 1
        yield f"{name}, axis 1", lambda x, f=function: f(x, 1), (3 * normal(N, L, D),), 1


def _learned_variance_cases(rng):
    d = distributions
    for floor in (None, 0.3):
        point = "" if floor is None else ", floor"
        arguments = (
            rng.normal(size=(N, L, D)),
            2 * rng.normal(size=(N, L, D)),
            rng.random((N, 1, D)),
        )
        yield f"gaussian_learned_nll{point}", _with(d.gaussian_learned_nll, floor), arguments, 2
        yield (
            f"floor_logvar{point}",
            _with(d.floor_logvar, floor),
            (3 * rng.normal(size=(N, D)),),
            1,
        )


def _with(function, last):
    return lambda *arguments: function(*arguments, last)


def _mixture_cases(rng):
    def normal(*shape):
        return rng.normal(size=shape)

    p, levels = discretized_logistics, rng.integers(0, 256, (N, 3, D)) / 255
    levels[0, 0, :3], levels[1, 0, :3] = 0, 1  # the open intervals
    yield "logsigmoid", p.logsigmoid, (normal(N, D),), 1
    logistic = (normal(N, 3, D), normal(N, 3, D), levels)
    yield "discretized_logistic", p.discretized_logistic, logistic, 2
    conditional = (normal(N, 3, D), normal(N, 3, D), 2 * levels - 1)
    yield "conditional_means", _by_coefficients(p.conditional_means), conditional, 2
    mixture = p.discretized_logistic_mixture_nll
    yield "discretized_logistic_mixture_nll", mixture, (normal(N, 10 * L, D), levels), 1
    grey = (normal(N, 3 * L, D), levels[:, :1])
    yield "discretized_logistic_mixture_nll, grey", mixture, grey, 1


def _normalised(x, w, b, statistics=None):
    """y of batch_norm alone: mu and var have no gradient."""
    (y, _, _), vjp = layers.batch_norm(x, w, b, 0.1, statistics)
    return y, vjp


def _by_coefficients(conditional_means):
    """The arrays that have a gradient first."""
    return lambda means, coefficients, y: conditional_means(means, y, coefficients)


def _of_mu(reparameterize):
    """The gradient of mu alone: the std of a point is a constant."""

    def function(mu, std, eps):
        z, vjp = reparameterize(mu, std, eps)
        return z, lambda dz: vjp(dz)[0]

    return function


CASES = {name: case for name, *case in _cases(np.random.default_rng(0))}


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_finite_differences(name, rng):
    """Gradients of the inputs, and of the parameters of a layer."""
    function, arguments, differentiable = CASES[name]
    parameters = dict(function.named_parameters()) if hasattr(function, "parameters") else {}
    errors = derivative_errors(function, arguments, parameters, rng)
    assert len(errors) == differentiable + len(parameters)
    assert max(errors.values()) < 1e-8, errors


@pytest.mark.parametrize(
    "name", [name for name, case in CASES.items() if hasattr(case[0], "parameters")]
)
def test_a_second_backward_pass_adds_the_same_gradients_again(name, rng):
    module, arguments, _ = CASES[name]
    y, vjp = module(*arguments)
    outputs = y if isinstance(y, tuple) else (y,)
    cotangents = [rng.normal(size=out.shape) for out in outputs]
    module.zero_grad()
    vjp(*cotangents)
    once = {path: grad.copy() for path, grad in module.gradients().items()}
    vjp(*cotangents)
    for path, grad in module.gradients().items():
        np.testing.assert_array_equal(grad, 2 * once[path])


def test_every_public_function_and_layer_has_a_case():
    values_only = {"sigmoid", "continuous_bernoulli_mean", "truncated_gaussian_mean"}
    values_only |= {"continuous_bernoulli_icdf", "beta_draw", "truncated_gaussian_icdf"}
    values_only |= {"split_params", "discretized_logistic_mixture_mean"}
    values_only |= {"discretized_logistic_mixture_sample"}
    # integer arguments, or in place: gradients are checked in test_lstm.py, values in doctests
    others = {"Embedding", "embedding", "add_rows", "add_product", "row_blocks", "cross_entropy"}
    modules = functional, distributions, grey_distributions, discretized_logistics, layers
    for module in modules:
        public = {
            n for n, f in vars(module).items() if getattr(f, "__module__", "") == module.__name__
        }
        public = {name for name in public if not name.startswith("_")}
        assert public - values_only - others <= set(CASES), public
