"""results.json as tables: for a terminal, and for RESULTS.md. Pure."""

from collections.abc import Iterable, Iterator
from typing import Any

from rich.table import Table

HEADINGS = ("measure", "work", "ours", "beside", "ratio", "target", "", "note")


def rows(lines: Iterable[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    """A case's lines as text."""
    for line in lines:
        unit = line["unit"]
        theirs = line["theirs"]
        beside = f"{line['against']} {number(theirs, unit)}" if theirs is not None else ""
        yield (
            line["measure"],
            line["work"],
            number(line["ours"], unit),
            beside,
            "" if line["ratio"] is None else f"{line['ratio']:.2f}",
            line["target"],
            verdict(line["reached"]),
            line["note"],
        )


def number(value: float, unit: str) -> str:
    """With as many digits as it is worth."""
    if value == int(value) or abs(value) >= 1_000:
        text = f"{value:,.0f}"
    elif abs(value) >= 100:
        text = f"{value:.0f}"
    elif abs(value) >= 10:
        text = f"{value:.1f}"
    else:
        text = f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3f}"
    return f"{text} {unit}".strip()


def verdict(reached: bool | None) -> str:
    """In a word; none where nothing has to be reached."""
    return "" if reached is None else "reached" if reached else "MISSED"


def table(results: dict[str, Any], keys: Iterable[str]) -> Table:
    """For a terminal."""
    made = Table()
    for heading in HEADINGS:
        made.add_column(heading, justify="right" if heading in ("ours", "ratio") else "left")
    for key in keys:
        if key not in results["cases"]:
            continue
        for cells in rows(results["cases"][key]["lines"]):
            style = "red" if "MISSED" in cells else None
            made.add_row(*cells, style=style)
        made.add_section()
    return made


def markdown(lines: Iterable[dict[str, Any]]) -> str:
    """For RESULTS.md; columns that nothing is in are left out."""
    cells = [HEADINGS, *rows(lines)]
    used = [at for at in range(len(HEADINGS)) if any(row[at] for row in cells[1:])]
    written = [[row[at].replace("|", "\\|") for at in used] for row in cells]
    head, *body = written
    made = [head, ["---"] * len(used), *body]
    return "\n".join(f"| {' | '.join(row)} |" for row in made) + "\n"
