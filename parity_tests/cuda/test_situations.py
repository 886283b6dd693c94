"""Every pair and variant computes on a CUDA device what it computes on the CPU, bit for bit.

By default each variant is run in one or two situations, and the first variant of each model in
all of them, so that each kind of situation occurs with each model and each dtype. All variants are
run in all situations under

    pytest parity_tests/cuda --all-situations         (make test-all)
"""

import pytest
from helpers.pretended_cuda.situations import KINDS, applies

from diptych import pairs

NAMES = pairs.names()
DTYPES = ("float64", "float32")


def cases_of(name, everything):
    """The situations (kind, name, dtype) of a variant."""
    cases = [(k, name, dtype) for dtype in DTYPES for k in KINDS if applies(k, name, dtype)]
    if everything or "[" not in name:
        return cases
    number = NAMES.index(name)
    some = {cases[number % len(cases)]}
    if "28x28" not in name and "784" not in name:  # seconds each
        some.add(cases[(5 * number + 3) % len(cases)])
    return sorted(some)


@pytest.mark.parametrize("name", NAMES)
def test_a_pair_computes_on_the_device_what_it_computes_on_the_cpu(pretended, name, pytestconfig):
    cases = cases_of(name, pytestconfig.getoption("--all-situations"))
    answers = pretended.ask("situations", cases=cases)
    faults = {}
    for case, answer in zip(cases, answers, strict=True):
        lines = [e for e in answer["ledger"]["lines"] if e["kind"] == "error"]
        if answer["problems"] or lines:
            faults[case] = [*answer["problems"], *lines]
    assert faults == {}


def test_each_kind_of_situation_occurs_by_default_with_each_model_and_dtype():
    chosen = {(k, n.partition("[")[0], d) for name in NAMES for k, n, d in cases_of(name, False)}
    every = {(k, n.partition("[")[0], d) for name in NAMES for k, n, d in cases_of(name, True)}
    missing = every - chosen
    # the first RNN reads no tokens: its variants of equal sizes continue a text
    assert {kind for kind, *_ in missing} <= {"sampling", "reconstruction"}
    assert {(k, d) for k, _, d in chosen} == {(k, d) for k, _, d in every}


def test_all_situations_are_many():
    assert sum(len(cases_of(name, True)) for name in NAMES) > 600
