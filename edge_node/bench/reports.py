"""How a process that is measured tells how far it is: a line each 10 ms, until nobody listens any more.

Knows pipes; knows nothing of what is counted.
"""

from __future__ import annotations

import select
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

_INTERVAL_S = 0.010


class Report(NamedTuple):
    """How far a receiver was, and when.

    Attributes:
        at_s: Monotonic time, which all processes of a machine share.
        handled: Messages that it is done with.
        dropped: Messages that it let go unhandled.
    """

    at_s: float
    handled: int
    dropped: int

    @classmethod
    def of(cls, line: str) -> Report:
        """Return the report in a line."""
        at_s, handled, dropped = line.split()
        return cls(float(at_s), int(handled), int(dropped))


def report_until_closed(count: Callable[[], tuple[int, int]]) -> None:
    """Write what is handled and what is dropped to standard output, until standard input is closed."""
    while not select.select([sys.stdin], [], [], _INTERVAL_S)[0]:
        handled, dropped = count()
        sys.stdout.write(f"{time.monotonic()} {handled} {dropped}\n")
        sys.stdout.flush()
