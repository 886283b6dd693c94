"""Models of everyday torch code, as a stranger would bring them: residual networks in place,
transformers, compiled copies, masks as keyword arguments, outputs of other classes."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torch.utils.checkpoint
from helpers.situations import draw, left, pair, right, situation, situations_of
from torch import nn

X = draw(5, 4)
DTYPES = ["float64", "float32"]


def _twins(make, dtype="float64"):
    """Two models of the same weights."""
    torch.manual_seed(0)
    model, other = make(), make()
    other.load_state_dict(model.state_dict())
    return model.to(getattr(torch, dtype)), other.to(getattr(torch, dtype))


class Block(nn.Module):
    """A residual block, with operations in place or not."""

    def __init__(self, in_place):
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(8, 8, 3, padding=1, bias=False) for _ in range(2))
        self.norm1, self.norm2 = nn.BatchNorm2d(8), nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=in_place)

    def forward(self, x):
        y = self.norm2(self.conv2(self.relu(self.norm1(self.conv1(x)))))
        if self.relu.inplace:
            y += x
        else:
            y = y + x
        return self.relu(y)


class ResNet(nn.Module):
    def __init__(self, in_place=False):
        super().__init__()
        self.stem, self.layer = nn.Conv2d(3, 8, 3, padding=1), nn.Sequential(*self._two(in_place))
        self.head = nn.Linear(8, 4)

    @staticmethod
    def _two(in_place):
        return Block(in_place), Block(in_place)

    def forward(self, x):
        return self.head(self.layer(self.stem(x)).mean((2, 3)))


IN_PLACE = {"neither": (False, False), "left": (True, False), "right": (False, True)}
IN_PLACE |= {"both": (True, True)}


def _residual(sides, dtype):
    models = []
    for in_place in IN_PLACE[sides]:
        torch.manual_seed(0)
        models.append(ResNet(in_place).to(getattr(torch, dtype)))
    return (*models, draw(4, 3, 8, 8).astype(dtype))


@situation("1", agrees=[(sides, dtype) for sides in IN_PLACE for dtype in DTYPES])
def residual_network_in_place(case):
    return pair(*_residual(*case))


@situation(
    "1", differs=[(sides, dtype) for sides in IN_PLACE for dtype in DTYPES], says=r"layer\.1"
)
def residual_network_in_place_with_a_fault(case):
    a, b, x = _residual(*case)
    b.layer[1].norm2.register_forward_hook(lambda module, args, output: 1.01 * output)
    return pair(a, b, x)


class Gpt(nn.Module):
    """A transformer block with tied embeddings, and methods that a compiled copy does not call."""

    def __init__(self, scale=0.5, checkpoint=False, fill=-torch.inf):
        super().__init__()
        self.tokens, self.places = nn.Embedding(17, 16), nn.Embedding(8, 16)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(16) for _ in range(3))
        self.qkv, self.proj = nn.Linear(16, 48), nn.Linear(16, 16)
        self.up, self.down = nn.Linear(16, 64), nn.Linear(64, 16)
        self.head = nn.Linear(16, 17, bias=False)
        self.head.weight = self.tokens.weight
        self.scale, self.checkpoint, self.fill = scale, checkpoint, fill

    def attend(self, h):
        q, k, v = (p.unflatten(-1, (4, 4)).transpose(1, 2) for p in self.qkv(h).split(16, -1))
        future = torch.ones(8, 8, dtype=torch.bool).triu(1)
        scores = (q @ k.transpose(-1, -2) * self.scale).masked_fill(future, self.fill)
        return self.proj((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))

    def think(self, h):
        return self.down(F.gelu(self.up(h)))

    def forward(self, ids):
        h = self.tokens(ids) + self.places.weight
        for norm, part in ((self.norm1, self.attend), (self.norm2, self.think)):
            y = norm(h)
            if self.checkpoint:
                h = h + torch.utils.checkpoint.checkpoint(part, y, use_reentrant=False)
            else:
                h = h + part(y)
        return self.head(self.norm3(h))


IDS = np.random.default_rng(0).integers(0, 17, (3, 8))


def _gpts(dtype="float64", **options):
    torch.manual_seed(0)
    model = Gpt().to(getattr(torch, dtype))
    torch.manual_seed(0)
    return model, Gpt(**options).to(getattr(torch, dtype))


@situation("2", agrees=[(fill, dtype) for fill in (-torch.inf, -1e9, -1e4) for dtype in DTYPES])
def transformer_with_another_mask(case):
    return pair(*_gpts(case[1], fill=case[0]), IDS)


@situation("2", differs=DTYPES, first="attend")
def transformer_with_another_scale(dtype):
    return pair(*_gpts(dtype, scale=0.25), IDS)


@situation("2", agrees=DTYPES)
def transformer_with_checkpoints(dtype):
    return pair(*_gpts(dtype, checkpoint=True), IDS)


def _compiled(dtype, **options):
    model, other = _gpts(dtype, **options)
    return pair(model, torch.compile(other, backend="eager"), IDS)


@situation("2", agrees=DTYPES)
def compiled_transformer(dtype):
    return _compiled(dtype)


@situation("2", differs=DTYPES, says="forward|attend")
def compiled_transformer_with_a_fault(dtype):
    return _compiled(dtype, scale=0.25)


@situation("2", agrees=[True, ["extra.*"]])
def unused_layer_on_the_right_that_is_allowed(allow_unused):
    a, b = _gpts()
    b.extra = nn.Linear(3, 3).double()
    return pair(a, b, IDS, allow_unused=allow_unused)


@situation("2", agrees=["model"], differs=["fault"], first="0.weight", or_refused=True)
def averaged_model(kind):
    """AveragedModel adds a counter beside the module that it wraps."""
    a, b = _twins(lambda: nn.Sequential(nn.Linear(4, 4)))
    if kind == "fault":
        b[0].weight.data += 1e-3
    return pair(a, torch.optim.swa_utils.AveragedModel(b), X, rename={"": "module"})


class Masked(nn.Module):
    def forward(self, x, mask=None):
        return x * mask


def _masked_left(factor):
    def forward(self, x, mask=None):
        return factor * x * mask, lambda dy: factor * dy * mask

    return left(forward=forward)


MASKS = {"float": draw(5, 1), "boolean": draw(5, 1) > 0, "tensor": torch.from_numpy(draw(5, 1))}


@situation("3", agrees=MASKS)
def array_as_a_keyword_argument(kind):
    return pair(_masked_left(1.0), Masked(), X, kwargs={"mask": MASKS[kind]})


@situation("3", differs=MASKS, first="forward")
def array_as_a_keyword_argument_with_a_fault(kind):
    return pair(_masked_left(1.01), Masked(), X, kwargs={"mask": MASKS[kind]})


@situation("3", agrees=DTYPES)
def padding_mask_of_an_attention(dtype):
    a, b = _twins(lambda: nn.MultiheadAttention(8, 2, batch_first=True), dtype)
    mask = np.array([[0, 0, 0, 1, 1], [0, 0, 0, 0, 1]], bool)
    return pair(a, b, (draw(2, 5, 8).astype(dtype),) * 3, kwargs={"key_padding_mask": mask})


@situation("1", differs=["distribution", "object"], says="forward|output", or_refused=True)
def output_of_a_foreign_class_behind_a_layer(kind):
    """The layer agrees, and the output cannot be compared: that must not be green."""

    class Holder:
        def __init__(self, value):
            self.value = value

    def model(factor):
        wrap = Holder if kind == "object" else lambda y: torch.distributions.Normal(y, 1.0)
        return right(
            forward=lambda self, x: wrap(factor * self.layer(x)), layer=nn.Linear(4, 4).double()
        )

    a, b = model(1.0), model(2.0)
    b.load_state_dict(a.state_dict())
    return pair(a, b, X)


@situation("2", agrees=[3.0], differs=[4.0], says=r"forward\[1\]")
def numpy_scalar_beside_a_tensor(value):
    def model(number):
        return right(forward=lambda self, x: (2 * x, np.float64(number)))

    return pair(model(3.0), model(value), X)


@situation("1", agrees=["forward", "sample"], mentions="not compared: .*(forward|sample)")
def method_beside_a_loss_that_differs(method):
    """Only the loss runs, and the report must say what it did not run."""

    def model(factor):
        methods = {"loss": lambda self, x: (x * x).sum(), method: lambda self, x: factor * x}
        return right(**methods)

    return pair(model(1.0), model(1.5), X)


@situation("2", refused=["lines"], says="forward raised")
def error_of_several_lines(_):
    def fail(self, x):
        raise RuntimeError("first line\nsecond line\nthird line")

    return pair(nn.Identity(), right(forward=fail), X)


@pytest.mark.parametrize("case", situations_of(__name__), ids=str)
def test_the_verdict_on_everyday_models(case):
    case.check()
