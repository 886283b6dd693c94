"""The examples in the docstrings of the left panel run, and print what they say."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

import numpy_ref

MODULES = [module.name for module in pkgutil.walk_packages(numpy_ref.__path__, "numpy_ref.")]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize(
    "name",
    [
        "numpy_ref.nn.functional",
        "numpy_ref.nn.correlation",
        "numpy_ref.nn.convolution",
        "numpy_ref.probability.distributions",
        "numpy_ref.probability.grey_distributions",
        "numpy_ref.probability.discretized_logistics",
    ],
)
def test_every_pure_function_has_an_example(name):
    module = importlib.import_module(name)
    finder = doctest.DocTestFinder(exclude_empty=True)
    with_example = {
        test.name.removeprefix(f"{name}.") for test in finder.find(module) if test.examples
    }
    functions = {
        function
        for function, value in inspect.getmembers(module, inspect.isfunction)
        if value.__module__ == name and not function.startswith("_")
    }
    assert functions and functions <= with_example, functions - with_example
