"""The contract of windows and masked convolutions: drawings, sizes, names, errors."""

import ast
import math
import re

import numpy as np
import pytest
import torch
from helpers.random_weights import randomized
from torch import nn

from diptych import weights
from diptych.parity.comparing.roundings import roundings
from diptych.parity.measures.bounds import ELEMENTWISE
from diptych.parity.measures.rows import normwise
from diptych.parity.running.trace import Call
from model_specs.autoregressive import windows
from model_specs.autoregressive.windows import Window
from model_specs.common.key import Key
from numpy_ref.autoregressive.pixel_cnn import MaskedConv2d
from numpy_ref.nn import init
from torch_impl.autoregressive.pixel_cnn import MaskedConv2d as TorchMaskedConv2d
from torch_impl.nn import init as torch_init

PANELS = (MaskedConv2d, TorchMaskedConv2d)
FIVE = Window.local(5, 2)


# Windows


def drawn():
    """The pictures of the module's docstring: name -> rows of signs."""
    lines = windows.__doc__.splitlines()
    (heads,) = (line for line in lines if line.lstrip().startswith("raster(5)"))
    starts = [m.start() for m in re.finditer(r"[rl]\w+\(", heads)]
    result = {}
    for start, end in zip(starts, [*starts[1:], None], strict=True):
        rows = [line[start:end].split() for line in lines if re.fullmatch(r"[ #@.]+", line)]
        result[heads[start:end].strip()] = [row for row in rows if row]
    return result


