"""Where a long run stands: a bar and live figures in a terminal, a line now and then elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

SAY_EACH = 5
"""Steps between two lines where there is no terminal."""


class Tell:
    """Told by whoever does the work."""

    def __init__(self, console: Console, live: Live | None) -> None:
        self._console, self._live = console, live
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        self._progress = Progress(*columns, console=console)
        self._what, self._steps = "", 0

    def begin(self, what: str, steps: int) -> None:
        """Something else begins, of so many steps."""
        self._what, self._steps = what, 0
        if self._live is None:
            self._console.print(what)
            return
        for task in self._progress.task_ids:
            self._progress.remove_task(task)
        self._progress.add_task(what, total=steps)
        self._live.update(self._progress)

    def step(self, figures: str, steps: int = 1) -> None:
        """So much further, and these are the figures."""
        before = self._steps
        self._steps += steps
        if self._live is not None:
            for task in self._progress.task_ids:
                self._progress.update(task, completed=self._steps)
            self._live.update(Group(self._progress, Text(figures)))
        elif self._steps // SAY_EACH > before // SAY_EACH:
            self._console.print(f"  {self._what}, {self._steps}: {figures}", soft_wrap=True)


@contextmanager
def telling(console: Console) -> Iterator[Tell]:
    """For as long as the context is open; the bar is gone afterwards."""
    if not console.is_terminal:
        yield Tell(console, None)
        return
    with Live(console=console, transient=True) as live:
        yield Tell(console, live)
