"""Fields of a config that have an effect only under a condition on other fields.

A config class declares the condition with the default:

    gaussian_std: float = conditional(1.0, likelihood=("gaussian", "truncated_gaussian"))

A field that has no effect must have its default. Anything else is an error that names both fields,
because a user who sets a field expects that it changes something.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, field, fields
from typing import Any

Condition = Collection[Any] | Callable[[Any], bool]
"""The values of another field, or a function of the config, with which a field has an effect."""
_CONDITIONS = "conditions"


def conditional(default: Any, **conditions: Condition) -> Any:
    """A dataclass field with an effect only if all `conditions` hold.

    The name of each condition is the other field that the error names. Its value is the collection
    of values with which this field has an effect, or a function (config) -> bool.
    """
    return field(default=default, metadata={_CONDITIONS: conditions})


def check_effects(config: Any) -> None:
    """Raise ValueError for the first field without effect that differs from its default."""
    for name, other in ineffective(config).items():
        value, default = getattr(config, name), _defaults(type(config))[name]
        got = f"got {_shown(value)} with {other} {_shown(getattr(config, other))}"
        condition = _conditions(type(config))[name][other]
        hint = (
            "" if callable(condition) else f"; it has an effect with {other} {_listed(condition)}"
        )
        raise ValueError(f"{name}: {got}, takes {_shown(default)}{hint}")


def ineffective(config: Any) -> dict[str, str]:
    """The fields of `config` that differ from their defaults without effect.

    Each name maps to the name of the field that prevents the effect.
    """
    kind = type(config)
    defaults = _defaults(kind)
    result = {}
    for name, conditions in _conditions(kind).items():
        if getattr(config, name) == defaults[name]:
            continue
        for other, condition in conditions.items():
            if not _holds(condition, config, other):
                result[name] = other
                break
    return result


def effective(
    kind: type, values: Mapping[str, Any], overrides: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return `values` with `overrides`, without those of `values` that then have no effect.

    `values` are settings that the user did not choose: those of a preset, those derived from the
    data, or those of older versions, which did not refuse fields without effect. `overrides` and
    unknown fields are left to the checks of the class `kind`.
    """
    result = dict(values) | dict(overrides or {})
    while True:
        config: Any = object.__new__(kind)  # its __post_init__ would refuse the fields in question
        vars(config).update(_defaults(kind) | result)
        try:
            names = [n for n in ineffective(config) if n in result and n not in (overrides or {})]
        except (KeyError, TypeError, ValueError):  # an impossible value: the class will refuse it
            return result
        if not names:
            return result
        del result[names[0]]


def changed(config: Any, **changes: Any) -> Any:
    """Return a copy of `config` with `changes`; fields that lose their effect become defaults."""
    kind = type(config)
    values = {f.name: getattr(config, f.name) for f in fields(kind)}
    return kind(**effective(kind, values, changes))


def _holds(condition: Condition, config: Any, other: str) -> bool:
    return condition(config) if callable(condition) else getattr(config, other) in condition


def _conditions(kind: type) -> dict[str, Mapping[str, Condition]]:
    return {f.name: f.metadata[_CONDITIONS] for f in fields(kind) if _CONDITIONS in f.metadata}


def _defaults(kind: type) -> dict[str, Any]:
    return {f.name: f.default for f in fields(kind) if f.default is not MISSING}


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else repr(value)


def _listed(values: Collection[Any]) -> str:
    *first, last = map(_shown, values)
    return f"{', '.join(first)} or {last}" if first else last
