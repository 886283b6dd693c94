"""The standard deviation of a learned variance with a floor, from its definition."""

import numpy as np


def floored_sigma(logvar, floor):
    """sqrt(e^logvar + e^floor); a floor of None adds nothing."""
    return np.sqrt(np.exp(logvar) + (0 if floor is None else np.exp(floor)))
