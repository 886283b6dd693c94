"""What the score-function estimator may take off the cost that it weighs scores with."""

from __future__ import annotations

BASELINES = ("none", "leave_one_out")
"""none: nothing. leave_one_out: the mean cost of the example's other draws, L >= 2."""
