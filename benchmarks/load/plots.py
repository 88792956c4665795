"""A run as pictures: how delays are distributed, and how rates went."""

from collections.abc import Iterator
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.load.measuring import Measured
from benchmarks.load.roster import BUCKET_BOUNDS_NS
from benchmarks.load.watch import Delays

SIZE_IN = (8.0, 4.5)
DPI = 120


def plot(measured: Measured, directory: Path) -> list[Path]:
    """The pictures' paths; each is PNG."""
    plt.switch_backend("agg")
    return [_delays(measured, directory / "delays.png"), _rates(measured, directory / "rates.png")]


def _delays(measured: Measured, path: Path) -> Path:
    figure, axes = plt.subplots(figsize=SIZE_IN, dpi=DPI)
    named = {"voices": measured.whole.audio, "pictures": measured.whole.video}
    for name, delays in named.items():
        if delays.packets:
            bounds_ms, shares = zip(*_distribution(delays), strict=True)
            axes.step(bounds_ms, shares, where="post", label=name)
    axes.set_xscale("log")
    axes.set_ylim(0, 1.01)
    axes.set_xlabel("delay from sender to receiver, ms")
    axes.set_ylabel("share of packets that took no longer")
    return _save(figure, axes, path)


def _distribution(delays: Delays) -> Iterator[tuple[float, float]]:
    """Cumulative, from where packets begin to where they end."""
    so_far, whole = 0, delays.packets
    for bound_ns, count in zip(BUCKET_BOUNDS_NS, delays.counts, strict=True):
        so_far += count
        if so_far:
            yield bound_ns / 1e6, so_far / whole
        if so_far == whole:
            return


def _rates(measured: Measured, path: Path) -> Path:
    figure, axes = plt.subplots(figsize=SIZE_IN, dpi=DPI)
    seconds = range(1, len(measured.each_second) + 1)
    axes.plot(seconds, [it.packets_per_s for it in measured.each_second], label="received")
    axes.plot(seconds, [it.sent_packets_per_s for it in measured.each_second], label="sent")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("s")
    axes.set_ylabel("packets/s")
    losses = axes.twinx()
    losses.plot(
        seconds, [100 * it.loss for it in measured.each_second], color="tab:red", linestyle=":"
    )
    losses.set_ylim(0, max(1.0, *(110 * it.loss for it in measured.each_second)))
    losses.set_ylabel("lost, % (dotted)", color="tab:red")
    return _save(figure, axes, path)


def _save(figure: Figure, axes: Axes, path: Path) -> Path:
    if axes.get_legend_handles_labels()[0]:
        axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, bbox_inches="tight")
    plt.close(figure)
    return path
