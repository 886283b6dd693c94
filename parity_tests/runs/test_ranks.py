"""Several processes that train one model: what each computes adds up to what one would."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.ranks_worker import CASES, gradients, panel_of
from torch import nn

from diptych import data
from diptych.arrays import to_numpy
from diptych.files import load_arrays
from diptych.panels import make_panel
from diptych.panels.ranks import Ranks, joined
from diptych.parity.measures.rows import normwise
from diptych.runs.folder import RunFolder, read_metrics
from diptych.training.presets import settings
from diptych.training.train import train
from model_specs.common.key import Key
from torch_impl.nn.normalisation import SyncBatchNorm2d, synchronised

BOUND, TRAJECTORY = 1e-13, 1e-10
FIELDS = {"base_channels": 3, "latent_dim": 4}
RUN = {"dtype": "float64", "epochs": 1, "batch_size": 64, "checkpoint_every": 7, "clip": 50.0}
RUN |= {"optimizer": "adamax", "polyak": 0.8}


def torchrun(ranks: int, *arguments: str | Path) -> list[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return [*launcher, "--nproc-per-node", str(ranks), *map(str, arguments)]


def command(ranks: int, out: Path, *more: str) -> list[str]:
    """`diptych train` with RUN's settings."""
    options = ["--data", "digits16", "--dtype", "float64", "--epochs", "1", "--batch-size", "64"]
    options += ["--checkpoint-every", "7", "--clip", "50", "--sync-batchnorm", "--out", str(out)]
    options += ["--optimizer", "adamax", "--polyak", "0.8"]
    options += [o for name, value in FIELDS.items() for o in ("--set", f"{name}={value}")]
    return torchrun(ranks, "-m", "diptych", "train", "conv_vae", *options, *more)


