"""`python -m benchmarks.soak`: people use a mesh for long, and nothing may grow or get lost."""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import trio
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.soak.report import plot, show
from benchmarks.soak.run import Display, Terms, soak

LIVE_EVERY = 0.1
"""Of the time, outside a terminal."""


@click.command()
@click.option("--minutes", type=click.FloatRange(min=1), default=30.0, show_default=True)
@click.option("--people", type=click.IntRange(min=4), default=30, show_default=True)
@click.option("--seed", default=1, show_default=True, help="Of what people do.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("benchmarks/out"),
    show_default=True,
    help="Where the plot goes, and the processes' logs when something is wrong.",
)
def main(minutes: float, people: int, seed: int, out: Path) -> None:
    """Have PEOPLE join, leave, talk, look around and show screens in three regions."""
    console = Console(highlight=False)
    out.mkdir(parents=True, exist_ok=True)
    terms = Terms(minutes=minutes, people=people, seed=seed)
    with tempfile.TemporaryDirectory(prefix="octomesh-soak-") as directory:
        with _display(console) as display:
            outcome = trio.run(soak, terms, Path(directory), display)
        failures = outcome.failures()
        if failures:
            for log in Path(directory).glob("state/logs/*.log"):
                (out / f"soak-{log.name}").write_bytes(log.read_bytes())
    console.print()
    show(outcome, console)
    for failure in failures:
        console.print(f"FAILED: {failure}", style="red", soft_wrap=True, markup=False)
    if failures:
        console.print(f"logs: {out}/soak-*.log")
    console.print(f"plot: {plot(outcome, out / 'soak.png')}")
    sys.exit(bool(failures))


@contextmanager
def _display(console: Console) -> Iterator[Display]:
    if console.is_terminal:
        columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
        with Progress(*columns, console=console) as progress:
            task = progress.add_task("the mesh starts", total=1.0)
            yield Display(
                line=lambda text: progress.console.print(text, markup=False),
                live=lambda share, text: progress.update(task, completed=share, description=text),
            )
        return
    told = 0.0

    def live(share: float, text: str) -> None:
        nonlocal told
        if share >= told + LIVE_EVERY:
            told = share
            click.echo(f"{share:.0%}: {text}")

    yield Display(line=click.echo, live=live)


if __name__ == "__main__":
    main()
