"""Everything that a bridge is measured by, beside the floor, Janus and mediasoup, and its targets.

    make bench, or python -m benchmarks.bench --help

Cases are `benchmarks/cases/`. What they find goes into results.json, with every turn and the
machine, and into capacity.json for `octomesh plan`; `python -m benchmarks.report` writes both
tables and plots of RESULTS.md from that.
"""

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import click
import trio
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.capacity import CAPACITY_FILE
from benchmarks.cases import CASES
from benchmarks.cases.result import Case, Outcome, Say, Setting
from benchmarks.machine import machine
from benchmarks.peers import mediasoup_build
from benchmarks.table import table

RESULTS_FILE = "results.json"
PLAIN_WIDTH = 240
QUICK_ROUNDS, QUICK_SECONDS = 1, 1.0
PEERS = ("janus", "mediasoup")
PIECES = 80
"""Of a line in a terminal, at most so many characters."""


@contextmanager
def _progress(cases: int) -> Iterator[tuple[Say, Progress]]:
    """A bar over the cases in a terminal, lines elsewhere."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, transient=True, disable=not sys.stdout.isatty()) as progress:
        if progress.disable:
            yield partial(print, flush=True), progress
            return
        task = progress.add_task("", total=cases)

        def say(line: str) -> None:
            progress.update(task, description=line[:PIECES])

        yield say, progress


def _check(setting: Setting) -> None:
    """ClickException, in words for a person, when something is missing that the run needs."""
    if shutil.which("gcc") is None:
        raise click.ClickException("no gcc, to compile the floor with: apt-get install gcc")
    if setting.janus and shutil.which("janus") is None:
        raise click.ClickException("no janus: apt-get install janus, or bench --without janus")
    if setting.janus and os.geteuid() != 0:
        raise click.ClickException(
            "Janus needs a network namespace, and that needs root: or bench --without janus"
        )
    if setting.mediasoup:
        mediasoup_build.build()


def _run(case: Case, setting: Setting, say: Say) -> Outcome | str:
    """What it has found, or why it has found nothing."""
    try:
        return trio.run(case.run, setting, say)
    except Exception as error:
        # One case's fault costs its own figures; the others' are as good as ever.
        first: BaseException = error
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        if isinstance(first, click.ClickException):
            return first.format_message()
        sys.excepthook(type(error), error, error.__traceback__)
        return str(first) or type(first).__name__


@click.command(help=__doc__)
@click.argument("names", metavar="[CASE]...", nargs=-1, type=click.Choice(list(CASES)))
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="turns of each, which alternate; some cases take one turn only",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=4.0,
    show_default=True,
    help="of each turn",
)
@click.option("--quick", is_flag=True, help="one round of a second: to see that it works")
@click.option("--without", multiple=True, type=click.Choice(PEERS), help="let this peer go")
@click.option(
    "--out",
    default=Path("benchmarks/out"),
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="where results.json and capacity.json go; cases that do not run now stay in it",
)
def main(
    names: tuple[str, ...],
    rounds: int,
    seconds: float,
    quick: bool,
    without: tuple[str, ...],
    out: Path,
) -> None:
    setting = Setting(
        rounds=QUICK_ROUNDS if quick else rounds,
        seconds=QUICK_SECONDS if quick else seconds,
        janus="janus" not in without,
        mediasoup="mediasoup" not in without,
    )
    _check(setting)
    chosen = [CASES[name] for name in dict.fromkeys(names)] or list(CASES.values())
    out.mkdir(parents=True, exist_ok=True)
    results = _earlier(out / RESULTS_FILE)
    kept: list[str] = []
    failures: dict[str, str] = {}
    with _progress(len(chosen)) as (say, progress):
        for case in chosen:
            say(f"{case.key}: {case.title}")
            begin_s = time.monotonic()
            outcome = _run(case, setting, say)
            if isinstance(outcome, str):
                failures[case.key] = outcome
            else:
                _keep(results, case, setting, outcome, time.monotonic() - begin_s)
                kept.append(case.key)
                (out / RESULTS_FILE).write_text(json.dumps(results, indent=1) + "\n")
                if outcome.capacity is not None:
                    outcome.capacity.write(out / CAPACITY_FILE)
            for task in progress.task_ids:
                progress.advance(task)
    console = Console() if sys.stdout.isatty() else Console(width=PLAIN_WIDTH)
    console.print(table(results, kept))
    for key, why in failures.items():
        click.echo(f"{key}: FAILED: {why}", err=True)
    click.echo(f"{out / RESULTS_FILE} has every turn; RESULTS.md: python -m benchmarks.report")
    sys.exit(bool(failures))


def _earlier(path: Path) -> dict[str, Any]:
    """What earlier runs have left there, of other cases."""
    if path.exists():
        return dict(json.loads(path.read_text()))
    return {"format": "octomesh-bench", "version": 1, "cases": {}}


def _keep(
    results: dict[str, Any], case: Case, setting: Setting, outcome: Outcome, took_s: float
) -> None:
    results["cases"][case.key] = {
        "title": case.title,
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        **({"rounds": setting.rounds} if case.repeats else {}),
        "seconds": setting.seconds,
        "took_s": round(took_s, 1),
        "lines": [line.as_json() for line in outcome.lines],
        "raw": outcome.raw,
    }


if __name__ == "__main__":
    main()
