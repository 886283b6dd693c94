"""Modules and parameters whose names differ between the sides, and prefixes that wrappers add."""

import numpy as np
import pytest
import torch
from helpers.situations import draw, left, pair, right, situation, situations_of
from torch import nn
from torch.nn.utils import parametrizations, parametrize

X, W = draw(5, 4), draw(3, 4)


def _layer(factor=1.0, weight=W, name="weight"):
    """y = x wᵀ, whose input gradient may have a factor of its own."""

    def forward(self, x):
        w = getattr(self, name)

        def vjp(dy):
            w.grad += dy.T @ x
            return factor * (dy @ w.data)

        return x @ w.data.T, vjp

    return left(forward=forward, **{name: weight})


def _linear(weight=W):
    layer = nn.Linear(*weight.shape[::-1], bias=False).double()
    layer.weight.data.copy_(torch.from_numpy(weight))
    return layer


def _root(name, child, factor=1.0):
    """A left root that calls its one child."""

    def forward(self, x):
        y, vjp = getattr(self, name)(x)
        return y, lambda dy: factor * vjp(dy)

    return left(forward=forward, **{name: child})


def _right_root(name, child):
    return right(forward=lambda self, x: getattr(self, name)(x), **{name: child})


def _activation(factor=1.0):
    return left(
        forward=lambda self, x: (factor * np.tanh(x), lambda dy: factor * dy / np.cosh(x) ** 2)
    )


@situation("1", agrees=[1.0], differs=[1.001], mentions="not compared: .*act")
def activation_under_two_names(factor):
    """The names do not match: the report says so, and the root is compared all the same."""
    return pair(_root("act", _activation(factor)), _right_root("activation", nn.Tanh()), X)


@situation("1", agrees=[1.0], differs=[1.001], first="act")
def activation_under_two_names_renamed(factor):
    twins = _root("act", _activation(factor)), _right_root("activation", nn.Tanh())
    return pair(*twins, X, rename={"act": "activation"})


@situation("1", differs=["fc"], says="fc|linear")
def layer_under_two_names(_):
    return pair(_root("fc", _layer()), _right_root("linear", _linear()), X)


@situation("1", agrees=[1.0], differs=[1.001], first="fc(x)")
def layer_under_two_names_renamed(factor):
    twins = _root("fc", _layer(factor)), _right_root("linear", _linear())
    return pair(*twins, X, rename={"fc": "linear"})


@situation("1", differs=["fc.weight"], says="fc.weight|linear.weight")
def layer_under_two_names_with_another_weight(_):
    twins = _root("fc", _layer()), _right_root("linear", _linear(W + 1e-9))
    return pair(*twins, X, rename={"fc": "linear"})


@situation("1", refused=["left", "right"], says="rename")
def rename_of_a_name_that_no_module_has(side):
    rename = {"fx": "linear"} if side == "left" else {"fc": "liner"}
    return pair(_root("fc", _layer()), _right_root("linear", _linear()), X, rename=rename)


@situation("1", differs=["left", "right"], says="extra")
def parameter_that_one_side_lacks(side):
    twins = _root("fc", _layer()), _right_root("fc", _linear())
    if side == "left":
        twins[0].extra = left(w=draw(2)).w
    else:
        twins[1].extra = nn.Parameter(torch.ones(2).double())
    return pair(*twins, X)


@situation("1", differs=["transposed", "longer"], says="fc.weight")
def parameter_of_another_shape(kind):
    weight = draw(4, 4) if kind == "longer" else W.T.copy()
    root = left(forward=lambda self, x: (x @ W.T, lambda dy: dy @ W), fc=left(weight=weight))
    return pair(root, _right_root("fc", _linear()), X)


@situation("2", agrees=[1.0], differs=[1.001], says=r"(fc|forward)\(x\)")
def compiled_root(factor):
    """torch.compile puts `_orig_mod.` before each name."""
    model = torch.compile(_right_root("fc", _linear()), backend="eager")
    return pair(_root("fc", _layer(factor)), model, X)


@situation("2", agrees=[1.0], differs=[1.001], first="fc(x)")
def compiled_child(factor):
    model = _right_root("fc", torch.compile(_linear(), backend="eager"))
    return pair(_root("fc", _layer(factor)), model, X)


@situation("2", agrees=[1.0], differs=[1.001], says=r"(fc|forward)\(x\)")
def module_compiled_in_place(factor):
    model = _right_root("fc", _linear())
    model.compile(backend="eager")
    return pair(_root("fc", _layer(factor)), model, X)


@situation("2", agrees=[1.0], differs=[1.001], first="fc(x)")
def data_parallel_root(factor):
    model = nn.DataParallel(_right_root("fc", _linear()))
    return pair(_root("fc", _layer(factor)), model, X)


@situation("2", agrees=[1.0], differs=[1.001], first="module(x)")
def child_that_is_called_module(factor):
    """A name that a wrapper uses too: the user's own names stay."""
    return pair(_root("module", _layer(factor)), _right_root("module", _linear()), X)


@situation("2", agrees=[1.0], differs=[1.001], says=r"module.*\(x\)|forward\(x\)")
def child_called_module_inside_a_wrapper(factor):
    model = nn.DataParallel(_right_root("module", _linear()))
    return pair(_root("module", _layer(factor)), model, X)


class Doubled(nn.Module):
    def forward(self, w):
        return 2 * w


