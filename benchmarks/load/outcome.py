"""What a load has shown, as a table, as JSON, and as a capacity for `octomesh plan`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rich.table import Table

from benchmarks.capacity import Capacity, Machine
from benchmarks.load.gathering import Person
from benchmarks.load.measuring import Measured
from benchmarks.load.watch import Delays, Figures
from benchmarks.rates import Rate, Stream

LOSSLESS = 0.001
"""A bridge that loses more has reached its end."""
QUANTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
LAYER_NAMES = ("180p", "360p", "720p")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Of one run."""

    url: str
    room: str
    profile: str
    seconds: int
    people: Sequence[Person]
    measured: Measured
    bridge_cpu: Mapping[str, float]
    """Of the bridges on which these people were: shares of a core, as they told the focus."""
    decrypted_one_in: int

    @property
    def connected(self) -> list[float]:
        """How long each took to connect, ascending."""
        return sorted(each.connected_s for each in self.people if each.connected_s is not None)

    @property
    def first_packets(self) -> list[float]:
        """How long each took until media came, but for the first, who finds nobody; ascending."""
        return sorted(
            each.first_packet_s
            for each in self.people
            if each.first_packet_s is not None and each.place
        )

    @property
    def failures(self) -> Counter[str]:
        """By what went wrong."""
        return Counter(each.failure for each in self.people if each.failure is not None)

    # For machines.

    def as_json(self) -> dict[str, Any]:
        """All of it, with units in the names."""
        return {
            "url": self.url,
            "room": self.room,
            "profile": self.profile,
            "people": len(self.people),
            "seconds": self.seconds,
            "decrypted_one_in": self.decrypted_one_in,
            "joined": len(self.connected),
            "failures": dict(self.failures),
            "connected_s": _quantiles(self.connected),
            "first_packet_s": _quantiles(self.first_packets),
            **_figures(self.measured.whole),
            "bridge_cpu": dict(self.bridge_cpu),
            "layers": [
                {
                    "asked": LAYER_NAMES[asked],
                    "got": None if got is None else LAYER_NAMES[got],
                    "share": round(self.measured.layers.share(asked, got), 4),
                }
                for asked, got in sorted(
                    self.measured.layers.counted,
                    key=lambda it: (it[0], -1 if it[1] is None else it[1]),
                )
            ],
            "pictures_whole": round(self.measured.layers.whole, 6),
            "received": _rates(self.measured.rates.of_received),
            "sent": _rates(self.measured.rates.of_sent),
            "each_second": [_figures(each) for each in self.measured.each_second],
        }

    def capacity(self) -> Capacity | str:
        """For `octomesh plan`; or why there is none.

        A focus tells a bridge's CPU and not which part of it moved packets: all of it is counted
        to them, and what else a bridge does for a person is paid within.
        """
        whole = self.measured.whole
        if not self.bridge_cpu:
            return "the focus does not tell its bridges' CPU"
        if whole.overloaded:
            return "the load itself did not keep up"
        if whole.loss >= LOSSLESS:
            return f"{whole.loss:.2%} of the packets were lost: measure with fewer people"
        if not whole.counted.packets:
            return "no media came"
        if self.failures:
            return f"{self.failures.total()} people failed: {next(iter(self.failures))}"
        if faults := self.measured.layers.faults:
            return f"{', '.join(faults)}: measure with fewer people"
        return Capacity(
            measured_at=datetime.now(UTC),
            profile=self.profile,
            machine=Machine.here(),
            packets_out_per_core_s=whole.packets_per_s / sum(self.bridge_cpu.values()),
            control_core_per_person=0.0,
            received=self.measured.rates.of_received,
            sent=self.measured.rates.of_sent,
        )

    # For people.

    def table(self) -> Table:
        """The summary."""
        whole = self.measured.whole
        made = Table(
            title=f"{self.profile}: {len(self.connected)} of {len(self.people)} people for "
            f"{self.seconds} s",
            show_header=False,
        )
        made.add_column()
        made.add_column(justify="right")
        made.add_row("received", f"{whole.packets_per_s:,.0f} packets/s")
        made.add_row("", f"{whole.bits_per_s / 1e6:,.1f} Mbit/s")
        made.add_row("sent", f"{whole.sent_packets_per_s:,.0f} packets/s")
        made.add_row("", f"{whole.sent_bits_per_s / 1e6:,.1f} Mbit/s")
        made.add_row("lost for good", f"{whole.loss:.3%} ({whole.lost:,} packets)")
        made.add_row("repaired", f"{whole.counted.recovered:,} packets")
        made.add_row("out of order", f"{whole.counted.reordered:,} packets")
        for name, delays in (("voices", whole.audio), ("pictures", whole.video)):
            if delays.packets:
                made.add_row(f"delay of {name}, p50, p95, p99", _delays(delays))
        for asked in sorted({asked for asked, _ in self.measured.layers.counted}):
            made.add_row(f"asked for {LAYER_NAMES[asked]}, got", self._got(asked))
        if self.measured.layers.sent:
            made.add_row("of these pictures' packets came", f"{self.measured.layers.whole:.2%}")
        made.add_row("connected, p50, p95", _joins(self.connected))
        made.add_row("first packet, p50, p95", _joins(self.first_packets))
        for bridge, cpu in self.bridge_cpu.items():
            made.add_row(f"CPU of {bridge}", f"{cpu:.1%} of a core")
        made.add_row("CPU of this load's engine", f"{whole.engine_cpu:.1%} of a core")
        for name, count in whole.faults.items():
            made.add_row(f"[red]{name}", f"[red]{count:,} packets")
        if whole.overloaded:
            made.add_row(*(f"[red]{cell}" for cell in _overloaded(whole)))
        for why, count in self.failures.most_common():
            made.add_row(f"[red]{count} failed", f"[red]{why}")
        return made

    def _got(self, asked: int) -> str:
        layers = self.measured.layers
        parts = [
            f"{LAYER_NAMES[got]} {share:.0%}"
            for got in range(len(LAYER_NAMES))
            if (share := layers.share(asked, got))
        ]
        if nothing := layers.share(asked, None):
            parts.append(f"nothing {nothing:.0%}")
        return ", ".join(parts)


