"""A comparison leaves nothing behind: no hook, no shadow, no mode, and no reference to a model."""

from __future__ import annotations

import gc
import warnings
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from diptych import Key, parity, weights
from diptych.parity.running import sides
from diptych.parity.running.torch_trace import TorchTrace
from numpy_ref.nn import Linear, Module, ReLU, Sequential

X = np.random.default_rng(0).normal(size=(5, 4))


def pair() -> tuple[Any, Any]:
    left = Sequential(Linear(4, 6, Key(1)), ReLU(), Linear(6, 3, Key(2)))
    right = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).double()
    weights.transfer(left, right)
    return left, right


def leftovers(model: nn.Module) -> list[str]:
    """Hooks and shadowed methods of all modules, and hooks of all parameters."""
    attributes = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    result = [name for m in model.modules() for name in attributes if getattr(m, name)]
    result += ["forward" for m in model.modules() if "forward" in vars(m)]
    return result + ["gradient hook" for p in model.parameters() if p._backward_hooks]


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("change", [0.0, 1.0], ids=["agrees", "diverges"])
@pytest.mark.usefixtures("no_collector")
def test_models_are_freed_with_their_last_reference(change: float) -> None:
    """Neither the report nor a reference cycle keeps a model or its gradients alive."""
    left, right = pair()
    with torch.no_grad():
        right[2].bias += change
    report = parity.compare(left, right, X)
    weight = right[0].weight
    references = [weakref.ref(value) for value in (left, right, weight, weight.grad)]
    del left, right, weight

    assert report.ok == (change == 0)
    assert [reference() for reference in references] == [None] * 4


class Interrupted(nn.Module):
    """Raises an exception behind its first layer, in one of its calls."""

    def __init__(self, error: type[BaseException], call: int) -> None:
        super().__init__()
        self.layer, self.error, self.call, self.calls = nn.Linear(4, 6).double(), error, call, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.layer(x)
        self.calls += 1
        if self.calls == self.call:
            raise self.error
        return y


class Layered(Module):
    def __init__(self) -> None:
        self.layer = Linear(4, 6)

    def forward(self, x: np.ndarray) -> Any:
        return self.layer(x)


@pytest.mark.parametrize("call", [1, 2])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_exception_leaves_no_hook_and_no_mode(error: type[BaseException], call: int) -> None:
    """Call 1 is the traced run, call 2 the control run."""
    left, right = Layered(), Interrupted(error, call)
    weights.transfer(right, left)
    filters = list(warnings.filters)
    try:
        parity.compare(left, right, X)
    except (ValueError, KeyboardInterrupt):
        assert (error, call) != (RuntimeError, 1), "the control run went well, so there is a report"

    assert leftovers(right) == []
    assert "forward" not in vars(left) and "forward" not in vars(left.layer)
    assert warnings.filters == filters
    assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
    assert parity.tap("y", X) is X


def test_a_trace_that_cannot_begin_removes_its_hooks() -> None:
    """The first module is traced before the second one turns out to lack the method."""
    modules = {"0": nn.Linear(4, 6), "1": nn.Linear(6, 3)}
    with pytest.raises(AttributeError), TorchTrace(modules, {("0", "forward"), ("1", "encode")}):
        pass

    assert [leftovers(module) for module in modules.values()] == [[], []]


def test_comparisons_leave_the_filters_of_warnings_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python has one list of filters for all threads: restoring it would undo those of others."""

    def catch_warnings() -> Any:
        raise AssertionError("the filters of warnings were saved, to be restored")

    monkeypatch.setattr(warnings, "catch_warnings", catch_warnings)
    left, right = pair()
    parity.compare(left, right, X)


def test_a_class_whose_file_cannot_be_parsed_has_no_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """`inspect` parses the file, which the user may be editing."""

    def raises(_: Any) -> Any:
        raise SyntaxError

    monkeypatch.setattr(sides.inspect, "getsourcelines", raises)
    left, right = pair()
    with torch.no_grad():
        right[2].bias += 1

    assert not parity.compare(left, right, X).ok


def test_a_recording_on_a_batch_without_gradients(tmp_path: Any) -> None:
    """Most training loops record a batch that requires no gradient: the model is not at fault."""
    right = pair()[1]
    with parity.record(tmp_path / "golden.safetensors", right):
        right(torch.from_numpy(X)).square().sum().backward()
    report = parity.compare(str(tmp_path / "golden.safetensors"), right)

    assert report.ok, str(report)
    assert "gradients of 0(input), forward(input)" in report.not_compared[0]
    assert "save_case('case-of-golden.safetensors'" in report.reproducer
    with torch.no_grad():
        right[0].weight[0, 0] += 1
    assert not parity.compare(str(tmp_path / "golden.safetensors"), right).ok
