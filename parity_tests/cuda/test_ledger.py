"""Every synchronisation and every copy between host and device is counted at its line."""

import pytest

START = 'x = torch.arange(4.0, device="cuda")\nhost, mask = torch.ones(4), x > 1\n'
EVENTS = {
    "x.sum().item()": "synchronisation",
    "x.tolist()": "synchronisation",
    "float(x.sum())": "synchronisation",
    "int(x[0])": "synchronisation",
    "bool(mask.any())": "synchronisation",
    "1 if x.sum() > 0 else 2": "synchronisation",
    "[0, 1][x[0].long()]": "synchronisation",
    "f'{x.sum():.1f}'": "synchronisation",
    "repr(x) and None": "synchronisation",
    "x.cpu() is None": "synchronisation",
    "x.to('cpu') is None": "synchronisation",
    "host.copy_(x) is None": "synchronisation",
    "torch.equal(x, x)": "synchronisation",
    "torch.allclose(x, x)": "synchronisation",
    "x.nonzero() is None": "synchronisation",
    "torch.where(mask) is None": "synchronisation",
    "x[mask] is None": "synchronisation",
    "x.masked_select(mask) is None": "synchronisation",
    "x.unique() is None": "synchronisation",
    "x.__setitem__(mask, 1.0)": None,  # masked_fill: no value is read
    "x.__setitem__(mask, x[2:].clone())": "synchronisation",
    "torch.repeat_interleave(x, mask.long()) is None": "synchronisation",
    "torch.repeat_interleave(x, mask.long(), output_size=2) is None": None,
    "torch.full((2,), x[0]) is None": "synchronisation",
    "torch.cuda.synchronize()": "synchronisation",
    "torch.cuda.current_stream().synchronize()": "synchronisation",
    "torch.cuda.Event().synchronize()": "synchronisation",
    "torch.nn.utils.clip_grad_norm_([p], 1.0, error_if_nonfinite=True) is None": "synchronisation",
    "torch.nn.utils.clip_grad_norm_([p], 1.0) is None": None,
    "x.to('cpu', non_blocking=True) is None": "download",
    "host.to('cuda') is None": "blocking upload",
    "host.cuda() is None": "blocking upload",
    "x.copy_(host) is None": "blocking upload",
    "torch.tensor([1.0], device='cuda') is None": "blocking upload",
    "torch.as_tensor(host.numpy(), device='cuda') is None": "blocking upload",
    "x[torch.tensor([0, 1])] is None": "blocking upload",
    "x[[0, 1]] is None": "blocking upload",
    "host.to('cuda', non_blocking=True) is None": "upload",
    "host.pin_memory().to('cuda', non_blocking=True) is None": "upload",
    "host.pin_memory().is_pinned()": None,
    "torch.zeros(3, device='cuda') is None": None,
    "torch.arange(3, device='cuda') is None": None,
    "torch.where(mask, x, 0.0) is None": None,
    "(x + torch.tensor(1.0)) is None": None,
    "x[x.long()] is None": None,
    "x.sort() is None": None,
    "x.argmax() is None": None,
    "x.to('cuda') is x": None,
    "host.tolist() and None": None,
}


@pytest.mark.parametrize("expression", EVENTS)
def test_an_event_is_counted_once_at_its_line(pretended, expression):
    parameter = "p = torch.nn.Parameter(x.clone()); p.grad = x\n" if "[p]" in expression else "\n"
    answer = pretended.ask("snippet", source=f"{START}{parameter}result = {expression}")
    assert answer["error"] is None
    counted = [(e["kind"], e["place"], e["count"]) for e in answer["ledger"]["lines"]]
    expected = EVENTS[expression]
    assert counted == ([(expected, "snippet.py:4", 1)] if expected else [])


def test_a_loop_is_one_line_with_its_count(pretended):
    source = "x = torch.ones(5, device='cuda')\nfor i in range(5):\n    float(x[i])\n"
    (event,) = pretended.ask("snippet", source=source)["ledger"]["lines"]
    assert (event["place"], event["count"]) == ("snippet.py:3", 5)


def test_the_backward_pass_has_the_line_that_started_it(pretended):
    source = """
class Read(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2
    @staticmethod
    def backward(ctx, dy):
        return dy * float(dy.sum())
x = torch.ones(2, device="cuda", requires_grad=True)
Read.apply(x).sum().backward()
"""
    (event,) = pretended.ask("snippet", source=source)["ledger"]["lines"]
    assert (event["place"], event["caller"]) == ("snippet.py:8", "snippet.py:10")
