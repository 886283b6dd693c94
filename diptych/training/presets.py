"""Published settings by name: fields of the model and of the run, each with its source.

The table is read without torch, which `diptych list presets` does not need.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from diptych.names import lookup

if TYPE_CHECKING:
    from diptych.data import Data
    from diptych.runs.config import RunConfig


@dataclass(frozen=True)
class Preset:
    """The settings of `diptych train MODEL --preset NAME`; the user's own options override them."""

    model: str
    """The name of the model."""
    source: str
    """The publication that the settings come from."""
    fields: dict[str, Any] = field(default_factory=dict)
    """The fields of the model's config that the preset sets."""
    run: dict[str, Any] = field(default_factory=dict)
    """The fields of RunConfig that the preset sets."""
    data: str | None = None
    """The data set if the user names none; None stands for the model's default."""


ZAREMBA = "Zaremba, Sutskever & Vinyals (2014), arXiv 1409.2329, section 4.1"


def _zaremba(
    hidden: int,
    rate: float,
    steps: int,
    scale: float,
    constant_epochs: int,
    decay: float,
    clip: float,
    n: int,
) -> Preset:
    """Two layers, batch 20, SGD from learning rate 1.

    `constant_epochs` is the paper's number of epochs, to which one is added: in the authors' own
    code the first decay comes after epoch max_epoch + 1.
    """
    width = {"embedding_dim": hidden, "hidden_dim": hidden, "num_layers": 2}
    scheme = {"scheme": "per_step" if rate else "none", "rate": rate}
    rates = {
        "lr": 1.0,
        "schedule": "constant-then-decay",
        "constant_epochs": constant_epochs + 1,
        "decay": 1 / decay,
    }
    return Preset(
        "lstm",
        ZAREMBA,
        width | scheme | {"seq_len": steps, "init_scale": scale},
        rates | {"optimizer": "sgd", "batch_size": 20, "clip": clip, "epochs": n},
        "topics",
    )


PRESETS = {
    # "non-regularized": 200 units, T 20, U(-0.1, 0.1), 4 epochs, then / 2, clip 5, 13 epochs
    "zaremba-small": _zaremba(200, 0.0, 20, 0.1, 4, 2.0, 5.0, 13),
    # 650 units, 50 %, T 35, U(-0.05, 0.05), 6 epochs, then / 1.2, clip 5, 39 epochs
    "zaremba-medium": _zaremba(650, 0.5, 35, 0.05, 6, 1.2, 5.0, 39),
    # 1500 units, 65 %, T 35, U(-0.04, 0.04), 14 epochs, then / 1.15, clip 10, 55 epochs
    "zaremba-large": _zaremba(1500, 0.65, 35, 0.04, 14, 1.15, 10.0, 55),
}

GAL = "Gal & Ghahramani (2016), arXiv 1512.05287, section 5 and the authors' code of its table"


def _gal(zaremba: Preset, source: str = GAL) -> Preset:
    """Zaremba's model with variational dropout in place of dropout per step.

    The paper's large model has 0.5 on inputs and outputs, 0.3 on h_{t-1} and on words, and its code
    weight decay 1e-7. Where we differ: there each of the four gates has masks of its own, here they
    share one; there p <- p - decay * p, here torch's p <- p - lr * decay * p.
    """
    masks = {"scheme": "variational_recurrent", "recurrent_rate": 0.3, "word_rate": 0.3}
    run = zaremba.run | {"weight_decay": 1e-7}
    return Preset("lstm", source, zaremba.fields | masks, run, zaremba.data)


PRESETS["gal-medium"] = _gal(
    PRESETS["zaremba-medium"],
    GAL + "; the rates of dropout of its large model, with Zaremba's medium model and schedule",
)
# their code has max_epoch 10 where Zaremba's has 14
PRESETS["gal-large"] = _gal(_zaremba(1500, 0.5, 35, 0.04, 10, 1.15, 10.0, 55))


KINGMA = "Kingma & Welling (2013), arXiv 1312.6114"
# Tanh, the closed-form KL (estimator B), L = 1, batches of 100 and weights from N(0, 0.1^2) are
# theirs. Ours: the width, the number of latents, Adam for their Adagrad, 200 epochs of cosine.
PRESETS["kingma-welling-mnist"] = Preset(
    "mlp_vae",
    KINGMA + ", section 5 and appendix C.1; sizes and optimiser are ours",
    {"activation": "tanh", "estimator": "analytic", "samples": 1, "init": "normal"},
    {"batch_size": 100, "lr": 2e-3, "schedule": "cosine", "epochs": 200},
    "static_mnist",
)
for _latents in (2, 10):
    # the form of much teaching code: sigma without a constraint, log(p + 1e-8) for the pixels
    PRESETS[f"mnist-sigma-{_latents}"] = Preset(
        "mlp_vae",
        KINGMA + ", in the form that much teaching code has",
        {"hidden_dim": 256, "latent_dim": _latents, "posterior": "sigma"}
        | {"likelihood": "bernoulli_clamped"},
        {"epochs": 50},
        "static_mnist",
    )


CHEN = "Chen et al. (2016), arXiv 1611.02731"
# Adamax 0.002, Polyak averaging 0.998, free bits 0.01 nats a pixel are theirs; batch and epochs are
# not stated
_CHEN_RUN = {"optimizer": "adamax", "lr": 0.002, "polyak": 0.998, "batch_size": 64}

