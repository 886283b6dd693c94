"""The dropout schemes of recurrent networks, and the shapes of the masks that each one draws."""

import pytest
from helpers.small_recurrent_networks import CELLS, T

from model_specs.recurrent.dropout import SCHEMES

RATE = 0.3
# scheme -> steps with masks of their own, L + 1 places on the inputs or none, L on h or none
DRAWN = {
    "none": (0, False, False),
    "per_step": (T, True, False),
    "variational": (1, True, False),
    "variational_recurrent": (1, True, True),
    "recurrent": (T, False, True),
}
on_both_cells = pytest.mark.parametrize("cell", CELLS)
with_each_scheme = pytest.mark.parametrize("scheme", SCHEMES)
with_masks = pytest.mark.parametrize("scheme", [name for name in SCHEMES if name != "none"])
