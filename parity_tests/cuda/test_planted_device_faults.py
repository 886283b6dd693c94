"""Faults of a CUDA path, planted into the project's source: each is caught at its line."""

import pytest
from helpers.pretended_cuda.ledger import ROOT

FAULTS = {
    "a constant of the CPU in a loss": (
        "torch_impl/mlp_vae.py",
        "kl_term = weight * kl.mean(1).sum()",
        "kl_term = weight * (kl.mean(1) * torch.ones(len(x), dtype=x.dtype)).sum()",
        ("training", "mlp_vae", "float32"),
        "error",
        1,
    ),
    "numpy of a gradient in a step": (
        "diptych/panels/right.py",
        "self._steps += 1",
        "self._steps += [p.grad.numpy() for p in self.model.parameters()] != []",
        ("training", "conv_vae", "float32"),
        "error",
        1,
    ),
    "a dropout mask drawn on the CPU": (
        "torch_impl/recurrent/masks.py",
        "(batch_size, steps, width), rate, start, device)",
        "(batch_size, steps, width), rate, start)",
        ("training", "rnn[variational]", "float64"),
        None,  # the model refuses the mask by itself
        0,
    ),
    "a number read in a loop over the parameters": (
        "diptych/training/step.py",
        "panel.step(lr, clip)",
        "panel.step(lr, clip); [float(p.detach().sum()) for p in panel.model.parameters()]",
        ("training", "mlp_vae", "float32"),
        "synchronisation",
        20,  # of ten parameters in two steps
    ),
    "an index that stays on the CPU": (
        "torch_impl/lstm.py",
        "examples = torch.arange(x.shape[1], device=x.device)",
        "examples = torch.arange(x.shape[1]); noise.words is None or noise.words[examples, x]",
        ("training", "lstm[words]", "float32"),
        "blocking upload",
        2,
    ),
    "a number read in a step of a flow": (
        "torch_impl/autoregressive/flow.py",
        "return FlowOutput(z - mu, 0 * z[..., 0])",
        "float(mu.detach().sum()); return FlowOutput(z - mu, 0 * z[..., 0])",
        ("training", "vlae[8x8]", "float32"),
        "synchronisation",
        6,  # of two flow steps, in the initialisation and two training steps
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_caught_at_its_line(pretended, name):
    file, old, new, case, kind, count = FAULTS[name]
    answer = pretended.ask("fault", file=file, old=old, new=new, case=case)
    events = {(e["place"], e["kind"]): e["count"] for e in answer["ledger"]["lines"]}
    if kind is None:
        assert "got a tensor on cpu, takes one on cuda:0" in answer["problems"][-1]
        return
    assert events[answer["place"], kind] == count
    assert bool(answer["problems"]) == (kind == "error")
    clean = pretended.ask("situations", cases=[case])[0]
    assert not any(e["place"] == answer["place"] for e in clean["ledger"]["lines"])
    assert clean["problems"] == [] and clean["ledger"]["totals"]["error"] == 0


def test_a_result_that_depends_on_the_device_is_caught(pretended):
    """The numbers are compared, not only the devices."""
    answer = pretended.ask(
        "fault",
        file="torch_impl/mlp_vae.py",
        old="kl_term = weight * kl.mean(1).sum()",
        new="kl_term = weight * kl.mean(1).sum() * (1 + 1e-15 * x.is_cuda)",
        case=("training", "mlp_vae", "float64"),
    )
    assert any("kl: differs by up to" in problem for problem in answer["problems"])


def test_a_fault_whose_text_is_gone_is_an_error(pretended):
    with pytest.raises(RuntimeError, match="occurs 0 times, takes once"):
        file = "torch_impl/mlp_vae.py"
        pretended.ask("fault", file=file, old="no such text", new="", case=[])
    assert (ROOT / file).exists()
