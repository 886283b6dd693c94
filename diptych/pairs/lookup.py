"""The registry of pairs by name.

A new model needs its own files in the panels, a file in diptych/pairs, a line here, and a line in
diptych/names.py.
"""

from __future__ import annotations

import typing
from typing import Any

from diptych.names import lookup
from diptych.pairs import conv_vae, lstm, mlp_vae, rnn, vlae
from diptych.pairs.pair import Pair, Traits

PAIRS: dict[str, Pair] = {
    "mlp_vae": mlp_vae.PAIR,
    "conv_vae": conv_vae.PAIR,
    "vlae": vlae.PAIR,
    "rnn": rnn.PAIR,
    "lstm": lstm.PAIR,
}


def get(name: str) -> Pair:
    """Return the pair called `name`. Raises: ValueError that suggests the most similar name."""
    return lookup("model", name, PAIRS)


def of_model(model: Any) -> Pair:
    """Return the pair that a model belongs to. Raises: ValueError for a model of no pair."""
    for pair in PAIRS.values():
        if type(model) in (pair.left, pair.right):
            return pair
    raise ValueError(f"model: got {type(model).__name__}, takes a panel of {', '.join(PAIRS)}")


def traits(config: Any) -> Traits:
    """Return the Traits of a model's config. Raises: ValueError for a config of no pair."""
    for pair in PAIRS.values():
        if isinstance(config, pair.config):
            return pair.traits(config)
    raise ValueError(f"config: got {config!r}, takes one of {', '.join(PAIRS)}")


def find(name: str) -> tuple[Pair, Any]:
    """Return the pair and the config that "pair" or "pair[variant]" names."""
    base, variant = _split(name)
    pair = get(base)
    return pair, lookup(f"variant of {base}", variant, pair.variants)


def right_options(name: str) -> dict[str, Any]:
    """Return the extra keywords of the right constructor for "pair" or "pair[variant]"."""
    base, variant = _split(name)
    return dict(get(base).right_options.get(variant, {}))


def windows(name: str) -> int:
    """Return the number of consecutive windows in the loss of "pair" or "pair[variant]"."""
    base, variant = _split(name)
    return get(base).windows.get(variant, 1)


def _split(name: str) -> tuple[str, str]:
    """Split "pair[variant]" into (pair, variant), and "pair" into (pair, "")."""
    base, bracket, variant = name.partition("[")
    if bracket and not variant.endswith("]"):
        raise ValueError(f"model: got {name!r}, takes pair or pair[variant]")
    return base, variant.removesuffix("]")


def names(models: list[str] | None = None) -> list[str]:
    """Return the names of all variants of `models`, by default of all pairs.

    A name such as "pair[variant]" is returned unchanged.
    """
    result: list[str] = []
    for model in models or list(PAIRS):
        if "[" in model:
            find(model)
            result.append(model)
        else:
            result += [f"{model}[{v}]" if v else model for v in get(model).variants]
    return result


def parse_fields(pair: Pair, settings: list[str]) -> dict[str, Any]:
    """Convert settings such as "hidden_dim=200" to keywords of the pair's config.

    Each value gets the type of its field; "None" is None for a field that may be None.
    Raises: ValueError for an unknown field or a value of another type.
    """
    types = typing.get_type_hints(pair.config)
    result = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        kind, *optional = typing.get_args(lookup("config field", name, types)) or (types[name],)
        words: dict[str, bool | None] = {"True": True, "False": False} if kind is bool else {}
        words |= {"None": None} if optional else {}
        try:
            result[name] = words[text] if kind is bool or text in words else kind(text)
        except (ValueError, KeyError):
            equals = ""
        if not equals:
            takes = "True or False" if kind is bool else kind.__name__
            takes += " or None" if optional else ""
            raise ValueError(f"{name}: got {setting!r}, takes {name}={takes}")
    return result