def finished(arguments: list[str]) -> str:
    result = subprocess.run(arguments, capture_output=True, text=True, env=ENV, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


ENV = os.environ | {"OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    """The folder of the arrays that two gloo ranks computed."""
    folder = tmp_path_factory.mktemp("ranks")
    finished(torchrun(2, Path(__file__).parents[1] / "helpers" / "ranks_worker.py", folder))
    return folder


@pytest.fixture(scope="module")
def one_process(tmp_path_factory):
    """The run of `command` on the left panel, in one process."""
    return run_of_left(tmp_path_factory.mktemp("left") / "run")


def run_of_left(folder, **changes):
    """The run of `command` in one process of NumPy, with other settings."""
    dataset = data.load("digits16")
    run = RUN | {"backend": "numpy"} | changes
    return train(settings("conv_vae", "digits16", dataset, None, FIELDS, run), dataset, folder)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("rank", [0, 1])
def test_two_ranks_have_the_gradient_of_the_whole_batch(two_ranks, name, rank):
    """The NumPy panel sees all of it at once; batch normalisation is synchronised."""
    result, _ = load_arrays(two_ranks / f"{name}-{rank}.safetensors")
    want = gradients(CASES[name], panel_of(CASES[name], "numpy", Ranks()), Ranks())
    assert result.keys() == want.keys()
    for key, array in want.items():
        assert normwise(to_numpy(result[key]), to_numpy(array)) <= BOUND, key


def test_the_parts_add_up_on_the_left_panel_too():
    case = CASES["dense, odd, sum"]
    whole = gradients(case, panel_of(case, "numpy", Ranks()), Ranks())
    parts = [gradients(case, panel_of(case, "numpy", Ranks()), Ranks(r, 3)) for r in range(3)]
    for key, array in whole.items():
        if not key.startswith("state"):
            assert normwise(sum(np.array(part[key]) for part in parts), np.array(array)) <= BOUND


def test_ranks_agree_and_the_first_answers_for_all(two_ranks):
    for rank in (0, 1):
        _, outcome = load_arrays(two_ranks / f"answers-{rank}.safetensors")
        error = outcome.pop("error")
        assert outcome == {"flag": True, "none": False, "answer": 40} and "asked: got -1" in error


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("examples", [1, 2, 3, 4, 5, 7, 64])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_every_example_is_in_one_part(size, examples, reduction):
    parts = [Ranks(r, size).shard(examples, reduction) for r in range(size)]
    rows = np.concatenate([np.arange(examples)[rows] for rows, _ in parts])
    counted = np.concatenate(
        [
            np.full(r.stop - r.start, s if reduction == "sum" else s / (r.stop - r.start))
            for r, s in parts
        ]
    )
    total = np.bincount(rows, weights=counted, minlength=examples)
    np.testing.assert_allclose(total, 1 if reduction == "sum" else 1 / examples)
    assert all(r.stop - r.start >= min(2, examples) for r, _ in parts)
    if examples >= 2 * size:
        assert list(rows) == list(range(examples))


@pytest.mark.parametrize("size", [1, 2, 4])
def test_the_noise_is_the_same_on_any_number_of_ranks(size):
    case = CASES["normalised"]
    model = panel_of(case, "numpy", Ranks()).model
    parts = [Ranks(r, size).shard(9, "mean")[0] for r in range(size)]
    drawn = [model.draw_noise(Key(5), p.stop - p.start, first=p.start).eps for p in parts]
    np.testing.assert_array_equal(np.concatenate(drawn), model.draw_noise(Key(5), 9).eps)


def test_an_error_of_one_rank_is_one_error(tmp_path):
    """Rank 0 alone looks at the folder; its error ends the other ranks too."""
    (tmp_path / "file").write_text("somebody's")
    result = subprocess.run(
        command(2, tmp_path / "file" / "below"),
        capture_output=True,
        text=True,
        env=ENV,
        check=False,
    )
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert result.returncode != 0 and len(errors) in (1, 2)  # torchrun may end the second first
    (outcome,) = {line.replace("error: rank 1: ", "error: ") for line in errors}
    assert "cannot write there" in outcome


@pytest.mark.parametrize("optimizer", ["adamax", "rmsprop"])
def test_twenty_steps_on_two_ranks_end_in_the_same_weights(one_process, tmp_path, optimizer):
    outcome = finished(command(2, tmp_path / "run", "--optimizer", optimizer))
    if optimizer != RUN["optimizer"]:
        one_process = run_of_left(tmp_path / "left", optimizer=optimizer)
    assert outcome.count("21 steps") == 1  # one of them speaks
    folder = RunFolder(tmp_path / "run")
    assert folder.settings()["ranks"] == 2
    for file in ("weights.safetensors", "checkpoint.safetensors"):  # averages, and all there is
        ours, theirs = (load_arrays(f.path / file)[0] for f in (folder, one_process.folder))
        assert list(ours) == list(theirs)
        for name, array in ours.items():
            assert normwise(array, theirs[name]) <= TRAJECTORY, name
    logs = [read_metrics(f.metrics_file) for f in (folder, one_process.folder)]
    assert len(logs[0]) == len(logs[1]) == 22  # one of them writes
    for a, b in zip(*logs, strict=True):
        terms = [(a[k], b[k]) for k in ("total", "recon", "kl") if k in a]
        terms += [(a["valid"][k], b["valid"][k]) for k in a.get("valid", ())]
        assert terms and all(abs(x - y) <= TRAJECTORY * abs(y) for x, y in terms)


def test_a_run_killed_on_two_ranks_goes_on_in_one(one_process, tmp_path):
    """To the same weights, for nothing that decides them is any rank's own."""
    out = tmp_path / "run"
    process = subprocess.Popen(
        command(2, out), env=ENV, start_new_session=True, stdout=subprocess.DEVNULL
    )
    try:
        begun = time.monotonic()
        while not (out / "checkpoint.safetensors").exists():
            assert process.poll() is None and time.monotonic() - begun < 120
            time.sleep(0.01)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    finished([sys.executable, *command(1, out, "--resume")[6:]])
    ours, theirs = (load_arrays(f.last_file)[0] for f in (RunFolder(out), one_process.folder))
    for name, array in ours.items():
        assert normwise(array, theirs[name]) <= TRAJECTORY, name


class Behind(Ranks):
    """A rank whose disk has not the checkpoint that rank 0 goes on from."""

    def broadcast(self, ask):
        return 14 if isinstance(ask(), int) else None


def test_a_rank_that_stands_elsewhere_ends_the_run(one_process, tmp_path):
    dataset = data.load("digits16")
    shutil.copytree(one_process.folder.path, tmp_path / "run")
    with pytest.raises(ValueError, match="differs between the ranks: rank 0 is at step 14"):
        train(one_process.folder.config(), dataset, tmp_path / "run", resume=True, ranks=Behind())


def test_what_cannot_be_shared_is_refused(tmp_path, monkeypatch):
    ranks = Ranks(0, 2)
    case = CASES["dense"]
    with pytest.raises(ValueError, match="backend: got 'numpy' with 2 ranks, several take 'torch'"):
        make_panel(case.model, case.config, "numpy", key=Key(0), ranks=ranks)
    monkeypatch.setattr("diptych.panels.right.DistributedDataParallel", lambda loss: loss)
    dataset = data.load("copy:5:1")
    config = settings("lstm", "copy:5:1", dataset, None, {}, {})
    with pytest.raises(ValueError, match="ranks: got 2, copy:5:1 is trained on in one process"):
        train(config, dataset, tmp_path / "run", ranks=ranks)
    assert not (tmp_path / "run").exists()
    monkeypatch.setenv("WORLD_SIZE", "2")
    with (
        pytest.raises(ValueError, match="device: got 'cuda:1', several ranks take"),
        joined("cuda:1"),
    ):
        pass


def test_synchronised_normalisation_is_torchs_in_one_process(rng):
    """The same in evaluation, and with torch's names: its weights load into any run."""
    theirs = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)).double()
    ours = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)).double()
    assert synchronised(ours) == [ours[1]] and type(ours[1]) is SyncBatchNorm2d
    ours.load_state_dict(theirs.state_dict())
    x = torch.from_numpy(rng.normal(size=(4, 2, 5, 5)))
    for training_mode in (True, False):
        ours.train(training_mode), theirs.train(training_mode)
        assert torch.equal(ours(x), theirs(x))
    assert list(ours.state_dict()) == list(theirs.state_dict())
