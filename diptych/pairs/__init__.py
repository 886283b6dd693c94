"""The registry of pairs: the two panels of each model, and how the hinge builds and feeds them."""

from diptych.pairs.lookup import (
    PAIRS,
    Pair,
    Traits,
    find,
    get,
    lookup,
    names,
    of_model,
    parse_fields,
    right_options,
    traits,
    windows,
)

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
    "windows",
]
