"""results.json as pictures for RESULTS.md."""

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

SIZE_IN = (7.0, 4.2)
DPI = 110
METADATA = {"Software": None}
"""Nothing in them that differs from run to run of the same figures."""


def plot(results: dict[str, Any], directory: Path) -> list[Path]:
    """One for each case that has one; their paths."""
    plt.switch_backend("agg")
    directory.mkdir(parents=True, exist_ok=True)
    made = []
    for name, draw in PLOTS.items():
        if name not in results["cases"]:
            continue
        figure, axes = plt.subplots(figsize=SIZE_IN, dpi=DPI)
        draw(axes, results["cases"][name]["raw"])
        axes.grid(alpha=0.3)
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0))  # beside what it tells of
        path = directory / f"{name}.png"
        figure.savefig(path, bbox_inches="tight", metadata=METADATA)
        plt.close(figure)
        made.append(path)
    return made


def _cost(axes: Axes, raw: dict[str, Any]) -> None:
    points: dict[str, list[tuple[int, float]]] = {}
    for key, work in raw.items():
        if not key.startswith("plain-"):
            continue
        for peer, turns in work["peers"].items():
            us = statistics.median(turn["us_per_packet"] for turn in turns)
            points.setdefault(peer, []).append((work["receivers"], us))
    for peer, measured in points.items():
        axes.plot(*zip(*sorted(measured), strict=True), marker="o", label=peer)
    axes.set_xscale("log")
    axes.set_yscale("log")
    receivers = sorted({count for measured in points.values() for count, _ in measured})
    axes.set_xticks(receivers, [str(count) for count in receivers])
    axes.set_xlabel("receivers of 300 packets/s")
    axes.set_ylabel("µs of CPU per forwarded packet")


def _saturation(axes: Axes, raw: list[dict[str, Any]]) -> None:
    for each in raw:
        axes.plot(
            [step["asked_per_s"] / 1e3 for step in each["steps"]],
            [100 * max(step["lost"], 1e-5) for step in each["steps"]],
            "o",
            label=each["work"],
        )
    axes.set_yscale("log")
    axes.axhline(0.1, color="grey", linestyle=":")
    axes.set_xlabel("thousand packets/s asked of one core")
    axes.set_ylabel("lost, % (0.001 where none was)")


def _meeting(axes: Axes, raw: dict[str, list[dict[str, Any]]]) -> None:
    for peer, meetings in raw.items():
        held = sorted((each for each in meetings if each["p99_ms"]), key=lambda it: it["people"])
        axes.plot(
            [each["people"] for each in held],
            [100 * each["cores"] for each in held],
            label=peer,
        )
        for faults, marker in ((False, "o"), (True, "x")):
            axes.plot(
                [each["people"] for each in held if bool(each["faults"]) is faults],
                [100 * each["cores"] for each in held if bool(each["faults"]) is faults],
                marker,
                color=axes.lines[-1].get_color(),
            )
    axes.set_xlabel("people in the meeting (× is one that failed)")
    axes.set_ylabel("% of the core")


def _delay(axes: Axes, raw: dict[str, list[dict[str, Any]]]) -> None:
    for peer, loads in raw.items():
        shares = [100 * each["share"] for each in loads]
        color = None
        for quantile, style in (("p50", "-"), ("p99", ":")):
            (line,) = axes.plot(
                shares,
                [statistics.median(turn[quantile] for turn in each["turns"]) for each in loads],
                style,
                color=color,
                marker="o",
                label=f"{peer}, {quantile}",
            )
            color = line.get_color()
    axes.set_yscale("log")
    axes.set_xlabel("% of its core that a bridge uses")
    axes.set_ylabel("delay, ms")


def _growth(axes: Axes, raw: dict[str, list[dict[str, Any]]]) -> None:
    for kind, points in raw.items():
        first = points[0]["us_per_packet"]
        axes.plot(
            [point["size"] for point in points],
            [point["us_per_packet"] / first for point in points],
            marker="o",
            label=kind,
        )
    axes.set_xscale("log")
    axes.axhline(1.15, color="grey", linestyle=":")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("how many")
    axes.set_ylabel("cost of a packet, of that at the fewest")


def _overload(axes: Axes, raw: dict[str, Any]) -> None:
    times = [each["at_s"] for each in raw["each"]]
    axes.plot(times, [each["video_per_s"] / 1e3 for each in raw["each"]], label="pictures")
    axes.plot(times, [each["audio_per_s"] / 1e3 for each in raw["each"]], label="voices")
    axes.axvspan(raw["begins_s"], raw["ends_s"], alpha=0.15, color="tab:red", label="overload")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("s")
    axes.set_ylabel("thousand packets/s that arrive")


PLOTS: dict[str, Callable[[Axes, Any], None]] = {
    "cost": _cost,
    "saturation": _saturation,
    "meeting": _meeting,
    "delay": _delay,
    "growth": _growth,
    "overload": _overload,
}
