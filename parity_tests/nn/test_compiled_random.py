"""Compiled random bits are those of the eager function."""

import threading

import torch

from diptych.panels import make_panel
from diptych.panels.engine import Engine
from model_specs.common.key import Key
from model_specs.mlp_vae import MLPVAEConfig
from torch_impl.nn import random

KEY = Key(7)


def test_a_compiled_philox_draws_the_same_bits_masks_and_normals():
    """Of every key and size, by one compilation."""
    for key, size, start in ((KEY, 50, 0), (KEY.fold_in("other"), 333, 2**34 - 3)):
        with random.compiled():
            bits = random.bits(key, size, start)
            mask, eps = random.dropout_mask(key, size, 0.3, start), random.normal(key, size, start)
        assert torch.equal(bits, random.bits(key, size, start))
        assert torch.equal(mask, random.dropout_mask(key, size, 0.3, start))
        assert torch.equal(eps, random.normal(key, size, start))


def test_the_context_is_of_its_thread_and_of_an_enabled_engine(monkeypatch):
    calls = []
    monkeypatch.setattr(random, "_compile_philox", lambda: calls.append(1) or random.philox4x32)
    config = MLPVAEConfig(5, 4, 3)
    expected = None
    for engine, count in ((Engine(), 0), (Engine(compile=True), 1)):
        panel = make_panel("mlp_vae", config, "torch", key=KEY, engine=engine)
        eps = panel.draw_noise(KEY, 6, first=2).eps
        expected = eps if expected is None else expected
        assert torch.equal(eps, expected) and len(calls) == count
    with random.compiled():
        thread = threading.Thread(target=random.bits, args=(KEY, 8))
        thread.start(), thread.join()
        assert len(calls) == 1
        random.bits(KEY, 8)
        assert len(calls) == 2
    random.bits(KEY, 8)
    assert len(calls) == 2
