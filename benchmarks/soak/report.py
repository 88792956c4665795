"""A soak for people to read: tables, and what processes had over time as a picture."""

from collections.abc import Callable, Mapping
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from rich.console import Console
from rich.table import Table

from benchmarks.soak.books import received_by
from benchmarks.soak.growth import slope
from benchmarks.soak.look import Look, Usage
from benchmarks.soak.outcome import Outcome, why

SIZE_IN = (9.0, 10.0)
DPI = 120


def show(outcome: Outcome, console: Console) -> None:
    """Print what was done and found; not whether that is good."""
    last = outcome.rests[-1]
    done = ", ".join(f"{count:,} {what}" for what, count in sorted(outcome.done.items()))
    console.print(f"People did: {done}.")
    console.print(
        f"They sent {last.load.sent_packets:,} packets and received {received_by(last.load):,}; "
        f"{last.load.recovered:,} came by retransmission, "
        f"{last.load.given_up + last.load.missing:,} never."
    )
    console.print(_processes(outcome))
    console.print(_drops(outcome))
    for balance in outcome.balances():
        console.print(f"{'balances' if balance.holds else 'DOES NOT BALANCE'}: {balance}")
    if outcome.was_hurried:
        console.print(
            f"The machine was too busy at times: {last.unread:,} datagrams at most found sockets "
            f"full, {last.load.unsent:,} packets could not be sent, {last.load.skipped:,} frames "
            f"were left out, paths of trunks did not answer {outcome.paths_lost} ×; a process had "
            f"no core for {outcome.waiting_at_once:.0%} of a moment."
        )


def _processes(outcome: Outcome) -> Table:
    table = Table(title="At rest, after the first round and the last")
    for heading in ("process", "memory, MB", "bytes a join", "descriptors", "threads", "no core"):
        table.add_column(heading, justify="left" if heading == "process" else "right")
    rests = outcome.rests[:-1] or outcome.rests
    for name in outcome.began.usage:
        first, last = rests[0].look.usage[name], rests[-1].look.usage[name]
        memory = [(rest.joins, rest.look.usage[name].memory_bytes) for rest in rests]
        table.add_row(
            name,
            f"{first.memory_bytes / 1e6:.1f} → {last.memory_bytes / 1e6:.1f}",
            f"{slope(memory):,.0f}",
            f"{first.descriptors} → {last.descriptors}",
            f"{first.threads} → {last.threads}",
            f"{outcome.waiting[name]:.1%}",
        )
    return table


def _drops(outcome: Outcome) -> Table:
    table = Table(title="What bridges dropped, and why")
    table.add_column("reason")
    table.add_column("count", justify="right")
    table.add_column("because")
    for reason, count in outcome.drops().items():
        table.add_row(reason, f"{count:,}", why(reason))
    return table


def plot(outcome: Outcome, path: Path) -> Path:
    """Memory, descriptors, people and rates over time, as PNG."""
    plt.switch_backend("agg")
    figure, (memory, descriptors, people, rates) = plt.subplots(
        4, 1, figsize=SIZE_IN, dpi=DPI, sharex=True
    )
    _usage(memory, outcome, "memory, MB", lambda usage: usage.memory_bytes / 1e6)
    _usage(descriptors, outcome, "descriptors", lambda usage: usage.descriptors)
    _told(people, outcome, "people (colours as above)", lambda told: told["participants"])
    _rates(rates, outcome)
    rates.set_xlabel("minutes")
    for axes in (memory, descriptors, people, rates):
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    memory.legend(loc="lower right", fontsize="small")
    figure.savefig(path, bbox_inches="tight")
    plt.close(figure)
    return path


def _minutes(outcome: Outcome, look: Look) -> float:
    return (look.at_s - outcome.began.at_s) / 60


def _usage(axes: Axes, outcome: Outcome, label: str, figure: Callable[[Usage], float]) -> None:
    at = [_minutes(outcome, look) for look in outcome.samples]
    for name in outcome.began.usage:
        axes.plot(at, [figure(look.usage[name]) for look in outcome.samples], label=name)
    axes.set_ylabel(label)


def _told(
    axes: Axes, outcome: Outcome, label: str, figure: Callable[[Mapping[str, int]], float]
) -> None:
    at = [_minutes(outcome, look) for look in outcome.samples]
    for number, name in enumerate(outcome.began.usage):
        if name != "focus":
            figures = [figure(look.told[name]) for look in outcome.samples]
            axes.plot(at, figures, color=f"C{number}")
    axes.set_ylabel(label)


def _rates(axes: Axes, outcome: Outcome) -> None:
    """Of all bridges."""
    pairs = list(zip(outcome.samples, outcome.samples[1:], strict=False))
    at = [_minutes(outcome, second) for _, second in pairs]
    for counter, label in (("packets_in", "in"), ("packets_out", "out")):
        axes.plot(
            at,
            [
                sum(
                    now[counter] - then[counter]
                    for now, then in zip(second.bridges(), first.bridges(), strict=True)
                )
                / (second.at_s - first.at_s)
                for first, second in pairs
            ],
            label=label,
        )
    axes.set_ylabel("packets/s, all bridges")
    axes.legend(loc="lower right", fontsize="small")