def _overloaded(figures: Figures) -> tuple[str, str]:
    counted = figures.counted
    late = f"{counted.skipped + counted.unsent:,} left out, {counted.overflowed:,} not read in time"
    return "this machine is too slow for the load", late


def line(figures: Figures, present: int) -> str:
    """Where it stands, in one line."""
    p95 = (figures.audio + figures.video).quantile_ms(0.95)
    return (
        f"{present} people, {figures.packets_per_s:,.0f} packets/s, "
        f"{figures.bits_per_s / 1e6:,.1f} Mbit/s, {figures.loss:.2%} lost, "
        f"delay p95 {'–' if p95 is None else f'{p95:.1f} ms'}"
    )


def quantile(ascending: Sequence[float], share: float) -> float | None:
    """Not more than this for so great a share; None of nothing."""
    if not ascending:
        return None
    return ascending[min(len(ascending) - 1, int(len(ascending) * share))]


def _quantiles(ascending: Sequence[float]) -> dict[str, float | None]:
    found = {name: quantile(ascending, share) for name, share in QUANTILES.items()}
    return {name: None if each is None else round(each, 4) for name, each in found.items()}


def _joins(ascending: Sequence[float]) -> str:
    found = (quantile(ascending, share) for share in (0.5, 0.95))
    return ", ".join("–" if each is None else f"{each * 1e3:,.0f} ms" for each in found)


def _delays(delays: Delays) -> str:
    found = (delays.quantile_ms(share) for share in QUANTILES.values())
    return ", ".join("–" if each is None else f"{each:.2f} ms" for each in found)


def _rates(rates: Mapping[Stream, Rate]) -> dict[str, dict[str, float]]:
    return {
        kind.value: {"packets_s": round(rate.packets_s, 2), "bps": round(rate.bps)}
        for kind, rate in rates.items()
    }


def _figures(figures: Figures) -> dict[str, Any]:
    return {
        "packets_per_s": round(figures.packets_per_s, 1),
        "bits_per_s": round(figures.bits_per_s),
        "sent_packets_per_s": round(figures.sent_packets_per_s, 1),
        "sent_bits_per_s": round(figures.sent_bits_per_s),
        "lost": figures.lost,
        "loss": round(figures.loss, 6),
        "recovered": figures.counted.recovered,
        "reordered": figures.counted.reordered,
        "faults": figures.faults,
        "overloaded": figures.overloaded,
        "engine_cpu": round(figures.engine_cpu, 4),
        "delay_ms": {
            name: {which: delays.quantile_ms(share) for which, share in QUANTILES.items()}
            for name, delays in (("voices", figures.audio), ("pictures", figures.video))
        },
    }
