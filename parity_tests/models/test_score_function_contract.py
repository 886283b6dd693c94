"""The contract of the score-function gradient: bad input is one clear error on both panels."""

import numpy as np
import pytest
import torch
from helpers.random_vae_batches import KEY, batch, odd_config

from model_specs.mlp_vae import MLPVAENoise
from numpy_ref import score_function as left_side
from torch_impl import score_function as right_side


@pytest.fixture(params=["left", "right"])
def side(request, make_pair):
    """(make model, loss, to arrays) of one panel."""

    def model(**options):
        return make_pair(odd_config(**options))[request.param == "right"]

    if request.param == "left":
        return model, left_side.score_function_loss, lambda array: array
    return model, right_side.score_function_loss, torch.from_numpy


def test_bad_input_is_one_clear_error(side, make_pair):
    model, loss, array = side
    good, x = model(), array(batch(5, 13))
    noise = good.draw_noise(KEY, 5, samples=2)
    with pytest.raises(ValueError, match=r"baseline: got 'mean', takes one of 'none', 'leave"):
        loss(good, x, noise, baseline="mean")
    with pytest.raises(ValueError, match=r"eps: got 1 draw .*takes 2 or more"):
        loss(good, x, good.draw_noise(KEY, 5, samples=1), baseline="leave_one_out")
    with pytest.raises(ValueError, match=r"posterior: got 'sigma', takes 'logvar'"):
        loss(model(posterior="sigma"), x, noise)
    with pytest.raises(ValueError, match=r"model: got Linear, takes .*mlp_vae.MLPVAE"):
        loss(good.encoder_hidden, x, noise)
    other = next(m for m in make_pair(odd_config()) if type(m) is not type(good))
    with pytest.raises(ValueError, match=r"model: got MLPVAE, takes .*mlp_vae.MLPVAE"):
        loss(other, x, noise)
    for bad in (np.zeros((4, 2, 3)), np.zeros((5, 2, 4)), np.full((5, 2, 3), np.nan)):
        with pytest.raises(ValueError, match=r"eps: got .*takes"):
            loss(good, x, MLPVAENoise(array(bad)))
    with pytest.raises(ValueError, match=r"x: got .*takes"):
        loss(good, array(batch(5, 13) + 1), noise)
