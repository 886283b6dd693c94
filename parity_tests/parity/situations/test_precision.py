"""Other precisions and kinds of tensors: handled, or refused in one sentence; never a traceback."""

import warnings

import numpy as np
import pytest
import torch
from helpers.situations import draw, left, pair, right, situation, situations_of, with_buffers
from torch import nn

X, W = draw(5, 4), draw(3, 4)


def _linear(factor=1.0, dtype=np.float64):
    def forward(self, x):
        def vjp(dy):
            self.weight.grad += dy.T @ x
            return factor * (dy @ self.weight.data)

        return x @ self.weight.data.T, vjp

    return left(forward=forward, weight=W.astype(dtype))


def _right_linear(forward=None, dtype=np.float64):
    return right(forward=forward or (lambda self, x: x @ self.weight.T), weight=W.astype(dtype))


@situation("2", differs=["inside"], or_refused=True)
def autocast_inside_a_float32_forward(_):
    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return (x @ self.weight.T).float()

    return pair(_linear(dtype=np.float32), _right_linear(forward, np.float32), X.astype(np.float32))


@situation("2", differs=["bfloat16 output"], or_refused=True)
def autocast_that_returns_bfloat16(_):
    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return x @ self.weight.T

    return pair(_linear(dtype=np.float32), _right_linear(forward, np.float32), X.astype(np.float32))


@situation("2", differs=["around"], or_refused=True)
def autocast_around_a_float32_comparison(_):
    during = torch.autocast("cpu", dtype=torch.bfloat16)
    twins = _linear(dtype=np.float32), _right_linear(dtype=np.float32)
    return pair(*twins, X.astype(np.float32), during=during)


@situation("2", agrees=[1.0], differs=[1.001], or_refused=True)
def autocast_around_a_float64_comparison(factor):
    """float64 is not cast."""
    return pair(_linear(factor), _right_linear(), X, during=torch.autocast("cpu"))


@situation("hostile", agrees=[1.0], differs=[1.001], or_refused=True)
def comparison_without_gradients_around(factor):
    return pair(_linear(factor), _right_linear(), X, during=torch.no_grad())


@situation("hostile", agrees=[1.0], differs=[1.001], or_refused=True)
def comparison_in_inference_mode(factor):
    return pair(_linear(factor), _right_linear(), X, during=torch.inference_mode())


@situation("hostile", differs=["right", "left"], first="forward")
def float32_island_in_a_float64_forward(side):
    def left_forward(self, x):
        a = x.astype(np.float32) if side == "left" else x
        return np.exp(a).astype(np.float64), lambda dy: dy * np.exp(x)

    def right_forward(self, x):
        return (x.float() if side == "right" else x).exp().double()

    return pair(left(forward=left_forward), right(forward=right_forward), X)


@situation("hostile", agrees=["float32", "float16"], differs=["left float32"], first="forward")
def rounding_to_a_smaller_dtype(kind):
    """Both sides round in the same place; rounding has the derivative 1 on either."""
    dtype = kind.split()[-1]

    def left_forward(self, x):
        y = x.astype(dtype).astype(np.float64)
        return 2 * y, lambda dy: (2 * dy).astype(dtype).astype(np.float64)

    def right_forward(self, x):
        return 2 * (x if "left" in kind else x.to(getattr(torch, dtype)).double())

    return pair(left(forward=left_forward), right(forward=right_forward), X)


@situation("hostile", agrees=["float32"])
def float64_island_in_a_float32_forward(dtype):
    """The right computes more exactly than it must."""
    model = _right_linear(lambda self, x: (x.double() @ self.weight.double().T).float(), np.float32)
    return pair(_linear(dtype=np.float32), model, X.astype(np.float32))


@situation("2", refused=["bfloat16", "float16"], says="takes")
def model_of_another_dtype(dtype):
    return pair(_linear(), _right_linear().to(getattr(torch, dtype)), X)


@situation("2", refused=["left", "right"], says="takes")
def model_of_two_dtypes(side):
    twins = _linear(), _right_linear()
    if side == "left":
        twins[0].v = left(v=W.astype(np.float32)).v
    else:
        twins[1].v = nn.Parameter(torch.ones(2))
    return pair(*twins, X)


@situation("2", agrees=[1.0], differs=[1.001], or_refused=True)
def sparse_buffer(factor):
    """A graph layer y = A x, whose adjacency matrix is sparse on the right."""
    a = np.eye(5)[::-1].copy()

    def left_forward(self, x):
        return self.a.data @ x, lambda dy: factor * (self.a.data.T @ dy)

    model = right(forward=lambda self, x: torch.sparse.mm(self.a, x))
    model.register_buffer("a", torch.from_numpy(a).to_sparse())
    return pair(with_buffers(left(forward=left_forward), a=a), model, X)


@situation("2", agrees=["sparse"], differs=["other"], or_refused=True)
def sparse_output(kind):
    y = np.diag(np.arange(5.0))

    def left_forward(self, x):
        return (y if kind == "sparse" else 2 * y), lambda dy: 0 * x

    model = right(forward=lambda self, x: torch.from_numpy(y).to_sparse())
    return pair(left(forward=left_forward), model, X)


@situation("2", agrees=["sparse"], or_refused=True)
def sparse_batch(_):
    model = right(forward=lambda self, a: a.to_dense() * 2)
    dense = np.diag(np.arange(1.0, 6.0))
    return pair(
        left(forward=lambda self, a: (2 * a, lambda dy: 2 * dy)),
        model,
        torch.from_numpy(dense).to_sparse(),
    )


