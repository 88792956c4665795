"""A TOML file of settings, checked against the options that exist, with errors for a person.

Knows no option by itself: who reads a file says which tables and keys there are.
"""

import tomllib
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from enum import Enum
from typing import assert_never

from relay.errors import SettingsError


class Kind(Enum):
    """What may stand behind a key; the value is how a person calls it."""

    TEXT = "a text in quotes"
    NUMBER = "a whole number"
    SHARE = "a number"
    COUNT = 'a whole number or "auto"'
    SWITCH = "true or false"
    TEXTS = "a list of texts in quotes"


Tables = Mapping[str, Mapping[str, Kind]]


def parse_settings(text: str, tables: Tables) -> dict[str, dict[str, object]]:
    """The file's values by table and key, keys with underscores.

    SettingsError, one line, when it is not TOML, names what does not exist, or a value has
    the wrong type; what a value means is checked where it is used.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"not TOML: {error}") from None
    settings: dict[str, dict[str, object]] = {}
    for table, content in document.items():
        if table not in tables:
            raise SettingsError(f"there is no table [{table}]{_nearest(table, tables)}")
        if not isinstance(content, dict):
            raise SettingsError(f"{table} is a table: write [{table}] and its keys below")
        values = settings[table] = {}
        for written, value in content.items():
            key = written.replace("-", "_")
            kind = tables[table].get(key)
            if kind is None:
                keys = [known.replace("_", "-") for known in tables[table]]
                nearest = _nearest(written.replace("_", "-"), keys)
                raise SettingsError(f"[{table}] has no {written}{nearest}")
            if not _is_of(kind, value):
                raise SettingsError(f"[{table}] {written} is {kind.value}, not {value!r}")
            values[key] = value
    return settings


def _is_of(kind: Kind, value: object) -> bool:
    match kind:
        case Kind.TEXT:
            return isinstance(value, str)
        case Kind.NUMBER:
            return isinstance(value, int) and not isinstance(value, bool)
        case Kind.SHARE:
            return isinstance(value, float) or _is_of(Kind.NUMBER, value)
        case Kind.COUNT:
            return value == "auto" or _is_of(Kind.NUMBER, value)
        case Kind.SWITCH:
            return isinstance(value, bool)
        case Kind.TEXTS:
            return isinstance(value, list) and all(isinstance(item, str) for item in value)
        case _:
            assert_never(kind)


def _nearest(wrong: str, right: Iterable[str]) -> str:
    if near := get_close_matches(wrong, right, n=1):
        return f"; did you mean {near[0]}?"
    return f"; there are {', '.join(sorted(right))}"
