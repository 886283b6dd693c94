"""The pretended device refuses what CUDA refuses, and allows what CUDA allows."""

import pytest

START = """\
x = torch.arange(6.0, device="cuda").reshape(2, 3)
n = torch.tensor([2, 0, 1], device="cuda")
host, row, scalar, index = torch.ones(2, 3), torch.ones(3), torch.tensor(2.0), torch.tensor([1, 0])
"""
SAME = "Expected all tensors to be on the same device"
REFUSED = {
    "a sum with a tensor of the CPU": ("x + host", SAME),
    "a broadcast row of the CPU": ("x * row", SAME),
    "a product with a matrix of the CPU": ("x @ host.T", SAME),
    "a product that torch composes": ("torch.nn.functional.linear(x, host, row[:2])", SAME),
    "a CPU tensor in a concatenation": ("torch.cat([x, host])", SAME),
    "a number of the CPU in a concatenation": ("torch.stack([x.sum(), scalar])", SAME),
    "a CPU tensor changed in place": ("host.add_(x)", SAME),
    "a number of the CPU changed in place": ("scalar.add_(x.sum())", SAME),
    "a mask of the CPU in where": ("torch.where(host > 0, x, 0.0)", SAME),
    "two numbers of the CPU": ("torch.addcmul(x, scalar, scalar)", SAME),
    "a number of the CPU in an operation on three": ("torch.lerp(x, x + 1, scalar)", SAME),
    "an index of the CPU in gather": ("x.gather(0, index[:, None])", SAME),
    "an index of the CPU in index_select": ("x.index_select(0, index)", SAME),
    "an index of the CPU of an embedding": ("torch.nn.functional.embedding(index, x)", SAME),
    "a value of the CPU assigned by index": ("x.__setitem__(n[1:], host)", SAME),
    "an index of the device into the CPU": ("row[n]", "indices should be either on cpu or on"),
    "a matrix product of integers": ("n[None] @ n[:, None]", '"mm_cuda" not implemented for'),
    "numpy": ("x.numpy()", "can't convert cuda:0 device type tensor to numpy"),
    "numpy by way of an array": ("__import__('numpy').asarray(x)", "can't convert cuda:0"),
    "a second device": ("torch.ones(1, device='cuda:1')", "invalid device ordinal"),
    "a second device as a target": ("host.to('cuda:1')", "invalid device ordinal"),
    "a state of the CPU in an LSTM": (
        "torch.nn.LSTM(3, 2, device='cuda')(x, (torch.zeros(1, 2), torch.zeros(1, 2)))",
        "not at the same device",
    ),
    "pinning a tensor of the device": ("x.pin_memory()", "cannot pin"),
    "a foreach operation with a tensor of the CPU": (
        "torch._foreach_add_([x], [host])",
        SAME,
    ),
}
ALLOWED = {
    "a number of the CPU": ("(x + scalar).tolist()", [[2, 3, 4], [5, 6, 7]]),
    "a number of the CPU on the left": ("(scalar - x).sum().item()", -3),
    "a number of the CPU in where": ("torch.where(x > 2, scalar, x).sum().item()", 9),
    "a number of the CPU that fills": ("x.masked_fill(x > 2, scalar).sum().item()", 9),
    "a number of the CPU in a foreach operation": (
        "torch._foreach_mul([x, x], scalar)[1].sum().item()",
        30,
    ),
    "an index of the CPU into the device": ("x[index].tolist()", [[3, 4, 5], [0, 1, 2]]),
    "a list as an index": ("x[[1, 0]].tolist()", [[3, 4, 5], [0, 1, 2]]),
    "a list as one of two indices": ("x[:, [2]].tolist()", [[2], [5]]),
    "a list as the index of an assignment": ("x.__setitem__([1], 7.0) or x.sum().item()", 24),
    "a number of the CPU assigned by index": (
        "x.__setitem__(n[1:2], scalar) or str(x.device)",
        None,
    ),
    "copies both ways": ("host.copy_(x) is host and x.copy_(host + 1).sum().item()", 21),
    "to and back": ("host.to('cuda').cpu().is_cuda", False),
    "cuda()": ("str(host.cuda().device)", "cuda:0"),
    "a tensor like another": ("str(host.to(x).device)", "cuda:0"),
    "new tensors": ("[str(t.device) for t in (x.new_zeros(1), x.new_tensor([1]))]", ["cuda:0"] * 2),
    "torch.tensor of numbers": ("torch.tensor([1.5], device='cuda').tolist()", [1.5]),
    "torch.as_tensor of a list": ("str(torch.as_tensor([1], device='cuda').device)", "cuda:0"),
    "torch.as_tensor of a tensor": ("torch.as_tensor(x) is x", True),
    "torch.asarray": ("str(torch.asarray([1], device='cuda').device)", "cuda:0"),
    "from_numpy": ("str(torch.from_numpy(host.numpy()).to('cuda').device)", "cuda:0"),
    "constructors": (
        "{str(f(2, device='cuda').device) for f in (torch.zeros, torch.ones, torch.empty, "
        "torch.arange, torch.eye, torch.rand, torch.randperm)} == {'cuda:0'}",
        True,
    ),
    "a tensor on the CPU in between": ("torch.zeros(2).add(1).tolist()", [1, 1]),
    "an operation in place keeps its tensor": ("x.add_(1) is x and x.sum().item()", 21),
    "a view shares its numbers": ("x[0].zero_() is not None and x.sum().item()", 12),
    "a change of sizes in place": ("x.unsqueeze_(0).shape == (1, 2, 3) and x.sum().item()", 15),
    "the data of a parameter": (
        "p = torch.nn.Parameter(x.clone()); p.data = x + 1; result = p.sum().item()",
        21,
    ),
    "a module that moves": (
        "m = torch.nn.Linear(3, 2).to('cuda'); result = [str(p.device) for p in m.parameters()]",
        ["cuda:0", "cuda:0"],
    ),
    "a copy of a module": (
        "import copy; m = copy.deepcopy(torch.nn.Linear(3, 2, device='cuda')); "
        "result = type(m.weight.detach()).__name__ + str(isinstance(m.bias, torch.nn.Parameter))",
        "CudaTensorTrue",
    ),
    "a gradient": (
        "x.requires_grad_(); (x * x).sum().backward(); result = (str(x.grad.device), "
        "x.grad.sum().item())",
        ["cuda:0", 30],
    ),
    "the method called inner": ("x[0].inner(x[1]).item()", 14),
}


