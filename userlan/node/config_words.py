"""The words for what a configuration expects and what it holds, and what kind of YAML node is which."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import inspect

from userlan.lan.addresses import shown
from userlan.node.config_values import FORMS

#: What YAML 1.1 puts before the tags of its own types.
YAML_TAG = "tag:yaml.org,2002:"


def describe(kind: inspect.Type) -> str:
    """What a type expects, in words."""
    match kind:
        case inspect.Metadata():
            form = (kind.extra or {}).get("form")
            return describe(kind.type) if form is None else FORMS[str(form)].expected
        case inspect.UnionType():
            return " or ".join(dict.fromkeys(describe(one) for one in kind.types))
        case inspect.NoneType():
            return "nothing"
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType():
            return f"a whole number{bounds(kind)}"
        case inspect.FloatType():
            return f"a number{bounds(kind)}"
        case inspect.StrType():
            return f"text{lengths(kind)}"
        case inspect.LiteralType() | inspect.EnumType():
            return " or ".join(choices(kind))
        case inspect.ListType() | inspect.VarTupleType():
            return f"a list, each entry {describe(kind.item_type)}"
        case inspect.DictType():
            return f"keys with {describe(kind.value_type)} each"
        case inspect.StructType() | inspect.CustomType() if hasattr(kind.cls, "parse"):
            return str(getattr(kind.cls, "EXPECTED", f"text ({kind.cls.__name__})"))
        case inspect.StructType():
            return f"the keys {', '.join(field.encode_name for field in kind.fields)}"
    raise TypeError(f"a configuration cannot hold {kind!r}")


def bounds(kind: inspect.Type) -> str:
    """The limits of a number, in words; empty when it has none."""
    low, high = (
        next((bound for bound in (getattr(kind, one, None) for one in names) if bound is not None), None)
        for names in (("ge", "gt"), ("le", "lt"))
    )
    if low is not None and high is not None:
        return f" from {_number(low)} to {_number(high)}"
    if low is not None:
        return f" from {_number(low)} up"
    return f" up to {_number(high)}" if high is not None else ""


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)


def within(number: float, kind: inspect.Type) -> bool:
    """Whether a number keeps the limits of its type."""
    checks: tuple[tuple[str, Callable[[float, float], bool]], ...] = (
        ("ge", lambda value, bound: value >= bound),
        ("gt", lambda value, bound: value > bound),
        ("le", lambda value, bound: value <= bound),
        ("lt", lambda value, bound: value < bound),
    )
    bounds = ((getattr(kind, name, None), holds) for name, holds in checks)
    return all(bound is None or holds(number, bound) for bound, holds in bounds)


def lengths(kind: inspect.StrType) -> str:
    """The limits of a text, in words."""
    if kind.min_length is None and kind.max_length is None:
        return "" if kind.pattern is None else f" that fits {kind.pattern}"
    if kind.max_length is None:
        return f" of at least {kind.min_length} characters"
    return f" of {kind.min_length or 0} to {kind.max_length} characters"


def choices(kind: inspect.LiteralType | inspect.EnumType) -> dict[str, object]:
    """The words of a choice, each with its value."""
    if isinstance(kind, inspect.EnumType):
        return {str(member.value): member for member in kind.cls}
    return {str(value): value for value in kind.values}


def is_scalar(node: Any) -> bool:
    """A plain or quoted word, number, text."""
    return isinstance(node.value, str)


def is_mapping(node: Any) -> bool:
    """Keys with values."""
    return type(node).__name__ == "MappingNode"


def is_null(node: Any) -> bool:
    """``~``, ``null`` or nothing at all."""
    return bool(is_scalar(node) and node.tag == f"{YAML_TAG}null")


def is_list(kind: inspect.Type) -> bool:
    """Whether a type is a list."""
    inner = kind.type if isinstance(kind, inspect.Metadata) else kind
    return isinstance(inner, inspect.ListType | inspect.VarTupleType)


def found(node: Any) -> str:
    """What stands there, in words."""
    if is_mapping(node):
        return "keys"
    if not is_scalar(node):
        return "a list"
    return "nothing" if is_null(node) else shown(str(node.value))
