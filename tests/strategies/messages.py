"""Hypothesis strategies for wire messages, derived from their types and pydantic bounds."""

from dataclasses import fields, is_dataclass
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Le, Lt, MaxLen, MinLen
from hypothesis import strategies as st
from pydantic import AllowInfNan
from pydantic.fields import FieldInfo

_MAX_ITEMS = 4


def messages(union: object) -> st.SearchStrategy[Any]:
    """Any member of a closed union of message dataclasses, each field any value it allows."""
    return st.one_of([values(member) for member in get_args(union)])


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of one type: a dataclass, enum, tuple, union, bounded or bare scalar."""
    return _values(kind, {})


def _values(kind: Any, bounds: dict[type, Any]) -> st.SearchStrategy[Any]:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _values(arguments[0], bounds | _bounds_of(arguments[1:]))
    if hasattr(kind, "__supertype__"):
        return _values(kind.__supertype__, bounds)
    if origin in (Union, UnionType):
        return st.one_of([_values(argument, {}) for argument in arguments])
    if origin is tuple and arguments[-1] is Ellipsis:
        items = _values(arguments[0], {})
        sizes = {"min_size": bounds.get(MinLen, 0), "max_size": _max_size(bounds)}
        return st.lists(items, **sizes).map(tuple)
    if isinstance(kind, type) and is_dataclass(kind):
        hints = get_type_hints(kind, include_extras=True)
        return st.builds(kind, **{f.name: _values(hints[f.name], {}) for f in fields(kind)})
    if isinstance(kind, type) and issubclass(kind, Enum):
        return st.sampled_from(list(kind))
    return _scalars(kind, bounds)


def _scalars(kind: Any, bounds: dict[type, Any]) -> st.SearchStrategy[Any]:
    if kind is NoneType:
        return st.none()
    if kind is bool:
        return st.booleans()
    if kind is int:
        # msgpack knows 64 bits.
        low, high = bounds.get(Ge, -(1 << 63)), bounds.get(Le, (1 << 64) - 1)
        return st.integers(min_value=low, max_value=high)
    if kind is float:
        return st.floats(bounds.get(Ge), allow_nan=False, allow_infinity=False)
    sizes = {"min_size": bounds.get(MinLen, 0), "max_size": _max_size(bounds)}
    if kind is bytes:
        return st.binary(**sizes)
    if kind is str and str in bounds:
        # A pattern; its length bounds are then met by filtering.
        sized = st.from_regex(bounds[str], fullmatch=True)
        return sized.filter(lambda text: sizes["min_size"] <= len(text) <= bounds[MaxLen])
    if kind is str:
        return st.text(st.characters(exclude_categories=["Cs"]), **sizes)
    raise TypeError(f"no strategy for {kind!r}")


def _max_size(bounds: dict[type, Any]) -> int:
    low: int = bounds.get(MinLen, 0)
    return min(int(bounds.get(MaxLen, low + _MAX_ITEMS)), low + _MAX_ITEMS)


def _bounds_of(metadata: tuple[Any, ...]) -> dict[type, Any]:
    found: dict[type, Any] = {}
    for item in metadata:
        for bound in item.metadata if isinstance(item, FieldInfo) else [item]:
            match bound:
                case Ge(ge=value) | Le(le=value):
                    found[type(bound)] = value
                case Lt(lt=value) if isinstance(value, int):
                    found[Le] = value - 1
                case MinLen(min_length=value) | MaxLen(max_length=value):
                    found[type(bound)] = value
                case AllowInfNan(allow_inf_nan=False):
                    pass  # None of our floats may be any of these.
                case _ if getattr(bound, "pattern", None) is not None:
                    found[str] = bound.pattern
                case _:
                    raise TypeError(f"unknown bound {bound!r}")
    return found
