"""The registry of pairs: each model's left and right, and all that the hinge must know of them."""

from diptych.pairs.lookup import (
    PAIRS,
    Pair,
    find,
    get,
    lookup,
    names,
    of_model,
    parse_fields,
    right_options,
)

__all__ = [
    "PAIRS",
    "Pair",
    "find",
    "get",
    "lookup",
    "names",
    "of_model",
    "parse_fields",
    "right_options",
]
