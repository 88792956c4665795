"""What a mesh for a table of offices needs, for `octomesh plan`: read, and laid out.

Part of the command line, beside `octomesh.py`.
"""

from collections.abc import Iterable, Iterator
from itertools import combinations
from pathlib import Path

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from benchmarks.capacity import CAPACITY_FILE, Capacity
from benchmarks.offices import parse_offices
from benchmarks.plan import Plan, Processing, Spare, Terms, make_plan
from benchmarks.rates import Rate, Stream
from benchmarks.traffic import Habits
from relay.errors import SettingsError

NOTABLE_SHARE = 0.005
"""By so much a remote share may miss what was asked for without a word."""
NAME_WIDTH = 16
"""Longer names of regions are folded, so that tables fit 80 columns; figures never are."""
UNBOUNDED = 1_000_000
UNMEASURED = (
    "Cores and bridges need a capacity measured on hardware like yours: octomesh load --out DIR, "
    f"then --capacity DIR/{CAPACITY_FILE}. Here each region has one bridge."
)


def read_plan(offices: Path, capacity: Path | None, habits: Habits, terms: Terms) -> Plan:
    """The plan for the table in a file; SettingsError, one line, when a file is not as it must."""
    try:
        data = offices.read_bytes()
    except OSError as error:
        raise SettingsError(f"{offices}: {error.strerror}") from None
    table = parse_offices(data, str(offices))
    return make_plan(table, habits, terms, Capacity.read(capacity) if capacity else None)


# For machines.


def as_json(plan: Plan) -> dict[str, object]:
    """The whole plan, with units in the names."""
    return {
        "assumptions": {
            "remote_share": plan.habits.remote_share,
            "pictures": plan.habits.pictures,
            "voices": plan.habits.voices,
            "tiles": plan.habits.tiles,
            "headroom": plan.terms.headroom,
            "spare": plan.terms.spare.value,
            "host_cores": plan.host_cores,
            "received": {stream.value: _flow(rate) for stream, rate in plan.received.items()},
            "sent": {stream.value: _flow(rate) for stream, rate in plan.sent.items()},
        },
        "capacity": plan.capacity.model_dump(mode="json") if plan.capacity else None,
        "regions": [
            {
                "region": each.region,
                "people": each.people,
                "in_meetings": round(each.attending, 3),
                **_processing(each.processing),
                "from_people": _flow(each.from_people),
                "to_people": _flow(each.to_people),
                "from_other_regions": _flow(each.from_regions),
                "to_other_regions": _flow(each.to_regions),
                "among_own_bridges": _flow(each.among_bridges),
                "into_bridges": _flow(each.into_bridges),
                "out_of_bridges": _flow(each.out_of_bridges),
            }
            for each in plan.regions
        ],
        "trunks": [
            {"from": start, "to": end, **_flow(rate)} for (start, end), rate in plan.trunks.items()
        ],
        "notes": list(_warnings(plan)),
    }


def _flow(rate: Rate) -> dict[str, float]:
    return {"packets_s": round(rate.packets_s, 3), "bps": round(rate.bps)}


def _processing(processing: Processing | None) -> dict[str, object]:
    if processing is None:
        return dict.fromkeys(("cores_busy", "bridges", "hosts", "workers"))
    return {
        "cores_busy": round(processing.cores, 4),
        "bridges": processing.bridges,
        "hosts": processing.hosts,
        "workers": processing.workers,
    }


# For people.


def show(plan: Plan, console: Console) -> None:
    """Print the plan, as wide as the terminal is; wider where a figure would have to be cut."""
    made = [_bridges(plan), _bandwidth(plan)]
    if len(plan.regions) > 1:
        matrix = _matrix(plan)
        made.append(matrix if _width(matrix, console) <= console.width else _list(plan))
    width = console.width
    console.print(_summary(plan))
    for table in made:
        console.width = max(width, _width(table, console))
        console.print()
        console.print(table)
    console.width = width
    console.print()
    console.print(_remarks(plan))


def _width(table: Table, console: Console) -> int:
    """Of the table with no figure cut."""
    return Measurement.get(console, console.options.update(width=UNBOUNDED), table).maximum


def _summary(plan: Plan) -> Text:
    regions = len(plan.regions)
    text = (
        f"{regions} region{'s' * (regions > 1)}, {_sum(plan, 'people'):,.0f} people, "
        f"{_sum(plan, 'attending'):,.0f} of them in meetings at once"
    )
    if needed := [each.processing for each in plan.regions if each.processing]:
        bridges, hosts = sum(each.bridges for each in needed), sum(each.hosts for each in needed)
        text += (
            f": {bridges:,} bridge{'s' * (bridges > 1)} on {hosts:,} host{'s' * (hosts > 1)}, "
            f"{sum(each.cores for each in needed):,.1f} cores busy"
        )
    return Text(text, style="bold")


def _sum(plan: Plan, name: str) -> float:
    return float(sum(getattr(each, name) for each in plan.regions))


def _bridges(plan: Plan) -> Table:
    title, headings = "People", ["people", "in\nmeetings", "packets/s\nout"]
    if plan.capacity:
        title, headings = "Bridges", [*headings, "cores\nbusy", "bridges", "hosts ×\nworkers"]
    made = _table(title, ["region"], headings)
    for each in plan.regions:
        cells = [f"{each.people:,}", f"{each.attending:,.0f}", _packets(each.out_of_bridges)]
        if needed := each.processing:
            cells += [f"{needed.cores:,.2f}", f"{needed.bridges:,}", _hosts(needed)]
        made.add_row(each.region, *cells)
    return made