@situation("2", agrees=[1.0], differs=[1.001], or_refused=True)
def sparse_gradient_of_an_embedding(factor):
    def left_forward(self, ids):
        def vjp(dy):
            np.add.at(self.weight.grad, ids, factor * dy)

        return self.weight.data[ids], vjp

    model = nn.Embedding(6, 3, sparse=True).double()
    model.weight.data.copy_(torch.from_numpy(draw(6, 3)))
    return pair(left(forward=left_forward, weight=draw(6, 3)), model, np.array([1, 5, 1, 0]))


@situation("2", differs=["output", "buffer"], or_refused=True)
def quantised_tensor(kind):
    def quantise(x):
        with warnings.catch_warnings(action="ignore"):
            return torch.quantize_per_tensor(x.float(), 0.1, 0, torch.qint8)

    model = right(forward=lambda self, x: quantise(x) if kind == "output" else 2 * x)
    if kind == "buffer":
        model.register_buffer("q", quantise(torch.from_numpy(X)))
    return pair(left(forward=lambda self, x: (x, lambda dy: 0 * dy)), model, X)


def _filter(factor):
    """y = the inverse transform of a filtered spectrum; complex numbers only inside."""
    h = np.array([1.0, 0.5, 0.0, 0.5])

    def left_forward(self, x):
        def smooth(a, scale=1.0):
            return scale * np.fft.ifft(np.fft.fft(a) * h).real

        return smooth(x), lambda dy: smooth(dy, factor)

    spectrum = torch.from_numpy(h)
    model = right(forward=lambda self, x: torch.fft.ifft(torch.fft.fft(x) * spectrum).real)
    return pair(left(forward=left_forward), model, X)


@situation("2", agrees=[1.0], differs=[1.001], first="forward(x)")
def complex_numbers_inside_a_forward(factor):
    return _filter(factor)


@situation("2", agrees=[1.0], differs=[1.001], or_refused=True)
def complex_output(factor):
    def left_forward(self, x):
        return factor * np.fft.fft(x), lambda dy: np.fft.fft(np.conj(dy)).real

    return pair(left(forward=left_forward), right(forward=lambda self, x: torch.fft.fft(x)), X)


@situation("2", agrees=["values"], differs=["other values"], or_refused=True)
def complex_output_without_a_vjp(kind):
    scale = 1.0 if kind == "values" else 1.0 + 1e-6j
    twins = (
        left(forward=lambda self, x: scale * np.fft.fft(x)),
        right(forward=lambda self, x: torch.fft.fft(x)),
    )
    return pair(*twins, X)


@situation("2", refused=["parameter"], says="complex")
def complex_parameter(_):
    def left_forward(self, x):
        return (x @ self.w.data).real, lambda dy: np.outer(dy, self.w.data.real)

    twins = (
        left(forward=left_forward, w=draw(4) + 1j),
        right(forward=lambda self, x: (x + 0j) @ self.w, w=draw(4) + 1j),
    )
    return pair(*twins, X)


@situation("2", refused=["root", "parameter", "batch"], says="meta")
def meta_device(which):
    model = _right_linear()
    batch = torch.from_numpy(X).to("meta") if which == "batch" else X
    if which == "root":
        model = model.to("meta")
    elif which == "parameter":
        model.extra = nn.Parameter(torch.empty(2, device="meta", dtype=torch.float64))
    return pair(_linear(), model, batch)


@situation("2", agrees=[1.0], differs=[1.001], says=r"forward\S*\(|weight", or_refused=True)
def scripted_module(factor):
    return pair(_linear(factor), torch.jit.script(_Linear()), X)


@situation("2", agrees=[1.0], differs=[1.001], says=r"forward\S*\(|weight", or_refused=True)
def traced_module(factor):
    return pair(_linear(factor), torch.jit.trace(_Linear(), torch.from_numpy(X)), X)


@situation("hostile", agrees=[1.0], differs=[1.001], says=r"forward\S*\(|weight")
def symbolically_traced_module(factor):
    return pair(_linear(factor), torch.fx.symbolic_trace(_Linear()), X)


@situation("hostile", agrees=[1.0], differs=[1.001], says=r"forward\S*\(|weight", or_refused=True)
def exported_module(factor):
    exported = torch.export.export(_Linear(), (torch.from_numpy(X),)).module()
    return pair(_linear(factor), exported, X)


class _Linear(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.from_numpy(W.copy()))

    def forward(self, x):
        return x @ self.weight.t()


@situation("hostile", agrees=["float32 batch", "integer batch"])
def batch_of_another_dtype_than_the_models(kind):
    """A batch is cast to the dtype of the models, unless it is of integers."""
    batch = X.astype(np.float32) if "float" in kind else np.arange(20).reshape(5, 4)

    def forward(self, x):
        def vjp(dy):
            self.weight.grad += dy.T @ x
            return dy @ self.weight.data if "float" in kind else None

        return x @ self.weight.data.T, vjp

    model = _right_linear(lambda self, x: x.double() @ self.weight.T)
    return pair(left(forward=forward, weight=W), model, batch)


@pytest.mark.parametrize("case", situations_of(__name__), ids=str)
def test_the_verdict_on_other_precisions(case):
    case.check()
