"""Progress on the terminal: bars where a person watches, lines where a file or a service reads.

Knows rich; knows nothing of what the work is. What it writes goes to stderr, so that stdout stays
what a command answers.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_node import protocols


class ProgressBars:
    """One bar for each piece of work, kept on the screen when it is done."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._task = TaskID(0)

    def start(self, label: str, total: int) -> None:
        """Draw an empty bar."""
        self._task = self._bars.add_task(label, total=total)

    def advance(self, done: int) -> None:
        """Fill the bar up to `done`."""
        self._bars.update(self._task, completed=done)

    def finish(self) -> None:
        """Leave the bar as it stands."""
        self._bars.stop_task(self._task)

    def note(self, text: str) -> None:
        """Write a line above the bars."""
        self._bars.console.print(text, style="yellow", markup=False, highlight=False)


class ProgressLines:
    """One line when a piece of work begins and one when it ends."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._label = ""
        self._total = 0
        self._done = 0

    def start(self, label: str, total: int) -> None:
        """Write that the work begins."""
        self._label, self._total, self._done = label, total, 0
        self._write(f"{label} ...")

    def advance(self, done: int) -> None:
        """Remember how far it is."""
        self._done = done

    def finish(self) -> None:
        """Write whether all of it was done."""
        whole = self._done >= self._total
        self._write(
            f"{self._label} done" if whole else f"{self._label} stopped at {self._done} of {self._total}"
        )

    def note(self, text: str) -> None:
        """Write a line."""
        self._write(text)

    def _write(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def progress_bars(console: Console | None = None) -> Iterator[protocols.Progress]:
    """Yield what draws bars on a terminal and writes lines elsewhere.

    Args:
        console: Where to write; stderr where left out.
    """
    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield ProgressLines(console)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bars:
        yield ProgressBars(bars)
