"""The registry: which left belongs to which right, by name.

Adding a model is adding its files, one file in diptych/pairs, one line here and one in
diptych/names.py.
"""

from __future__ import annotations

import typing
from typing import Any

from diptych.names import lookup
from diptych.pairs import conv_vae, lstm, mlp_vae, rnn, vlae
from diptych.pairs.pair import Pair, Traits

__all__ = [
    "PAIRS",
    "Pair",
    "Traits",
    "find",
    "get",
    "lookup",
    "names",
    "of_model",
    "parse_fields",
    "right_options",
    "traits",
]

PAIRS: dict[str, Pair] = {
    "mlp_vae": mlp_vae.PAIR,
    "conv_vae": conv_vae.PAIR,
    "vlae": vlae.PAIR,
    "rnn": rnn.PAIR,
    "lstm": lstm.PAIR,
}


def get(name: str) -> Pair:
    """The pair called `name`. Raises ValueError that suggests the nearest name."""
    return lookup("model", name, PAIRS)


def of_model(model: Any) -> Pair:
    """The pair that a model is one side of. Raises ValueError for a model of no pair."""
    for pair in PAIRS.values():
        if type(model) in (pair.left, pair.right):
            return pair
    raise ValueError(f"model: got {type(model).__name__}, takes a panel of {', '.join(PAIRS)}")


def traits(config: Any) -> Traits:
    """The Traits of a model's config. Raises ValueError for a config of no registered pair."""
    for pair in PAIRS.values():
        if isinstance(config, pair.config):
            return pair.traits(config)
    raise ValueError(f"config: got {config!r}, takes one of {', '.join(PAIRS)}")


def find(name: str) -> tuple[Pair, Any]:
    """(pair, config) for "pair" or "pair[variant]"."""
    base, variant = _split(name)
    pair = get(base)
    return pair, lookup(f"variant of {base}", variant, pair.variants)


def right_options(name: str) -> dict[str, Any]:
    """Further keywords of the right panel's constructor for "pair" or "pair[variant]"."""
    base, variant = _split(name)
    return dict(get(base).right_options.get(variant, {}))


def _split(name: str) -> tuple[str, str]:
    """ "pair[variant]" -> (pair, variant); "pair" -> (pair, "")."""
    base, bracket, variant = name.partition("[")
    if bracket and not variant.endswith("]"):
        raise ValueError(f"model: got {name!r}, takes pair or pair[variant]")
    return base, variant.removesuffix("]")


def names(models: list[str] | None = None) -> list[str]:
    """Every "pair[variant]" of the given pairs, or of all; a named variant stands for itself."""
    result: list[str] = []
    for model in models or list(PAIRS):
        if "[" in model:
            find(model)
            result.append(model)
        else:
            result += [f"{model}[{v}]" if v else model for v in get(model).variants]
    return result


def parse_fields(pair: Pair, settings: list[str]) -> dict[str, Any]:
    """["hidden_dim=200", ...] as keywords for the pair's config, each of its field's own type.

    Raises: ValueError for an unknown field or a value that is not of its type.
    """
    types = typing.get_type_hints(pair.config)
    result = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        # "float | None" takes a float: None is the value of a field that is not set
        kind = next(iter(typing.get_args(lookup("config field", name, types))), types[name])
        try:
            result[name] = {"True": True, "False": False}[text] if kind is bool else kind(text)
        except (ValueError, KeyError):
            equals = ""
        if not equals:
            takes = "True or False" if kind is bool else kind.__name__
            raise ValueError(f"{name}: got {setting!r}, takes {name}={takes}")
    return result
