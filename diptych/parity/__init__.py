"""Parity: compare a pair tensor by tensor, and find the first that diverges."""

from diptych.parity.compare import compare
from diptych.parity.plugin import assert_parity
from diptych.parity.report import Report, Row

__all__ = ["Report", "Row", "assert_parity", "compare"]