def _hosts(needed: Processing) -> str:
    fewest = needed.bridges // needed.hosts
    workers = f"{needed.workers}" if fewest == needed.workers else f"{fewest}–{needed.workers}"
    return f"{needed.hosts:,} × {workers}"


def _bandwidth(plan: Plan) -> Table:
    people, regions = ("from\npeople", "to\npeople"), ("from\nregions", "to\nregions")
    headings = (*people, *regions, "into a\nbridge", "out of a\nbridge")
    made = _table("Mbit/s at the bridges", ["region"], headings)
    for each in plan.regions:
        bridges = each.processing.bridges if each.processing else 1
        flows = (each.from_people, each.to_people, each.from_regions, each.to_regions)
        of_one = (each.into_bridges * (1 / bridges), each.out_of_bridges * (1 / bridges))
        made.add_row(each.region, *map(_mbps, (*flows, *of_one)))
    return made


def _matrix(plan: Plan) -> Table:
    regions = [each.region for each in plan.regions]
    made = _table("Mbit/s between regions", ["from \\ to"], regions)
    made.caption = "from the rows to the columns"
    for start in regions:
        made.add_row(
            start,
            *("" if end == start else _mbps(plan.trunks[start, end]) for end in regions),
        )
    return made


def _list(plan: Plan) -> Table:
    made = _table("Mbit/s between regions", ["region", "other region"], ["to it", "from it"])
    for one, other in combinations((each.region for each in plan.regions), 2):
        there, back = plan.trunks[one, other], plan.trunks[other, one]
        made.add_row(one, other, _mbps(there), _mbps(back))
    return made


def _table(title: str, names: Iterable[str], figures: Iterable[str]) -> Table:
    made = Table(title=title)
    for heading in names:
        made.add_column(heading, overflow="fold", max_width=NAME_WIDTH)
    for heading in figures:
        made.add_column(heading, justify="right", no_wrap=True)
    return made


def _mbps(rate: Rate) -> str:
    return f"{rate.bps / 1e6:,.1f}"


def _packets(rate: Rate) -> str:
    return f"{rate.packets_s:,.0f}"


def _remarks(plan: Plan) -> Table:
    """What the figures rest on: a word for each, and sentences."""
    made = Table.grid(padding=(0, 2))
    made.add_column(style="dim", no_wrap=True)
    made.add_column()
    for warning in _warnings(plan):
        made.add_row(Text("note", style="bold yellow"), warning)
    for word, text in _basis(plan):
        made.add_row(word, Text(text, style="dim"))
    return made


def _warnings(plan: Plan) -> Iterator[str]:
    """What of the table could not be as it says, and what is not known."""
    for group in plan.meetings:
        office = group.office
        if office.meetings * office.size > office.people:
            yield (
                f"{office.region}: {office.meetings} meetings of {office.size:g} are more than its "
                f"{office.people:,} people; {group.count:,.1f} of them are counted."
            )
        missed = group.wanted_share - group.remote_share
        if len(plan.regions) > 1 and group.count and missed > NOTABLE_SHARE:
            yield (
                f"{office.region}: {group.wanted_share:.0%} of its meetings' people should sit in "
                f"other regions; there are people left for {group.remote_share:.0%}."
            )
    if plan.capacity is None:
        yield UNMEASURED


def _basis(plan: Plan) -> Iterator[tuple[str, str]]:
    habits, terms, capacity = plan.habits, plan.terms, plan.capacity
    rates = ", ".join(f"{stream} {rate.bps / 1e6:.2f}" for stream, rate in plan.received.items())
    yield "streams", f"Mbit/s with all headers: {rates}. {_origin(capacity)}"
    yield (
        "people",
        f"{habits.remote_share:.0%} of a meeting's people sit in other regions, if the table says "
        f"nothing else; each gets at most {habits.pictures} pictures, {habits.tiles:.0%} of them "
        f"all alike, the others one large; {habits.voices} speak at once. Figures are means.",
    )
    if capacity is None:
        return
    machine = capacity.machine
    yield (
        "cores",
        f"{capacity.packets_out_per_core_s:,.0f} packets/s out of each, and "
        f"{capacity.control_core_per_person:.2%} of one for each person: measured on "
        f"{capacity.measured_at:%Y-%m-%d} by profile {capacity.profile}, {machine.cores} cores of "
        f"{machine.processor}.",
    )
    yield "bridges", f"{terms.headroom:.0%} of each one's core stays free{_SPARES[terms.spare]}."
    yield "hosts", f"{plan.host_cores} cores each, and a bridge for each core."


_SPARES = {
    Spare.NONE: ", and none is spare: when one is lost, its people go to those that are left",
    Spare.BRIDGE: ", also when one of a region's bridges is lost",
    Spare.HOST: ", also when one of a region's hosts is lost",
}


def _origin(capacity: Capacity | None) -> str:
    """Where the streams' rates come from."""
    measured = capacity.received.keys() & capacity.sent.keys() if capacity else set[Stream]()
    nominal = [stream.value for stream in Stream if stream not in measured]
    if not measured:
        return "Nominal ones of VP8 and Opus, not measured."
    return f"Measured, but {', '.join(nominal)} nominal." if nominal else "Measured."