def _effective(scale, gradient_scale=None, name="weight"):
    """A left y = x (scale w)ᵀ."""
    slope = scale if gradient_scale is None else gradient_scale

    def forward(self, x):
        w = getattr(self, name)

        def vjp(dy):
            w.grad += slope * (dy.T @ x)
            return scale * (dy @ w.data)

        return scale * (x @ w.data.T), vjp

    return left(forward=forward, **{name: W})


@situation("2", agrees=[2.0], differs=[1.0], first="fc.weight")
def parametrization_of_a_weight(slope):
    """`parametrizations.weight.original` is the parameter `weight` of the left."""
    layer = _linear()
    parametrize.register_parametrization(layer, "weight", Doubled())
    return pair(_root("fc", _effective(2.0, slope)), _right_root("fc", layer), X)


@situation("2", differs=["not applied"], first="fc")
def parametrization_that_the_left_lacks(_):
    layer = _linear()
    parametrize.register_parametrization(layer, "weight", Doubled())
    return pair(_root("fc", _layer()), _right_root("fc", layer), X)


def _weight_norm(factor, v="weight_v", g="weight_g"):
    """y = x wᵀ, w = g v / ‖v‖, with the norm of each row."""

    def forward(self, x):
        p, q = getattr(self, v), getattr(self, g)
        norm = np.sqrt((p.data**2).sum(1, keepdims=True))
        w = q.data * p.data / norm

        def vjp(dy):
            dw = dy.T @ x
            dg = (dw * p.data).sum(1, keepdims=True) / norm
            q.grad += factor * dg
            p.grad += q.data / norm * (dw - dg * p.data / norm)
            return dy @ w

        return x @ w.T, vjp

    norm = np.sqrt((W**2).sum(1, keepdims=True))
    return left(forward=forward, **{g: norm, v: W})


@situation("2", agrees=[1.0], differs=[1.001], says="weight_g|original0")
def weight_norm_as_a_parametrization(factor):
    layer = parametrizations.weight_norm(_linear())
    rename = {
        "fc.weight_g": "fc.parametrizations.weight.original0",
        "fc.weight_v": "fc.parametrizations.weight.original1",
    }
    return pair(_root("fc", _weight_norm(factor)), _right_root("fc", layer), X, rename=rename)


@situation("2", agrees=[1.0], differs=[1.001], first="fc.weight_g")
def weight_norm_by_a_forward_pre_hook(factor):
    layer = torch.nn.utils.weight_norm(_linear())
    return pair(_root("fc", _weight_norm(factor)), _right_root("fc", layer), X)


@situation("2", agrees=[1.0], differs=[1.001], says="weight|original")
def spectral_norm_in_evaluation_mode(factor):
    """y = x wᵀ / σ, σ = uᵀ w v with the constant u and v of the power iteration."""
    layer = parametrizations.spectral_norm(_linear()).eval()
    u, v = (getattr(layer.parametrizations.weight[0], n).numpy().copy() for n in ("_u", "_v"))

    def forward(self, x):
        w = self.weight.data
        sigma = u @ w @ v

        def vjp(dy):
            dw = dy.T @ x
            self.weight.grad += factor * (dw - np.outer(u, v) * (dw * w).sum() / sigma) / sigma
            return dy @ w / sigma

        return x @ w.T / sigma, vjp

    root = _root("fc", left(forward=forward, weight=W)).eval()
    return pair(root, _right_root("fc", layer).eval(), X, ignore=["*_u", "*_v"])


@situation("2", agrees=[1.0], differs=[1.001])
def orthogonal_weight_against_its_own_copy(factor):
    """Torch against torch: the second model scales its output."""
    twins = [parametrizations.orthogonal(_linear(draw(4, 4))) for _ in range(2)]
    twins[1].load_state_dict(twins[0].state_dict())
    model = right(forward=lambda self, x: self.fc(x) * factor, fc=twins[1])
    return pair(_right_root("fc", twins[0]), model, X)


CONTAINERS = {
    "ParameterList": lambda: nn.ParameterList([nn.Parameter(torch.from_numpy(W.copy()))]),
    "ParameterDict": lambda: nn.ParameterDict({"0": nn.Parameter(torch.from_numpy(W.copy()))}),
}


@situation("hostile", agrees=CONTAINERS)
def parameters_in_a_container(kind):
    root = _container_left(1.0)
    return pair(
        root,
        right(
            forward=lambda self, x: x @ self.ws["0" if "Dict" in kind else 0].T,
            ws=CONTAINERS[kind](),
        ),
        X,
    )


@situation("hostile", differs=CONTAINERS, first="ws.0")
def parameters_in_a_container_with_a_wrong_gradient(kind):
    root = _container_left(1.001)
    return pair(
        root,
        right(
            forward=lambda self, x: x @ self.ws["0" if "Dict" in kind else 0].T,
            ws=CONTAINERS[kind](),
        ),
        X,
    )


def _container_left(factor):
    def forward(self, x):
        w = getattr(self.ws, "0")

        def vjp(dy):
            w.grad += factor * (dy.T @ x)
            return dy @ w.data

        return x @ w.data.T, vjp

    return left(forward=forward, ws=left(**{"0": W}))


@pytest.mark.parametrize("case", situations_of(__name__), ids=str)
def test_the_verdict_on_names(case):
    case.check()