VLAE_ABLATIONS: dict[str, dict[str, Any]] = {
    "": {},
    "-gaussian": {"latent": "gaussian"},
    "-iaf": {"latent": "iaf_posterior"},
    "-factorised": {"context": "none", "latent": "gaussian"},
    "-factorised-af": {"context": "none"},
    "-factorised-iaf": {"context": "none", "latent": "iaf_posterior"},
    "-unconditional": {"latent": "none"},
}
"""The fields of each ablation, by the suffix of its preset's name."""

for _suffix, _fields in VLAE_ABLATIONS.items():
    # every size of the recipe is VLAEConfig's default
    PRESETS[f"vlae-mnist{_suffix}"] = Preset(
        "vlae", CHEN, _fields, _CHEN_RUN | {"epochs": 22}, "static_mnist"
    )
    # minutes on a CPU; for the embedded digits
    PRESETS[f"vlae-digits{_suffix}"] = Preset(
        "vlae", CHEN, _fields, _CHEN_RUN | {"epochs": 100}, "binary_digits"
    )


_MIXTURE = {"likelihood": "discretized_logistic_mixture", "channels": 3}
_GATED = {"context": "gated", "free_bits_of": "soft"}
_MAPS = {"latent_maps": 16, "strides": 2, "flow_steps": 6, "flow_hidden_dim": 128}
_MAPS |= {"flow_hidden_layers": 2}
# Theirs, for 32 x 32: 16 latent maps of 8 x 8; a flow of 6 steps, each a PixelCNN of 2 hidden
# layers of 128 maps; a gated PixelCNN of 4 blocks of 64 maps as in PixelCNN++, which has the 10
# components; windows of 4 x 2, 5 x 3 and 7 x 4; soft free bits. Ours: the ResNet's 96 maps, 16
# context maps, epochs and batch; lambda and the optimiser are those of their binary images.
PRESETS["vlae-cifar10"] = Preset(
    "vlae",
    CHEN + " on CIFAR-10; sizes of the ResNet, free bits, optimiser and epochs are ours",
    _MIXTURE
    | _GATED
    | _MAPS
    | {"components": 10, "maps": 96, "context_maps": 16, "window_width": 5, "window_rows": 3}
    | {"decoder_maps": 64, "decoder_blocks": 4},
    _CHEN_RUN | {"epochs": 200},
    "cifar10",
)
# The same model for images of 16 x 16, for a CPU: every size is ours, and so are 38 free nats, the
# schedule, and the learning rate, which after three epochs was better than 0.002.
PRESETS["vlae-cifar10-small"] = Preset(
    "vlae",
    CHEN + " on CIFAR-10, in sizes of ours",
    _MIXTURE
    | _GATED
    | _MAPS
    | {"latent_maps": 8, "flow_steps": 2, "flow_hidden_dim": 32}
    | {"components": 5, "maps": 24, "context_maps": 8, "window_width": 5, "window_rows": 3}
    | {"decoder_maps": 24, "decoder_blocks": 4, "free_bits": 0.05},
    _CHEN_RUN | {"lr": 0.006, "schedule": "cosine", "epochs": 20},
    "cifar10:16",
)
# The colour of these images is global, so z is a vector. Every size is ours.
PRESETS["vlae-colour-digits"] = Preset(
    "vlae",
    CHEN + " on CIFAR-10, for images and in sizes of ours",
    _MIXTURE
    | _GATED
    | {"components": 3, "maps": 12, "hidden_dim": 64, "latent_dim": 16, "context_maps": 8}
    | {"flow_steps": 2, "flow_hidden_dim": 64, "flow_hidden_layers": 2}
    | {"window_width": 4, "window_rows": 2, "decoder_maps": 16, "decoder_blocks": 2},
    _CHEN_RUN | {"lr": 0.004, "epochs": 60},
    "colour_digits",
)


def default_data(model: str, preset: str | None) -> str:
    """Return the default data set. Raises: ValueError for an unknown preset."""
    from diptych import pairs

    chosen = None if preset is None else lookup("preset", preset, PRESETS).data
    return chosen or pairs.get(model).data


def settings(
    model: str,
    data: str,
    dataset: Data,
    preset: str | None,
    fields: Mapping[str, Any],
    options: Mapping[str, Any],
) -> RunConfig:
    """Make the settings of a run: the user's, otherwise the preset's, otherwise the defaults.

    `fields` are set in the model's config, `options` in RunConfig; None stands for the default. A
    preset's field that the user's settings leave without effect is dropped.
    Raises: ValueError for an unknown preset, one of another model, or one for other data.
    """
    from diptych import pairs
    from diptych.data import MemoryTask
    from diptych.pairs.pair import MisfitError
    from diptych.runs.config import RunConfig
    from model_specs.common.effects import effective

    chosen = Preset(model, "") if preset is None else lookup("preset", preset, PRESETS)
    if chosen.model != model:
        raise ValueError(f"preset: got {preset!r} for {model}, it is one of {chosen.model}")
    pair, changes = pairs.get(model), {k: v for k, v in options.items() if v is not None}
    preset_fields = dict(chosen.fields)
    if isinstance(dataset, MemoryTask):  # its sequences have a length of their own
        preset_fields.pop("seq_len", None)
    try:
        config = pair.for_data(dataset, effective(pair.config, preset_fields, fields))
    except MisfitError as error:
        if error.field in fields or error.field not in preset_fields:
            raise
        got = f"got {data!r} with {error.field} {error.takes}"
        raise ValueError(f"data: {got}, preset {preset!r} takes {error.got}") from None
    run = effective(RunConfig, chosen.run, changes)
    return RunConfig(model=model, model_config=vars(config).copy(), data=data, **run)
