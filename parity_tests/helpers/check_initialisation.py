"""Initialise a model by its data, and assert that its layers are normalised on both panels."""

import numpy as np
from helpers.layers_with_same_weights import (
    normalised_layers,
    record_layer_outputs,
)
from helpers.run_layers import outputs_of
from torch import nn

from diptych import weights
from diptych.parity.measures.rows import normwise
from numpy_ref.nn import weight_norm as left_side
from torch_impl.nn import weight_norm as right_side


def initialize_by(model, *inputs):
    """Initialise the model on these inputs, and return the outputs of its layers meanwhile."""
    side = right_side if isinstance(model, nn.Module) else left_side
    return record_layer_outputs(
        model, lambda: side.data_dependent_init(model, lambda: outputs_of(model, *inputs))
    )


def state_of(model):
    return {n: a.copy() for n, a in weights.to_arrays(model.state_dict()).items()}


def assert_normalised(outputs):
    """Assert mean 0 and variance 1 over all axes but that of the outputs."""
    axes = 0, *range(2, outputs.ndim)
    np.testing.assert_allclose(outputs.mean(axes), 0, atol=1e-12)
    np.testing.assert_allclose(outputs.var(axes), 1, rtol=1e-12)


def assert_all_normalised(model, result):
    """Assert that every layer was used, and is normalised at its first use."""
    firsts = {}
    for name, outputs in result:
        firsts.setdefault(name, outputs)
    assert firsts.keys() == normalised_layers(model).keys()
    for outputs in firsts.values():
        assert_normalised(outputs)


def assert_same_lengths_and_biases(left, right, bound=1e-13):
    """Compare length and bias of each layer together, for a bias alone may be rounding about 0."""
    ours, theirs = state_of(left), state_of(right)
    for name in normalised_layers(left):
        pair = [
            np.concatenate(
                [state[f"{name}.{leaf}".lstrip(".")].ravel() for leaf in ("weight_g", "bias")]
            )
            for state in (ours, theirs)
        ]
        assert normwise(*pair) <= bound, name


def bits(rng, *shape):
    return (rng.random(shape) < 0.4).astype(float)
