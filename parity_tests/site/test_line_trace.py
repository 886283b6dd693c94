"""The line trace records what each statement assigns, and changes nothing."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from diptych.site.measured.line_trace import LineTrace, gradient_edge
from diptych.site.measured.panel_files import (
    allocates,
    filled_names,
    read_panel_file,
    uses,
)
from diptych.site.measured.right_graph import RightGraph

SOURCE = """
import numpy as np


class Loop:
    def forward(self, x, steps):
        h, *rest = x, x + 1
        sums = np.empty((steps, len(x)))
        for t in range(steps):
            h = (
                2 *
                h
            )
            sums[t] = h
        h += rest[0]

        def vjp(dy):
            dx = 2**steps * dy
            return dx

        return (h, sums), vjp


def square(x):
    return x * x, lambda dy: 2 * x * dy
"""


@pytest.fixture
def module(tmp_path: Path) -> ModuleType:
    path = tmp_path / "loops.py"
    path.write_text(SOURCE)
    spec = importlib.util.spec_from_file_location("loops", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def trace(module: ModuleType) -> LineTrace:
    path = Path(str(module.__file__))
    return LineTrace({str(path): read_panel_file(path, "loops", "left")})


def _recorded(trace: LineTrace, definition: str) -> list[tuple[int, str, np.ndarray]]:
    return [
        (execution.site.line, value.name, value.array)
        for frame in trace.frames
        if frame.function.definition == definition
        for execution in frame.executions
        for value in execution.values
    ]


def test_every_execution_of_a_statement_is_recorded_with_a_copy_of_its_arrays(module, trace):
    """A loop over three steps gives three values of h and of sums[t], each as it was then."""
    x = np.array([1.0, 2.0])
    with trace:
        (h, sums), _ = module.Loop().forward(x, 3)
    recorded = _recorded(trace, "Loop.forward")
    assert [name for _, name, _ in recorded] == [
        *("h", "rest[0]", "sums"),
        *("h", "sums[t]") * 3,
        *("h", "return[0]", "return[1]"),
    ]
    loop = [array for line, name, array in recorded if name == "sums[t]"]
    assert [list(array) for array in loop] == [[2, 4], [4, 8], [8, 16]]
    assert np.array_equal(recorded[-2][2], h) and np.array_equal(recorded[-1][2], sums)


def test_vjps_and_lambdas_are_recorded_under_the_definition_that_holds_them(module, trace):
    """The line of a nested function belongs to its method, so that it is found on the page."""
    with trace:
        _, vjp = module.Loop().forward(np.ones(2), 3)
        trace.phase = "backward"
        vjp(np.ones(2))
        module.square(np.ones(2))[1](np.ones(2))
    nested = [frame for frame in trace.frames if frame.function.nested]
    assert [frame.function.definition for frame in nested] == ["Loop.forward", "square"]
    assert _recorded(trace, "Loop.forward")[-2][1:][0] == "dx"
    assert np.array_equal(_recorded(trace, "square")[-1][2], [2, 2])


def test_the_trace_changes_no_result_and_gives_the_interpreter_back(module, trace):
    """Outputs are those of a run without the trace; an earlier trace function is active again."""
    before = sys.gettrace()
    (plain, _), _ = module.Loop().forward(np.ones(3), 4)
    with pytest.raises(RuntimeError, match="inside"), trace:
        (traced, _), _ = module.Loop().forward(np.ones(3), 4)
        raise RuntimeError("inside")
    assert np.array_equal(plain, traced)
    assert sys.gettrace() is before


def test_files_that_are_no_panel_are_not_recorded(module):
    """The trace is limited to the files that it gets."""
    with LineTrace({}) as trace:
        module.Loop().forward(np.ones(2), 2)
    assert not trace.frames


def test_the_whole_gradient_of_a_tensor_is_the_sum_over_its_uses():
    """h is used three times, twice by one product."""
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    h = 3 * x
    edge = gradient_edge(h)
    total = (h * 5 + h * h).sum()
    graph = RightGraph(total)
    total.backward()
    graph.close()
    assert graph.count(edge) == 3
    whole = graph.gradient(edge)
    assert whole is not None and np.allclose(whole, 5 + 2 * h.detach().numpy())


def test_the_gradient_of_one_call_is_its_part_alone():
    """h is read by two calls; each has the gradient of its own use."""
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    h = 3 * x
    first = torch._C._autograd._get_sequence_nr()
    a = h * 5
    middle = torch._C._autograd._get_sequence_nr()
    total = (a + torch.exp(h)).sum()
    graph = RightGraph(total)
    total.backward()
    edge = gradient_edge(h)
    part, rest = graph.gradient(edge, first, middle), graph.gradient(edge, middle)
    assert part is not None and np.array_equal(part, [5, 5])
    assert rest is not None and np.allclose(rest, np.exp([3, 6]))


def test_arrays_without_values_are_told_apart():
    """np.empty allocates, and a name that is filled by elements means nothing before its end."""
    function = ast.parse("def f():\n    a = np.empty(3)\n    a[0] = 1\n    b = a + 1\n").body[0]
    assert isinstance(function, ast.FunctionDef)
    assert [allocates(statement) for statement in function.body] == [True, False, False]
    assert filled_names(function) == {"a"}
    assert uses(function, "a") == 2