def test_the_drawings_are_the_masks():
    pictures = drawn()
    assert len(pictures) == 6
    for name, rows in pictures.items():
        form, arguments = name.split("(", 1)
        size = ast.literal_eval(f"({arguments}")
        window = Window.raster(size) if form == "raster" else Window.local(*size)
        signs = np.array(rows)
        assert signs.shape == window.kernel_size, name
        assert signs[signs.shape[0] // 2, signs.shape[1] // 2] == "@"
        np.testing.assert_array_equal(np.array(window.mask("A")), signs == "#")
        np.testing.assert_array_equal(np.array(window.mask("B")), signs != ".")
        assert [line.split(" ") for line in str(window).splitlines()] == rows, name


@pytest.mark.parametrize("kind", PANELS)
def test_the_layers_drawing_is_its_mask(kind):
    lines = (line for line in kind.__doc__.splitlines() if re.search("[01] [01] [01]", line))
    digits = np.array([re.findall(r"\b[01]\b", line) for line in lines], int)
    of_A, of_B, free = np.hsplit(digits, 3)
    for mask_type, drawing in (("A", of_A), ("B", of_B)):
        mask = torch.as_tensor(kind(3, 1, Window.raster(3), mask_type, 1).mask)
        np.testing.assert_array_equal(mask.numpy(), [drawing, drawing, free])


@pytest.mark.parametrize("rows", range(4))
@pytest.mark.parametrize("width", range(1, 9))
def test_local_windows_are_those_of_the_paper(width, rows):
    """A x B is the block above, plus ceil((A - 1) / 2) pixels to the left."""
    read_pixels = Window.local(width, rows).offsets
    left = [j for i, j in read_pixels if i == 0]
    assert sorted(left) == list(range(-math.ceil((width - 1) / 2), 0))
    block = np.array([offset for offset in read_pixels if offset[0]]).reshape(-1, 2)
    assert len(block) == width * rows
    if rows:
        assert set(block[:, 0]) == set(range(-rows, 0))
        columns = block[:, 1]
        assert columns.max() - columns.min() + 1 == width
        assert -columns.min() - columns.max() == (width + 1) % 2


def test_windows_by_their_pixels():
    assert Window.raster(3) == Window(frozenset({(-1, -1), (-1, 0), (-1, 1), (0, -1)}))
    assert Window.raster(3) == Window.local(3, 1)
    assert [len(Window.local(*size).offsets) for size in ((4, 2), (5, 3), (7, 4))] == [10, 17, 31]
    assert Window.local(4, 2).kernel_size == (5, 5)
    assert Window.raster((1, 7)).kernel_size == (1, 7)
    with_itself = Window(frozenset({(0, 0), (-1, 1)}))
    assert with_itself.mask("B") == Window(frozenset({(-1, 1)})).mask("B")
    assert str(with_itself) == ". . #\n. @ .\n. . ."


# Layers


def test_state_is_that_of_torchs_convolution(rng):
    left, right = (kind(4, 3, FIVE, "A", 1) for kind in PANELS)
    theirs = nn.Conv2d(4, 3, (5, 5)).double()
    assert list(left.state_dict()) == list(right.state_dict()) == ["weight", "bias"]
    assert left.state_dict()["weight"].shape == theirs.weight.shape
    weights.transfer(randomized(left, rng), theirs)
    weights.transfer(theirs, right)
    np.testing.assert_array_equal(right.weight.detach().numpy(), left.weight.data)
    for kind in PANELS:
        assert kind(4, 3, FIVE, "A", bias=False).state_dict().keys() == {"weight"}


@pytest.mark.parametrize("name", ["fan_in_uniform", "normal"])
def test_initial_weights_are_those_of_the_right_panel(name):
    state = torch.get_rng_state()
    left, right = (kind(4, 3, FIVE, "B", 1) for kind in PANELS)
    getattr(init, name)(left, Key(4)), getattr(torch_init, name)(right, Key(4))
    assert torch.equal(torch.get_rng_state(), state)
    for entry, array in left.state_dict().items():
        assert normwise(array, right.state_dict()[entry].numpy()) <= 1e-15


def test_gradients_add_up_and_arguments_are_left_alone(rng):
    layer = randomized(MaskedConv2d(3, 2, FIVE, "B", 1), rng)
    x = rng.normal(size=(2, 3, 5, 6))
    y, vjp = layer(x)
    dy = rng.normal(size=y.shape)
    kept = [array.copy() for array in (x, y, dy)]
    dx = vjp(dy)
    once = {name: grad.copy() for name, grad in layer.gradients().items()}
    np.testing.assert_array_equal(vjp(dy), dx)
    for name, grad in layer.gradients().items():
        np.testing.assert_array_equal(grad, 2 * once[name])
    for now, before in zip((x, y, dy), kept, strict=True):
        np.testing.assert_array_equal(now, before)


def test_no_input_gradient_for_data(rng):
    layer = randomized(MaskedConv2d(3, 2, FIVE, "A", 1), rng)
    blind = MaskedConv2d(3, 2, FIVE, "A", 1, input_grad=False)
    blind.load_state_dict(layer.state_dict())
    x = rng.normal(size=(2, 3, 5, 6))
    (y, vjp), (same, other) = layer(x), blind(x)
    np.testing.assert_array_equal(y, same)
    assert vjp(np.cos(y)).shape == x.shape and other(np.cos(y)) is None
    for name, grad in layer.gradients().items():
        # the same sums, in another order
        np.testing.assert_allclose(grad, blind.gradients()[name], rtol=1e-12, atol=1e-12)
    assert not blind.weight.grad[:, ~blind.mask].any()


def test_dtypes_stay(rng):
    layer = randomized(MaskedConv2d(3, 2, FIVE, "A", 1), rng)
    x = rng.normal(size=(2, 3, 5, 6))
    single, right = layer.astype("float32"), TorchMaskedConv2d(3, 2, FIVE, "A", 1).float()
    y, vjp = single(x.astype(np.float32))
    assert y.dtype == vjp(y).dtype == single.weight.grad.dtype == np.float32
    out = right(torch.from_numpy(x).float())
    assert out.dtype == torch.float32 and right.mask.dtype == torch.bool
    np.testing.assert_allclose(y, layer(x)[0], rtol=1e-4, atol=1e-4)


def test_the_bound_counts_no_sum_over_the_mask():
    """In a layer with fewer channels in than out, the mask has fewer rows than the weight."""
    x, y = np.zeros((2, 2, 8, 8)), np.zeros((2, 5, 8, 8))
    call = Call("layer", "", "forward", None, inputs={"0": x}, outputs={"": y})
    layer = MaskedConv2d(2, 5, Window.raster(3), "B")
    assert roundings(call, layer, "forward") == 2 * 9 + ELEMENTWISE
    assert roundings(call, layer, "vjp") == 2 * 8 * 8 + ELEMENTWISE


# Refusals


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Window.raster(4), "kernel_size: got 4, takes an odd int >= 1"),
        (lambda: Window.raster((3, 2)), r"kernel_size: got \(3, 2\), takes an odd"),
        (lambda: Window.raster(-1), "kernel_size: got -1, takes an odd"),
        (lambda: Window.raster(3.0), "kernel_size: got 3.0, takes an odd"),
        (lambda: Window.raster(True), "kernel_size: got True, takes an odd"),
        (lambda: Window.raster((3, 3, 3)), r"kernel_size: got \(3, 3, 3\)"),
        (lambda: Window.local(0, 2), "width: got 0, takes an int >= 1"),
        (lambda: Window.local(2.5, 2), "width: got 2.5"),
        (lambda: Window.local(4, -1), "rows: got -1, takes an int >= 0"),
        (lambda: Window.local(4, True), "rows: got True"),
        (lambda: Window(frozenset({(0, 1)})), r"offsets: got \(0, 1\), takes pairs .* up to"),
        (lambda: Window(frozenset({(1, -3)})), r"offsets: got \(1, -3\)"),
        (lambda: Window(frozenset({(-1,)})), r"offsets: got \(-1,\), takes pairs"),
        (lambda: Window(frozenset({(-1.0, 0)})), r"offsets: got \(-1.0, 0\), takes pairs"),
        (lambda: Window([(-1, 0)]), "offsets: got list, takes a frozenset"),
    ],
)
def test_impossible_windows(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("kind", PANELS)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((2, 3, Window.raster(1), "A"), "window: got an empty one, type A takes at least"),
        ((2, 3, Window.local(1, 0), "A"), "window: got an empty one"),
        ((2, 3, Window(frozenset()), "A"), "window: got an empty one"),
        (
            (2, 3, Window(frozenset({(0, 0)})), "A"),
            "window: got the pixel itself in it, type A takes",
        ),
        ((2, 3, Window(frozenset({(0, 0), (0, -1)})), "A"), "window: got the pixel itself in it"),
        ((2, 3, FIVE, "C"), "mask_type: got 'C', takes one of 'A', 'B'"),
        ((2, 3, 5, "A"), "window: got 5, takes a Window"),
        ((2, 3, FIVE, "A", 2), r"free_channels: got 2, takes an int in \[0, 2\)"),
        ((2, 3, FIVE, "A", -1), "free_channels: got -1"),
        ((2, 3, FIVE, "A", 1.0), "free_channels: got 1.0"),
        ((2, 3, FIVE, "A", True), "free_channels: got True"),
        ((0, 3, FIVE, "A"), "in_channels: got 0"),
        ((2, 0, FIVE, "A"), "out_channels: got 0"),
    ],
)
def test_impossible_layers(kind, arguments, message):
    with pytest.raises(ValueError, match=message):
        kind(*arguments)


