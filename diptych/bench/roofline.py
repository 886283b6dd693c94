"""The least time that a machine's peak rates allow for an operation, and its share of a time.

    limit = max(flops / peak flops, bytes / peak bytes);   fraction = limit / seconds

A fraction of 1 is an implementation that nothing can beat on this machine but a better peak. Costs
are the least ones (see diptych.bench.costs), so that the limit is below any implementation's time.
Source: Williams, Waterman & Patterson (2009).
"""

from __future__ import annotations

from typing import NamedTuple

from diptych.bench.costs import Cost
from diptych.bench.peaks import Peak

BOUNDS = ("flops", "bytes")


class Limit(NamedTuple):
    """The least seconds, and what sets them."""

    seconds: float
    bound: str
    """One of BOUNDS: the matrix products take longer (flops), or the memory traffic (bytes)."""


def limit(cost: Cost, peak: Peak) -> Limit:
    """The least time of an operation at these peak rates.

    >>> limit(Cost(flops=2e9, bytes=1e6, dense_flops=2e9, traffic=1e7), Peak(1e11, 1e10))
    Limit(seconds=0.02, bound='flops')
    """
    seconds = cost.flops / peak.flops, cost.bytes / peak.bytes
    return Limit(max(seconds), BOUNDS[seconds.index(max(seconds))])


def fraction(cost: Cost, peak: Peak, seconds: float) -> float:
    """limit / seconds, the share of the roofline that an operation of `seconds` reaches.

    Raises: ValueError for a time that is not positive.
    """
    if not seconds > 0:
        raise ValueError(f"seconds: got {seconds!r}, takes a positive number")
    return limit(cost, peak).seconds / seconds
