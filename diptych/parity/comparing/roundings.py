"""Count the roundings of a call, on which its error bound depends."""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from diptych.parity.measures.bounds import ELEMENTWISE
from diptych.parity.running.trace import Call
from numpy_ref.nn.module import Buffer, Module, Parameter


def roundings(call: Call, module: Any, phase: str) -> int:
    """Number of roundings in one call: the length of its longest sum, plus ELEMENTWISE.

    The lengths follow from shapes, with `module` a module of either panel or None.
    Forward: the fan-in of a weight (O, I, ...), or inputs summed into an output.
    Backward: the fan-out for the inputs' gradient, the rows for the weight's own.
    A transposed convolution's weight is (I, O, ...). Running statistics of C channels are sums
    over all values of a channel, and the gradients through them are as well.
    """
    output_size = max((a.size for a in call.outputs.values()), default=1)
    smallest_output = min((a.size for a in call.outputs.values()), default=1)
    input_size = max((a.size for a in call.inputs.values()), default=1)
    lengths = [input_size // max(smallest_output, 1)]
    transposed = getattr(module, "transposed", False)
    weights, buffers = _own_shapes(module)
    lengths += [output_size // shape[0] for shape in buffers if len(shape) == 1 and shape[0]]
    for shape in weights:
        if len(shape) < 2 or not math.prod(shape):
            continue
        size = math.prod(shape)
        fan_in, fan_out = (size // n for n in (shape[:2][::-1] if transposed else shape[:2]))
        rows = (input_size if transposed else output_size) // shape[0]
        lengths += [fan_in] if phase == "forward" else [fan_out, rows]
    return max(1, *lengths) + ELEMENTWISE


def _own_shapes(module: Any) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Shapes of the parameters and of the buffers that a module itself holds."""
    if isinstance(module, nn.Module):
        weights = [tuple(p.shape) for p in module.parameters(recurse=False)]
        return weights, [tuple(b.shape) for b in module.buffers(recurse=False)]
    values = vars(module).values() if isinstance(module, Module) else ()
    return (
        [v.data.shape for v in values if isinstance(v, Parameter)],
        [v.data.shape for v in values if isinstance(v, Buffer)],
    )
