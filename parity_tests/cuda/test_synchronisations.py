"""The synchronisations of a training step, under limits for each model."""

import pytest
from helpers.pretended_cuda import __main__ as command

STEP = {"mlp_vae": 3, "conv_vae": 3, "vlae": 4, "rnn": 4, "lstm": 5}
"""The largest number of synchronisations in a step of `diptych train`."""
UPLOADS = {"mlp_vae": 1, "conv_vae": 1, "vlae": 1, "rnn": 2, "lstm": 2}
"""The largest number of copies to the device in this step: of the batch, none of constants."""
WITH_NORM = {"mlp_vae": 13}
"""The same with the norm of the gradient, as the exercises measure it."""


@pytest.mark.parametrize("model", STEP)
def test_a_training_step_waits_for_the_device_no_more_often_than_this(pretended, model):
    result = pretended.ask("steps", model=model, options={})
    totals = result["totals"]
    assert totals["error"] == totals["download"] == 0
    assert totals["synchronisation"] <= STEP[model], result["lines"]
    assert totals["blocking upload"] + totals["upload"] <= UPLOADS[model], result["lines"]


@pytest.mark.parametrize("model", WITH_NORM)
def test_the_norm_of_the_gradient_is_read_no_more_often_than_this(pretended, model):
    result = pretended.ask("steps", model=model, options={"norm": True})
    assert result["totals"]["synchronisation"] <= WITH_NORM[model], result["lines"]


def test_the_command_prints_the_counts_and_the_lines(capsys):
    line = {"kind": "synchronisation", "operation": "tolist", "place": "a.py:3", "count": 2}
    line |= {"line": "x.tolist()", "caller": "b.py:4"}
    command.show("rnn", {"totals": {"synchronisation": 2, "error": 0}, "lines": [line]})
    out = capsys.readouterr().out
    assert out.splitlines()[0] == "rnn: synchronisation 2"
    assert "a.py:3  from b.py:4" in out and "x.tolist()   (tolist)" in out
