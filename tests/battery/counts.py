"""How often each fault is brought about: few times with every test run, many times on demand.

`BATTERY=large` takes the second column; `BATTERY_COUNT` takes a number of its own, to try a row out.
"""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One row of the battery.

    Attributes:
        name: What is done to the edge.
        small: How often with every test run.
        large: How often on demand.
    """

    name: str
    small: int
    large: int

    @property
    def count(self) -> int:
        """How often in this run."""
        own = os.environ.get("BATTERY_COUNT")
        return int(own) if own else self.large if LARGE else self.small


LARGE = os.environ.get("BATTERY") == "large"

STEADY = Fault("steady load, messages", 2_000, 200_000)
KILL = Fault("kill -9 at random moments", 20, 500)
LABEL = Fault("kill at each labelled point", 1, 20)
BROKER = Fault("broker killed, restarted, session lost", 4, 150)
CONNECTION = Fault("TCP cut, half-open connection", 10, 300)
POWER = Fault("power cut", 100, 10_000)
DISK = Fault("no space, I/O error", 30, 500)
MALFORMED = Fault("malformed payloads and envelopes", 5_000, 1_000_000)
OVERLOAD = Fault("ten times the load it bears, seconds", 20, 600)
CLOCK = Fault("clock jumps", 6, 50)
SEQUENCE = Fault("random telemetry with restarts, sequences of messages", 300, 10_000)
HOSTILE = Fault("hostile inputs to a model that obeys them", 1_000, 10_000)
STOP = Fault("stop while the model is busy", 20, 1_000)
EQUALITY = Fault("answers beside plain decoding", 8, 500)