def test_inputs_that_do_not_fit():
    left, right = (kind(3, 2, FIVE, "A") for kind in PANELS)
    for x, message in (
        (np.zeros((2, 4, 5, 5)), r"x: got shape \(2, 4, 5, 5\), takes \(any, 3, any, any\)"),
        (np.zeros((3, 5, 5)), r"x: got shape \(3, 5, 5\)"),
        (np.zeros((0, 3, 5, 5)), r"x: got shape \(0, 3, 5, 5\)"),
        (np.zeros((2, 3, 5, 5), np.float32), "x: got dtype float32, takes float64"),
    ):
        for layer, layer_input in ((left, x), (right, torch.from_numpy(x))):
            with pytest.raises(ValueError, match=message.replace("float", "(torch.)?float")):
                layer(layer_input)


def test_autocast_may_give_any_dtype(rng):
    layer = TorchMaskedConv2d(3, 2, FIVE, "A").float()
    x = torch.from_numpy(rng.normal(size=(2, 3, 5, 5)))
    with torch.autocast("cpu", torch.bfloat16):
        for layer_input in (x.float(), x.bfloat16()):
            assert layer(layer_input).dtype == torch.bfloat16
    with pytest.raises(ValueError, match=r"x: got dtype torch\.bfloat16, takes torch\.float32"):
        layer(x.bfloat16())
