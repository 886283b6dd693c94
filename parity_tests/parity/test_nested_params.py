"""Functions that take all their parameters at once, in nested dicts, lists and tuples."""

import numpy as np
import pytest
import torch
from torch import nn

from diptych import parity
from diptych.parity.functions.nested_params import flattened, named_arrays

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 5))
W, V, B = RNG.normal(size=(5, 3)), RNG.normal(size=(3, 2)), RNG.normal(size=2)
NESTS = [[W, (V, B)], {"W": W, "deep": [V, {"b": B}]}, (W, [V, B])]
RIGHT = {"layout": {"0": "io->oi", "1.0": "io->oi", "W": "io->oi", "deep.0": "io->oi"}}


def network(params, x):
    w, (v, b) = params
    return (x @ w) ** 2 @ v + b


def network_of_dict(x, params):
    return (x @ params["W"]) ** 2 @ params["deep"][0] + params["deep"][1]["b"]


class Square(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(5, 3, bias=False), nn.Linear(3, 2)

    def forward(self, x):
        return self.second(self.first(x) ** 2)


def test_names_of_nested_arrays():
    assert [list(named_arrays(nest)) for nest in NESTS] == [
        ["0", "1.0", "1.1"],
        ["W", "deep.0", "deep.1.b"],
        ["0", "1.0", "1.1"],
    ]
    assert list(named_arrays({"0.weight": W})) == ["0.weight"]


def test_two_arrays_of_one_name_are_an_error():
    with pytest.raises(ValueError, match=r"params: got two arrays of the name 'a\.b', takes one"):
        named_arrays({"a.b": W, "a": {"b": V}})


@pytest.mark.parametrize(
    ("function", "nest"), [(network, NESTS[0]), (network_of_dict, NESTS[1]), (network, NESTS[2])]
)
def test_a_flattened_function_has_the_value_of_its_own(function, nest):
    first = (nest, X) if function is network else (X, nest)
    arrays = named_arrays(nest).values()
    np.testing.assert_array_equal(flattened(function, nest)(X, *arrays), function(*first))


@pytest.mark.parametrize("style", ["autograd", "jax", "torch", "forward"])
@pytest.mark.parametrize(("function", "nest"), [(network, NESTS[0]), (network_of_dict, NESTS[1])])
def test_a_function_of_params_agrees_with_a_module_whose_parameters_have_its_order(
    style, function, nest
):
    if style in ("autograd", "jax"):
        pytest.importorskip(style)
    layout = {name: "io->oi" for name, array in named_arrays(nest).items() if array.ndim == 2}
    options = {"names": "order", "layout": layout, "style": style}
    report = parity.compare_functions(function, Square().double(), [X], nest, **options)
    assert report.ok, str(report)
    gradients = [row for row in report.rows if row.kind == "parameter gradient"]
    assert len(gradients) == (0 if style == "forward" else 3)


def test_a_fault_in_one_of_the_nested_parameters_is_named():
    def right(params, x):
        w, (v, b) = params
        return (x @ w) ** 2 @ v.detach() + b

    report = parity.compare_functions(network, right, [X], NESTS[0], style="torch")
    assert [row.name for row in report.failures] == ["1.0"]


def test_params_that_no_function_takes_at_once_must_be_a_dict():
    with pytest.raises(ValueError, match="params: got list, takes a dict from names to arrays"):
        parity.compare_functions(lambda x, w: (x @ w, None), torch.matmul, [X], [W])


def test_an_argument_named_params_may_be_one_parameter():
    left = lambda x, params: (x @ params, lambda dy: (dy @ params.T, x.T @ dy))  # noqa: E731
    right = lambda x, params: x @ params  # noqa: E731
    assert parity.compare_functions(left, right, [X], {"params": W}).ok


@pytest.mark.parametrize("right", [nn.Linear(5, 3).double(), torch.matmul])
def test_an_order_needs_as_many_parameters_in_a_module_on_the_right(right):
    left = lambda x, w: (x @ w, lambda dy: (dy @ w.T, x.T @ dy))  # noqa: E731
    with pytest.raises(ValueError, match=r'names: got "order" for 1 and \d parameters, takes'):
        parity.compare_functions(left, right, [X], {"w": W}, names="order")
