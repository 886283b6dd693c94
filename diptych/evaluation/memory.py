"""An estimate of the memory that an evaluation takes, and the number of examples that fit."""

from __future__ import annotations

import math
from typing import Any

from diptych import pairs
from model_specs.common.fields import check_real

ARRAYS = 32
"""The assumed number of arrays of the widest layer that are alive at the same time. Measured at the
peak of `log_weight`, over both panels and dtypes: 3 to 5 for an MLP VAE with Bernoulli pixels, 5 to
7 for the convolutional one, 25 for a truncated Gaussian's density; and 16 float32 ones where noise
as wide as the widest layer is drawn, which is done in 64-bit integers."""


def memory_of(model: Any, rows: int) -> float:
    """MiB that an evaluation of `rows` examples, of one sample each, takes at a time.

    For any number of rows, a copy of each weight may be alive, and the matrices of patches of two
    examples: the current one and the next.
    """
    sizes, values = pairs.traits(model.config).memory, 0
    if sizes.copies_weights:
        values += sum(math.prod(parameter.data.shape) for parameter in model.parameters())
    values += 2 * sizes.columns + rows * ARRAYS * sizes.widest
    return values * model.dtype.itemsize / 2**20


def rows_within(memory_mb: float, model: Any) -> int:
    """The number of examples, of one sample each, that fit into `memory_mb` MiB.

    Raises: ValueError if not even one fits.
    """
    check_real("memory_mb", memory_mb, above=0)
    least = memory_of(model, 1)
    if memory_mb < least:
        rounded = math.ceil(100 * least) / 100
        raise ValueError(f"memory_mb: got {memory_mb:g}, one sample takes {rounded:g}")
    return 1 + int((memory_mb - least) / (memory_of(model, 2) - least))
