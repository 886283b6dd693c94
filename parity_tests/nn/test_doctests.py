"""The examples in the docstrings of the left panel run, and print what they say."""

import doctest
import importlib
import pkgutil

import pytest

import numpy_ref

MODULES = [module.name for module in pkgutil.walk_packages(numpy_ref.__path__, "numpy_ref.")]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_pure_functions_have_examples():
    """So that the test above does not pass for want of examples."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    for name in ("numpy_ref.nn.functional", "numpy_ref.nn.correlation"):
        module = importlib.import_module(name)
        with_examples = {test.name for test in finder.find(module) if test.examples}
        public = {
            f"{name}.{function}"
            for function, value in vars(module).items()
            if getattr(value, "__module__", None) == name and not function.startswith("_")
        }
        assert public <= with_examples, public - with_examples
