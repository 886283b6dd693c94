"""The synchronisations and uploads of a training step, under limits for each model."""

import pytest
from helpers.pretended_cuda import __main__ as command

STEP = {
    **dict.fromkeys(
        ["mlp_vae", "mlp_vae, beta", "conv_vae", "vlae", "vlae, iaf_posterior"], (1, 1)
    ),
    **dict.fromkeys(["rnn", "lstm", "lstm, dropout"], (1, 2)),
}
"""(synchronisations, uploads) of a step of `diptych train --no-resident`, at most: the loss is read
once, and the arrays of the batch are uploaded."""
OTHERS = {
    "with the norm of the gradient": ("mlp_vae", {"norm": True}, 2),
    "bfloat16": ("lstm", {"amp": "bf16"}, 1),
    "float16": ("conv_vae", {"amp": "fp16"}, 4),
}
"""(model, options, synchronisations): the norm is read, and three numbers of the GradScaler."""

RUNS = ("mlp_vae", "conv_vae", "vlae", "rnn", "lstm, dropout")
RMSPROP = {"optimizer": "rmsprop", "weight_decay": 1e-3}


def waits(result):
    return result["totals"]["synchronisation"] + result["totals"]["download"]


def uploads(result):
    return result["totals"]["upload"] + result["totals"]["blocking upload"]


@pytest.mark.parametrize("model", STEP)
def test_a_training_step_waits_for_the_device_once(pretended, model):
    result = pretended.ask("steps", model=model, options={})
    assert result["totals"]["error"] == 0
    assert waits(result) <= STEP[model][0] and uploads(result) <= STEP[model][1], result["lines"]


@pytest.mark.parametrize("name", OTHERS)
def test_options_of_a_step_add_no_more_than_this(pretended, name):
    model, options, limit = OTHERS[name]
    result = pretended.ask("steps", model=model, options=options)
    assert result["totals"]["error"] == 0 and waits(result) <= limit, result["lines"]


@pytest.mark.parametrize(
    ("model", "options"), [*((model, {}) for model in STEP), ("mlp_vae", RMSPROP)]
)
def test_a_resident_step_neither_waits_for_the_device_nor_uploads_to_it(pretended, model, options):
    """A CUDA graph, which is captured from this step, can contain neither."""
    result = pretended.ask("resident steps", model=model, options=options)
    assert result["steps"]["lines"] == []
    assert waits(result["read"]) == 1 and uploads(result["read"]) == 0


@pytest.mark.parametrize("resident", [False, True])
@pytest.mark.parametrize(
    ("model", "options"),
    [*((model, {}) for model in RUNS), ("mlp_vae", RMSPROP), ("lstm, dropout", RMSPROP)],
)
def test_a_run_ends_in_the_same_bits_as_on_the_cpu(pretended, model, options, resident):
    answer = pretended.ask("run", model=model, resident=resident, options=options)
    assert answer["differ"] == [] and answer["ledger"]["totals"]["error"] == 0


def test_the_command_prints_the_counts_and_the_lines(capsys):
    line = {"kind": "synchronisation", "operation": "tolist", "place": "a.py:3", "count": 2}
    line |= {"line": "x.tolist()", "caller": "b.py:4"}
    command.show("rnn", {"totals": {"synchronisation": 2, "error": 0}, "lines": [line]})
    out = capsys.readouterr().out
    assert out.splitlines()[0] == "rnn: synchronisation 2"
    assert "a.py:3  from b.py:4" in out and "x.tolist()   (tolist)" in out
