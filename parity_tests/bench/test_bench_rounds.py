"""Rounds, crossovers and cuts of a benchmark: arithmetic that needs no clock."""

import math

import pytest

from diptych.bench import clock
from diptych.bench.case import Case
from diptych.bench.crossover import Crossover, crossover, crossovers
from diptych.bench.points import QUICK, Limits, Point, Settings, plan
from diptych.bench.reach import Cost, Reach, predicted_memory, predicted_seconds
from diptych.bench.turns import Timing, interleaved, ratio


def test_backends_take_turns_and_the_first_round_is_not_counted():
    order, seconds = [], iter(range(1, 100))

    def turn(name):
        order.append(name)
        return {"seconds": next(seconds), "calls": 7}

    asks = {name: lambda n=name: turn(n) for name in "ab"}
    timings = interleaved(asks, rounds=2, budget=math.inf)
    assert order == ["a", "b"] * 3
    assert timings == {"a": Timing([3, 5], 14), "b": Timing([4, 6], 14)}


@pytest.mark.parametrize(("budget", "rounds"), [(math.inf, 9), (5.0, 4), (0.0, 3)])
def test_rounds_end_with_the_budget_but_not_before_the_least(budget, rounds):
    now = [0.0]

    def ask():
        now[0] += 1
        return {"seconds": 1.0, "calls": 1}

    timing = interleaved({"a": ask}, 9, budget, least_rounds=3, now=lambda: now[0])["a"]
    assert len(timing.seconds) == rounds


def test_a_slower_backend_has_a_ratio_above_1():
    """The ratio is the median over rounds of the ratios, not the ratio of the medians."""
    slow, base = Timing([2, 12, 5], 3), Timing([1, 3, 5], 3)
    assert ratio(slow, base) == 2 and ratio(base, base) == 1
    assert slow.median == 5 and slow.interquartile == 8.5 - 3.5


@pytest.mark.parametrize(("seconds", "counted"), [(0.02, 5), (1e-6, clock.CALLS), (10.0, 1)])
def test_a_turn_has_calls_of_limited_time(monkeypatch, seconds, counted):
    calls = []
    monkeypatch.setattr(clock, "seconds", lambda run: run() or seconds)
    assert clock.turn(lambda: calls.append(1)) == (seconds, counted)
    first = math.ceil(clock.SETTLE / seconds) if seconds < clock.SETTLE else 1
    assert abs(len(calls) - first - counted) <= 1


def test_a_crossover_lies_where_the_lines_between_logarithms_meet():
    """From batch 4 to 64 NumPy's time grows 16-fold, the other's stays: they meet at 16."""
    point = crossover([1, 4, 64], [0.1, 0.5, 8.0], [2.0, 2.0, 2.0])
    assert point.batch == pytest.approx(16) and point.seconds == pytest.approx(2)
    assert point.text("torch") == "torch overtakes NumPy at batch 16"


def test_a_backend_that_is_always_or_never_faster_has_no_crossover_in_between():
    always = crossover([2, 8], [3.0, 9.0], [1.0, 1.0])
    assert always.text("torch") == "torch is faster than NumPy from batch 2 on"
    never = crossover([2, 8], [1.0, 1.0], [3.0, 9.0])
    assert never == Crossover(None, None, 2, 8)
    text = "torch is not faster than NumPy at batch 8, the largest that was timed"
    assert never.text("torch") == text
    lost = crossover([1, 2, 4], [3.0, 1.0, 1.0], [2.0, 2.0, 2.0])
    assert lost.batch is None, "faster at batch 1 alone"


def test_crossovers_are_those_of_each_curve():
    def row(backend, batch, ms):
        key = {"model": "m", "config": "c", "dtype": "float32", "operation": "step"}
        return key | {"backend": backend, "batch": batch, "ms": ms}

    speed = [row("numpy", 1, 1.0), row("torch", 1, 4.0), row("numpy", 16, 16.0)]
    speed += [
        row("torch", 16, 4.0),
        row("torch", 64, 9.0),
        row("numpy", 16, 16.0) | {"config": "d"},
    ]
    ((key, point),) = crossovers(speed)
    assert (key["config"], key["backend"]) == ("c", "torch")
    assert point.batch == pytest.approx(4)


def test_time_and_memory_of_the_next_size_follow_from_the_last_two():
    costs = [Cost(4, 0.1, 100), Cost(16, 0.4, 220)]
    assert predicted_seconds(costs, 64) == pytest.approx(1.6)
    assert predicted_memory(costs, 64) == pytest.approx(220 + 48 * 10)
    assert predicted_seconds(costs[:1], 64) == pytest.approx(0.4)
    assert predicted_memory(costs[:1], 64) == predicted_seconds([], 64) == 0


def test_a_sweep_is_cut_where_a_step_or_its_comparison_takes_too_long():
    reach = Reach(Limits(step=1.0, comparison=5.0), 1000, ["numpy", "torch", "torch compiled"])
    reach.costs["torch"] = [Cost(4, 0.1, 100), Cost(16, 0.4, 220)]
    point = Point(Case("mlp_vae", "784-400-20, batch 128", 64, "float32"), ("step",), False)
    assert not reach.allows("torch", point)
    assert reach.reasons == {"torch": "a step would take 1.6 s"}
    reach.costs["numpy"] = [Cost(16, 0.45, 1), Cost(32, 0.9, 1)]
    assert not reach.allows("numpy", point)
    reach.limits = Limits(step=10.0, comparison=5.0)
    reach.reasons.clear()
    assert not reach.allows("torch compiled", point)
    assert "the comparison with the left panel would take 11 s" in reach.reasons.values()
    reach.limits = Limits(step=10.0, comparison=50.0, memory=0.5)
    reach.reasons.clear()
    assert not reach.allows("torch", point)
    assert reach.reasons["torch"].endswith("GiB")
    reach.compilation["torch compiled"] = 90.0
    assert not reach.allows("torch compiled", point)
    assert reach.reasons["torch compiled"] == "compiling takes 90 s for each batch size"


def test_the_own_batch_of_a_model_is_never_cut():
    reach = Reach(QUICK, 1000, ["torch"])
    reach.reasons["torch"] = "a step would take 9 s"
    point = Point(Case("mlp_vae", "784-400-20, batch 128", 128, "float32"), ("step",), True)
    assert reach.allows("torch", point)


def test_every_configuration_is_measured_and_the_first_is_swept():
    series = plan(Settings(models=("mlp_vae",), dtypes=("float32",), sizes=(1, 128, 512)))
    batches = {one.size: [point.case.batch_size for point in one.points] for one in series}
    assert batches == {"784-400-20, batch 128": [1, 128, 512], "16-32-2, batch 64": [64]}
    operations = [point.operations for point in series[0].points]
    assert operations == [("step",), ("forward", "gradients", "step"), ("step",)]
    quick = plan(Settings(models=("lstm",), quick=True, dtypes=("float32",)))
    assert [one.size for one in quick] == ["H 200, T 35, batch 20"]
    parts = plan(Settings(models=("lstm",), dtypes=("float32",), parts=True))
    assert "recurrent body" in parts[1].points[0].operations
