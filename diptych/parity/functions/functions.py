"""Compare plain functions: CS231n's pairs, HIPS autograd, jax, numpy-ml's layers, torch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import nn

from diptych.arrays import cast, is_array, map_arrays, to_numpy
from diptych.names import suggestion
from diptych.options.options import Options
from diptych.parity.api import compare
from diptych.parity.functions.function_modules import function_module
from diptych.parity.functions.layers import layer
from diptych.parity.functions.nested_params import flattened, named_arrays, takes_nest
from diptych.parity.functions.styles import PAIRS, STYLES, label
from numpy_ref.nn.module import DTYPES, Module

if TYPE_CHECKING:
    from diptych.parity.reports.report import Report

NAMES = (*STYLES, "layer", "torch")


def compare_functions(
    left: Any,
    right: Any,
    inputs: Any,
    params: Any = None,
    *,
    names: Mapping[str, str] | Literal["order"] | None = None,
    layout: Mapping[str, str] | None = None,
    style: str | Sequence[str] = "vjp",
    name: str | None = None,
    **options: Any,
) -> Report:
    """Compare a plain function with a torch module or another function, gradients included.

        compare_functions((affine_forward, affine_backward), nn.Linear(5, 3).double(), [x],
                          {"w": w, "b": b}, names={"w": "weight", "b": "bias"},
                          layout={"w": "io->oi"}, style="cache")

    Args:
        left: A function of one of the styles below, or a module.
        right: A torch module, a function of torch tensors, a pair of NumPy functions (forward,
            backward), or a function of the second style.
        inputs: The list of arguments, which are compared by their gradients. Integer arrays have
            none; anything but arrays (a dict of settings, None) is passed as it is.
        params: Arrays by name. If every name is one of the function's arguments, they are passed
            there. In the styles "autograd", "jax", "torch" and "forward" an argument `params` gets
            them all, and they may be nested: their names are then "0.w" or "layers.0.w". Otherwise
            they follow the inputs in the order of the dict. Default: those of the left, if it is a
            module or layer.
        names: Left name of a parameter -> right name, as `rename` of `compare`; or "order", if
            the right is a module whose parameters are those of the left in the same order.
        layout: Left name -> "i o -> o i", as in `compare`.
        style: The style of the left, or of both sides.
        name: The name of the comparison in the report, by default that of the left function.
        options: All other options of `compare`. With `dtype`, inputs and params are cast.

    Styles:
        "vjp"       y, vjp = f(*arguments);  gradients = vjp(*dys)
        "cache"     (forward, backward):  *ys, cache = forward(*arguments);
                    gradients = backward(*dys, cache)
        "value_and_grad"  loss, gradients = f(*arguments); the loss is one number
        "scalars"   (f, Value): f takes and returns arrays of scalars like micrograd's Value
        "autograd"  f is written with autograd.numpy
        "jax"       f is written with jax.numpy; runs in the dtypes of its arguments
        "layer"     an object with forward, backward, parameters, gradients: see `layer`
        "torch"     f takes and returns torch tensors
        "forward"   y = f(*arguments): values only

    Gradients are one, or a sequence in the order of the arguments (of all of them, or of those with
    floating-point arrays), or a dict with the arguments' names or "d" + name. None is no gradient.

    In the report the call is `forward`, its inputs are `forward(x)` with the left function's own
    names, and parameters have their names in `params`.

    A module runs with `params` too: they are copied into it through `names` and `layout`, and
    afterwards it has its own values again. Its gradients are those of the run.

    Raises: ValueError that names the argument, what it got and what it takes.
    """
    left_style, right_style = _styles(style, right)
    arguments = (inputs,) if is_array(inputs) else tuple(inputs)
    sides = (left, left_style), (right, right_style)
    arrays = _params(params, nested=any(takes_nest(*side, params) for side in sides))
    if options.get("dtype") is not None:
        dtype = np.dtype(str(options["dtype"]).removeprefix("torch."))
        arrays = {key: array.astype(dtype) for key, array in arrays.items()}
        arguments = map_arrays(lambda array: cast(to_numpy(array), dtype), arguments)
    left, right = (
        flattened(function, params) if takes_nest(function, style, params) else function
        for function, style in sides
    )
    left_model = _model("left", left, left_style, arrays, len(arguments))
    if params is None and isinstance(left_model, Module):
        arrays = {key: parameter.data for key, parameter in left_model.named_parameters()}
    names = _in_order(arrays, right) if names == "order" else names
    rename = {**options.pop("rename", {}), **(names or {})}
    settings = Options(rename=rename, layout=layout or {})
    for option, value in (("rename", rename), ("layout", layout)):
        if value:
            options[option] = value
    right_arrays = arrays if isinstance(right, nn.Module | Module) else _renamed(arrays, settings)
    right_model = _model("right", right, right_style, right_arrays, len(arguments))
    if options.get("device") is not None and right_model is not right:
        right_model = right_model.to(options["device"])
    with contextlib.ExitStack() as stack:
        if left_model is left and params is not None:
            stack.enter_context(_loaded("left", left, arrays, Options()))
        if right_model is right:
            stack.enter_context(_loaded("right", right, arrays, settings))
        title = name or (type(left) if left_model is left else type(left_model)).__name__
        return compare(left_model, right_model, arguments, name=title, **options)


def _styles(style: Any, right: Any) -> tuple[str, str]:
    """The styles of both sides; that of the right is read off its kind unless it is named."""
    default = "cache" if isinstance(right, tuple) else "torch"
    both = (style, default) if isinstance(style, str) else tuple(style)
    if len(both) != 2 or not all(item in NAMES for item in both):
        raise ValueError(f"style: got {style!r}, takes one or two of {', '.join(map(repr, NAMES))}")
    return both


def _params(params: Any, *, nested: bool) -> dict[str, np.ndarray]:
    """The parameters as float arrays of one dtype."""
    if params is not None and not isinstance(params, Mapping) and not nested:
        raise ValueError(f"params: got {type(params).__name__}, takes a dict from names to arrays")
    arrays = named_arrays(params or {})
    for key, array in arrays.items():
        if array.dtype not in DTYPES:
            raise ValueError(f"params: {key!r} is {array.dtype}, takes float32 or float64")
    dtypes = {key: str(array.dtype) for key, array in arrays.items()}
    if len(set(dtypes.values())) > 1:
        raise ValueError(f"params: got dtypes {dtypes}, takes one dtype")
    return arrays


def _model(
    side: str, function: Any, style: str, params: Mapping[str, np.ndarray], input_count: int
) -> Any:
    """The module of one side."""
    if isinstance(function, Module | nn.Module):
        return function
    if style == "layer":
        return layer(function, params=params or None)
    is_pair = isinstance(function, tuple) and len(function) == 2 and all(map(callable, function))
    if style in PAIRS and not is_pair:
        pair = "(forward, backward)" if style == "cache" else "(function, Value)"
        raise ValueError(f"{side}: got {_kind(function)}, style {style!r} takes {pair}")
    if style not in PAIRS and not callable(function):
        hint = "; a pair (forward, backward) has style='cache'" if is_pair else ""
        raise ValueError(
            f"{side}: got {_kind(function)}, style {style!r} takes a function or a module{hint}"
        )
    return function_module(function, style, params, input_count)


def _in_order(arrays: Mapping[str, np.ndarray], right: Any) -> dict[str, str]:
    """The parameters of a module on the right, by those of the left in the same order."""
    is_module = isinstance(right, nn.Module | Module)
    own = [n.replace("_orig_mod.", "") for n, _ in right.named_parameters()] if is_module else []
    if len(own) != len(arrays):
        raise ValueError(
            f'names: got "order" for {len(arrays)} and {len(own)} parameters, takes the same '
            "number in `params` and in a module on the right"
        )
    return dict(zip(arrays, own, strict=True))


def _kind(function: Any) -> str:
    return label(function) if callable(function) else type(function).__name__


def _renamed(arrays: Mapping[str, np.ndarray], settings: Options) -> dict[str, np.ndarray]:
    """The parameters of a function on the right, under its names and in its layout."""
    result = {settings.right_name(key): settings.to_right(key, a) for key, a in arrays.items()}
    if len(result) < len(arrays) or any("[" in target for target in settings.rename.values()):
        raise ValueError("names: got several for one name or a slice, takes them for a module only")
    return result


@contextlib.contextmanager
def _loaded(
    side: str, model: Any, arrays: Mapping[str, np.ndarray], settings: Options
) -> Iterator[None]:
    """Copy arrays into a module's parameters, and put its own values back at the end."""
    own = _state(model)
    saved = {
        key: value.clone() if isinstance(value, torch.Tensor) else value.copy()
        for key, value in own.items()
    }
    targets = {settings.right_name(key) for key in arrays}
    try:
        for key, array in arrays.items():
            part = settings.part_of_right(key, own)
            target = settings.right_name(key)
            if part is None:
                raise ValueError(
                    f"params: {key!r} -> got {target!r}, takes a parameter of the {side} model"
                    f"{suggestion(target, own, 3)}"
                )
            value = settings.to_right(key, array)
            if tuple(part.shape) != value.shape:
                raise ValueError(
                    f"params: got {value.shape} for {key!r}, {target!r} of the {side} model takes "
                    f"{tuple(part.shape)}; a `layout` rearranges axes"
                )
            _assign(part, value)
        yield
    finally:
        for key in targets & own.keys():
            _assign(own[key], saved[key])


def _state(model: Any) -> dict[str, Any]:
    """The arrays or tensors of all parameters and buffers, under every name they have."""
    if isinstance(model, Module):
        state = {key: parameter.data for key, parameter in model.named_parameters(tied=True)}
        return {**state, **{key: buffer.data for key, buffer in model.named_buffers()}}
    tensors = [
        *model.named_parameters(remove_duplicate=False),
        *model.named_buffers(remove_duplicate=False),
    ]
    return {key.replace("_orig_mod.", ""): tensor.detach() for key, tensor in tensors}


def _assign(target: Any, value: Any) -> None:
    """Copy into an array or a tensor in place."""
    if isinstance(target, torch.Tensor):
        tensor = value if isinstance(value, torch.Tensor) else torch.from_numpy(np.array(value))
        target.copy_(tensor)
    else:
        target[...] = value
