"""The sweeps: one size of a model grows, and all others stay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from model_specs.common.effects import changed
from model_specs.conv_vae import ConvVAEConfig
from model_specs.lstm import LSTMConfig
from model_specs.mlp_vae import MLPVAEConfig
from model_specs.rnn import RNNConfig
from model_specs.vlae import VLAEConfig

STEP, LOG_WEIGHT = "step", "log_weight"
"""The operations: a training step, and the importance weights of an evaluation."""
BATCH, DRAWS = "batch", "K"
"""Names of sizes that are no fields of a config: examples in a batch, and importance samples."""


class Point(NamedTuple):
    """One configuration of a sweep."""

    config: Any
    batch_size: int
    draws: int
    """Importance samples of `log_weight`."""


@dataclass(frozen=True)
class Sweep:
    """The values of one size of a model, and the sizes that stay."""

    model: str
    axis: str
    """The size that grows, in words."""
    names: tuple[str, ...]
    """The fields of the config that have its value; or BATCH or DRAWS."""
    values: tuple[int, ...]
    config: Any
    batch_size: int
    operation: str = STEP
    draws: int = 1

    def point(self, value: int) -> Point:
        """The configuration at one value; fields that lose their effect become defaults."""
        sizes = {BATCH: self.batch_size, DRAWS: self.draws}
        fields: Mapping[str, Any] = {name: value for name in self.names if name not in sizes}
        sizes |= {name: value for name in self.names if name in sizes}
        return Point(changed(self.config, **fields), sizes[BATCH], sizes[DRAWS])

    def quick(self) -> Sweep:
        """The same sweep with three of its smaller values."""
        smaller = self.values[: -len(self.values) // 3]
        values = (smaller[0], smaller[len(smaller) // 2], smaller[-1])
        return Sweep(**vars(self) | {"values": values})

    @property
    def name(self) -> str:
        return f"{self.model}, {self.axis}"


def _powers(first: int, last: int) -> tuple[int, ...]:
    """first, 2 first, 4 first, ... up to `last`."""
    values = [first]
    while values[-1] < last:
        values.append(2 * values[-1])
    return tuple(values)


MLP = MLPVAEConfig(784, 400, 20)
CONV = ConvVAEConfig(image_size=32, base_channels=16)
VLAE = VLAEConfig(hidden_dim=64, latent_dim=16, flow_hidden_dim=64, flow_steps=2)
RNN = RNNConfig(input_dim=64, hidden_dim=256, output_dim=64, seq_len=32)
LSTM = LSTMConfig(vocab_size=1000, embedding_dim=128, hidden_dim=128, seq_len=16)
SIDES = (16, 32, 48, 64, 96, 128)

SWEEPS = (
    Sweep("mlp_vae", "batch", (BATCH,), _powers(8, 4096), MLP, 128),
    Sweep("mlp_vae", "hidden units", ("hidden_dim",), _powers(32, 4096), MLP, 128),
    Sweep("mlp_vae", "importance samples", (DRAWS,), _powers(1, 512), MLP, 16, LOG_WEIGHT),
    Sweep("conv_vae", "batch", (BATCH,), _powers(2, 128), CONV, 16),
    Sweep("conv_vae", "channels", ("base_channels",), _powers(2, 64), CONV, 16),
    Sweep("conv_vae", "image side", ("image_size",), SIDES, CONV, 8),
    Sweep("vlae", "batch", (BATCH,), _powers(1, 64), VLAE, 8),
    Sweep("vlae", "image side", ("height", "width"), (8, 12, 16, 24, 32, 48, 64), VLAE, 8),
    Sweep("rnn", "batch", (BATCH,), _powers(4, 512), RNN, 64),
    Sweep("rnn", "hidden units", ("hidden_dim",), _powers(32, 1024), RNN, 64),
    Sweep("rnn", "steps", ("seq_len",), _powers(4, 256), RNN, 64),
    Sweep("lstm", "batch", (BATCH,), _powers(4, 256), LSTM, 32),
    Sweep("lstm", "hidden units", ("hidden_dim", "embedding_dim"), _powers(16, 1024), LSTM, 32),
    Sweep("lstm", "steps", ("seq_len",), _powers(4, 128), LSTM, 32),
)
"""All sweeps. Dropout is off, and the models are small enough that a sweep takes seconds."""
