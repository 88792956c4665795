"""A table of offices, as CSV: who sits where, and how they meet when most of them meet.

Pure. Its first line names the columns, in any order and case, `_` or `-` for blanks:

    region,people,meetings at peak,size
    frankfurt,400,30,6

`remote share` is one more column, which may be missing or empty. Cells stand between commas or
semicolons, the text is UTF-8. Errors name the file, the line and the column.
"""

import csv
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from io import StringIO
from typing import TypeVar

from focus.conference import MAX_PARTICIPANTS
from relay.errors import SettingsError
from relay.ids import Region, region_of

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Office:
    """One region's people, and the meetings that begin there."""

    region: Region
    people: int
    """Who sit there, in meetings or not."""
    meetings: int
    """At once when there are most, of those that this office calls."""
    size: float
    """People in one of them on average, wherever they sit."""
    remote_share: float | None = None
    """Of a meeting's people so many sit in other regions; None is not said."""

    @property
    def attending(self) -> float:
        """People in its meetings at once: nobody is in two, so never more than its own people."""
        return min(float(self.people), self.meetings * self.size)


def parse_offices(data: bytes, name: str) -> tuple[Office, ...]:
    """The offices in a file of that name, in its order; SettingsError, one line, for a person."""
    table = _Table(_decoded(data, name), name)
    offices: list[Office] = []
    lines: dict[Region, int] = {}
    for row in table.rows():
        office = Office(
            region=row.read("region", _region),
            people=row.read("people", _whole),
            meetings=row.read("meetings at peak", _whole),
            size=row.read("size", _size),
            remote_share=row.read("remote share", _share),
        )
        if before := lines.get(office.region):
            raise row.refusal("region", f"{office.region} stands on line {before} already")
        lines[office.region] = row.line
        offices.append(office)
    if not offices:
        raise SettingsError(f"{name}, line {table.last_line}: below the header there is no office")
    return tuple(offices)


# What may stand in a cell; ValueError says what is wrong with it.

_LARGEST = 10_000_000


def _region(text: str) -> Region:
    return region_of("-".join(text.casefold().split()))


def _whole(text: str) -> int:
    _check_not_negative(text)
    if not re.fullmatch(r"[0-9]+", text):
        raise ValueError(f"{text[:40]!r} is not a whole number in plain digits")
    if len(text) > len(str(_LARGEST)) or int(text) > _LARGEST:
        raise ValueError(f"{text[:40]} is more than {_LARGEST}")
    return int(text)


def _size(text: str) -> float:
    size = _decimal(text)
    if size < 2:
        raise ValueError(f"{text} is less than 2, and nobody meets alone")
    if size > MAX_PARTICIPANTS:
        raise ValueError(f"{text} is more than the {MAX_PARTICIPANTS} people that a room holds")
    return size


def _share(text: str) -> float | None:
    if not text:
        return None
    percent = text.endswith("%")
    share = _decimal(text.removesuffix("%").rstrip()) / (100 if percent else 1)
    if share > 1:
        raise ValueError(f"{text} is more than 1, which is all; write 25% or 0.25")
    return share


def _decimal(text: str) -> float:
    _check_not_negative(text)
    if not re.fullmatch(r"[0-9]{1,9}([.,][0-9]{1,9})?|[.,][0-9]{1,9}", text):
        raise ValueError(f"{text[:40]!r} is not a number")
    return float(text.replace(",", "."))


def _check_not_negative(text: str) -> None:
    if re.fullmatch(r"[-−][0-9.,]+", text):
        raise ValueError(f"{text[:40]} is negative")


# The table around the cells.

_NEEDED = ("region", "people", "meetings at peak", "size")
_COLUMNS = (*_NEEDED, "remote share")


def _decoded(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = error.object[: error.start]
        line, byte = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        raise SettingsError(
            f"{name}, line {line}, byte {byte}: not UTF-8; save the table as CSV in UTF-8"
        ) from None


class _Table:
    def __init__(self, text: str, name: str) -> None:
        first = next((line for line in text.splitlines() if line.strip()), "")
        lines = StringIO(text, newline="")
        self.name = name
        self._reader = csv.reader(lines, delimiter=";" if ";" in first else ",", strict=True)
        self._cells = self._filled()
        header = next(self._cells, None)
        if header is None:
            raise SettingsError(
                f"{name}, line 1: the table is empty; its first line is {','.join(_NEEDED)}"
            )
        self._columns = self._known(header)

    @property
    def last_line(self) -> int:
        """The one that was read last, from 1."""
        return self._reader.line_num

    def rows(self) -> Iterator["_Row"]:
        """Those below the header."""
        for cells in self._cells:
            if len(cells) > len(self._columns):
                raise SettingsError(
                    f"{self.name}, line {self.last_line}, column {len(self._columns) + 1}: "
                    f"the header names only {len(self._columns)} columns"
                )
            cells += [""] * (len(self._columns) - len(cells))
            yield _Row(self.name, self.last_line, dict(zip(self._columns, cells, strict=True)))

    def _filled(self) -> Iterator[list[str]]:
        """Lines that are not blank, without what is blank at their ends."""
        try:
            for row in self._reader:
                cells = [cell.strip() for cell in row]
                while cells and not cells[-1]:
                    cells.pop()
                if cells:
                    yield cells
        except csv.Error as error:
            where = f"{self.name}, line {self.last_line}"
            raise SettingsError(f"{where}: not CSV: {error}") from None

    def _known(self, header: list[str]) -> list[str]:
        columns: list[str] = []
        for number, written in enumerate(header, 1):
            column = " ".join(re.split(r"[\s_-]+", written.casefold()))
            where = f"{self.name}, line {self.last_line}, column {number}"
            if column not in _COLUMNS:
                near = get_close_matches(column, _COLUMNS, n=1)
                hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(_COLUMNS)}"
                raise SettingsError(f"{where}: no column is called {written[:40]!r}; {hint}")
            if column in columns:
                raise SettingsError(f"{where}: {column} is column {columns.index(column) + 1}, too")
            columns.append(column)
        for column in _NEEDED:
            if column not in columns:
                raise SettingsError(
                    f"{self.name}, line {self.last_line}: the column {column} is missing; "
                    f"there are {', '.join(columns)}"
                )
        return columns


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    line: int
    cells: dict[str, str]

    def read(self, column: str, meaning: Callable[[str], T]) -> T:
        """What stands in a column, which may be one that the table does not have."""
        text = self.cells.get(column, "")
        if column in _NEEDED and not text:
            raise self.refusal(column, "it is empty")
        try:
            return meaning(text)
        except ValueError as error:
            raise self.refusal(column, str(error)) from None

    def refusal(self, column: str, why: str) -> SettingsError:
        """That a cell cannot be so."""
        return SettingsError(f"{self.name}, line {self.line}, column {column}: {why}")
