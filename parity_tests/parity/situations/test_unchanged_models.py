"""A comparison leaves the models and the state of the process unchanged, whatever its verdict.

Gradients and buffers are those of the run.
"""

import numpy as np
import pytest
import torch
from helpers.situations import draw, left, pair, right
from torch import nn

X, W = draw(5, 4), draw(3, 4)


def _models(factor, dtype):
    def left_forward(self, x):
        def vjp(dy):
            self.w.grad += factor * (dy.T @ x)
            return dy @ self.w.data

        return x @ self.w.data.T, vjp

    w = W.astype(dtype)
    model = right(forward=lambda self, x: self.act(x @ self.w.T), w=w, act=nn.Identity())
    return left(forward=left_forward, w=w), model


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("factor", [1.0, 1.5], ids=["agrees", "differs"])
def test_weights_and_attributes_stay(factor, dtype):
    model_left, model = _models(factor, dtype)
    model.act.eval()
    model.w.requires_grad_(True)
    objects = model_left.w, model.w, model.act
    attributes = [set(vars(m)) for m in (model_left, model, model.act)]
    report = pair(model_left, model, X.astype(dtype)).run()
    assert report.ok == (factor == 1.0)
    after = model_left.w, model.w, model.act
    assert all(a is b for a, b in zip(after, objects, strict=True))
    assert np.array_equal(model_left.w.data, W.astype(dtype))
    assert np.array_equal(model.w.detach().numpy(), W.astype(dtype))
    assert [set(vars(m)) for m in (model_left, model, model.act)] == attributes
    assert model.training and not model.act.training and model_left.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize("factor", [1.0, 1.5], ids=["agrees", "differs"])
def test_random_states_and_modes_stay(factor):
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    with torch.no_grad():
        pair(*_models(factor, "float64"), X).run()
        assert not torch.is_grad_enabled()
    assert torch.is_grad_enabled() and torch.get_default_dtype() == torch.float32
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002


def test_two_comparisons_of_one_pair_are_equal():
    models = _models(1.5, "float64")
    first, second = (pair(*models, X).run().to_json() for _ in range(2))
    assert first == second


def test_models_train_after_a_comparison():
    """No trace keeps the graph, and no hook stays."""
    model_left, model = _models(1.0, "float64")
    pair(model_left, model, X).run()
    model.zero_grad()
    model(torch.from_numpy(X)).sum().backward()
    model_left.zero_grad()
    y, vjp = model_left(X)
    vjp(np.ones_like(y))
    assert np.allclose(model.w.grad.numpy(), model_left.w.grad)


def test_a_comparison_after_an_error_of_the_model_is_not_disturbed():
    """A forward that raises leaves no trace behind."""
    model_left, model = _models(1.0, "float64")
    original = model.act
    model.act = right(forward=lambda self, x: x.no_such_method())
    with pytest.raises(Exception, match="no_such_method"):
        pair(model_left, model, X).run()
    model.act = original
    assert pair(model_left, model, X).run().ok