def run(pretended, expression):
    lines = f"result = {expression}" if "result = " not in expression else expression
    return pretended.ask("snippet", source=START + lines)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cuda_refuses_is_refused_at_its_line(pretended, name):
    expression, message = REFUSED[name]
    answer = run(pretended, expression)
    assert message in answer["error"]
    (event,) = (line for line in answer["ledger"]["lines"] if line["kind"] == "error")
    assert event["place"] == "snippet.py:4"


@pytest.mark.parametrize("name", ALLOWED)
def test_what_cuda_allows_gives_the_numbers_of_the_cpu(pretended, name):
    expression, expected = ALLOWED[name]
    answer = run(pretended, expression)
    assert answer["error"] is None
    assert expected is None or answer["result"] == expected
    assert answer["ledger"]["totals"]["error"] == 0


CELL = """
torch.manual_seed(0)
cell = torch.nn.LSTMCell(3, 4, dtype=torch.float64)
x, h, c = torch.randn(2, 3).double(), torch.randn(2, 4).double(), torch.randn(2, 4).double()
def compute(device):
    module = __import__("copy").deepcopy(cell).to(device)
    inputs = [t.detach().to(device).requires_grad_() for t in (x, h, c)]
    h1, c1 = module(inputs[0], inputs[1:])
    (h1.sin() + c1.cos()).sum().backward()
    tensors = [h1, c1, *(t.grad for t in inputs), *(p.grad for p in module.parameters())]
    return [t.detach().cpu() for t in tensors]
result = max((a - b).abs().max().item() for a, b in zip(compute("cuda"), compute("cpu")))
"""


def test_the_fused_lstm_cell_and_its_gradient_are_those_of_the_definition(pretended):
    answer = pretended.ask("snippet", source=CELL)
    assert answer["error"] is None and answer["result"] < 1e-15


CHOICES = """
from torch.optim.optimizer import _default_to_fused_or_foreach
p = torch.nn.Parameter(torch.ones(2, device="cuda"))
p.grad = torch.ones_like(p)
result = [_default_to_fused_or_foreach([p], False, use_fused=False)[1]]
for options in ({}, {"capturable": True}, {"foreach": False}, {"fused": True}):
    torch.optim.Adam([p], lr=0.5, **options).step()
    result.append(p.tolist())
"""


def test_an_optimiser_takes_the_foreach_path_as_on_cuda_and_every_path_runs(pretended):
    answer = pretended.ask("snippet", source=CHOICES)
    assert answer["error"] is None
    foreach, *values = answer["result"]
    assert foreach is True
    for k, value in enumerate(values, 1):
        assert value == pytest.approx([1 - k / 2] * 2, abs=1e-5)


def test_a_program_can_tell_that_there_is_no_real_device(pretended):
    source = (
        "result = [torch.cuda.is_available(), torch.version.cuda, torch.backends.cuda.is_built()]"
    )
    assert pretended.ask("snippet", source=source)["result"] == [True, None, False]
