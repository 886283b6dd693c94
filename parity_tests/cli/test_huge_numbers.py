"""Numbers that no computer has the memory for end in one line, before memory is filled."""

from __future__ import annotations

import pytest

from diptych import data, limits
from model_specs.common.fields import LARGEST, check_positive_int
from model_specs.common.key import Key

HUGE = str(10**11)
LONG = "9" * 30
COMMANDS = [
    (f"train mlp_vae --backend numpy --set hidden_dim={HUGE}", f"hidden_dim: got {HUGE}"),
    (f"train mlp_vae --set hidden_dim={LONG}", f"hidden_dim: got {LONG}"),
    (f"train mlp_vae --set latent_dim={HUGE}", f"latent_dim: got {HUGE}"),
    (f"train mlp_vae --set samples={HUGE}", f"samples: got {HUGE}"),
    (f"train lstm --set seq_len={HUGE}", f"seq_len: got {HUGE}"),
    (f"train lstm --set num_layers={HUGE}", f"num_layers: got {HUGE}"),
    (f"train rnn --data copy:{HUGE}:5", f"length: got {HUGE}"),
    (f"train rnn --data copy:5:{LONG}", f"items: got {LONG}"),
    (f"train rnn --data adding:{HUGE}", f"length: got {HUGE}"),
    ("train rnn --data copy:5000:100", "--batch-size: got 128, which takes"),
    (f"train mlp_vae --batch-size {LONG}", f"--batch-size: got {LONG}"),
    (f"train mlp_vae --epochs {LONG}", f"--epochs: got {LONG}"),
    (f"train mlp_vae --seed {LONG}", f"--seed: got {LONG}"),
    (f"bench mlp_vae --rounds {LONG}", f"--rounds: got {LONG}"),
    (f"lab bound --seeds {LONG}", f"--seeds: got {LONG}"),
    (f"study --workers {LONG}", f"--workers: got {LONG}"),
    ("sample {run} --count 1000000000", "--count: got 1000000000, which takes 953.7 GiB"),
    (f"sample {{run}} --count {LONG}", f"--count: got {LONG}"),
    ("sample {run} --interpolate --steps 100000", "--steps: got 100000, takes fewer: a picture"),
    ("sample {run} --interpolate --count 150 --steps 200", "--count: got 150, which takes"),
    (f"evaluate {{run}} --samples {LONG}", f"--samples: got {LONG}"),
    (f"evaluate {{run}} --examples {LONG}", f"--examples: got {LONG}"),
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of one epoch on digits."""
    from diptych.cli import main  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("run")
    with pytest.raises(SystemExit):
        main(["train", "mlp_vae", "--epochs", "1", "--set", "hidden_dim=4", "--out", str(folder)])
    return folder


@pytest.mark.parametrize(("command", "message"), COMMANDS, ids=[c for c, _ in COMMANDS])
def test_a_huge_number_is_one_line_that_names_it(
    run, trained, tmp_path, monkeypatch, command, message
):
    monkeypatch.setattr(limits, "SMALL", 2**20)
    monkeypatch.setattr(limits, "available_memory", lambda: 2**21)
    words = command.format(run=trained).split()
    if words[0] in ("train", "study", "lab"):
        words += ["--out", str(tmp_path / "out")]
    status, _, error = run(*words)
    assert status == 1 and message in error and error.count("\n") == 1, error


def test_the_largest_int_is_taken_and_the_next_one_is_not():
    check_positive_int("rounds", LARGEST)
    with pytest.raises(ValueError, match="rounds: got 2147483648, takes an int <= 2147483647"):
        check_positive_int("rounds", LARGEST + 1)


def test_a_task_asks_for_memory_only_where_it_needs_much(monkeypatch):
    asked = []
    monkeypatch.setattr(limits, "available_memory", lambda: asked.append(1) or 2**30)
    task = data.load("copy:5:2")
    task.draw(Key(0), 8)
    assert not asked
    with pytest.raises(ValueError, match=r"count: got 10000000, which takes 1\.7 GiB of memory"):
        task.draw(Key(0), 10**7)


def test_a_container_with_less_memory_than_the_machine_is_seen(monkeypatch, tmp_path):
    for name, text in (("limit", "3000"), ("usage", "1000"), ("endless", "max\n")):
        (tmp_path / name).write_text(text)
    limit, usage, endless = (str(tmp_path / name) for name in ("limit", "usage", "endless"))
    monkeypatch.setattr(limits, "GROUPS", ((limit, usage), (endless, usage), ("/none", "/none")))
    assert limits.available_memory() == 2000
    monkeypatch.setattr(limits, "GROUPS", ((endless, usage),))
    assert limits.available_memory() > 2**20
