"""Specification of the score-function estimator: its baselines."""

from __future__ import annotations

BASELINES = ("none", "leave_one_out")
"""Baseline that is subtracted from the cost of a draw. none: 0. leave_one_out: the mean cost of the
example's other draws, for L >= 2."""
