from __future__ import annotations

import random
import struct
import time
from typing import TYPE_CHECKING

import pytest

from tests.battery.counts import CLOCK
from tests.battery.plant import plant
from tests.battery.verdict import assert_it_held

if TYPE_CHECKING:
    from pathlib import Path

    from tests.battery.edges import Nursery
    from tests.battery.report import Report

pytestmark = [pytest.mark.broker]
_HOUR_S = 3600.0


def test_a_clock_that_jumps_loses_nothing_and_repeats_nothing(
    tmp_path: Path, nursery: Nursery, report: Report
) -> None:
    chance = random.Random(9)
    clock = tmp_path / "clock"
    _set(clock, 1000.0 - time.time())
    with report.row(CLOCK) as noted, plant(tmp_path, nursery=nursery) as site:
        # A board without a battery: 1970 until the network tells the time.
        site.start(cold=True, clock=str(clock))
        site.feeder.start(per_s=60.0)
        site.edge.ended.wait(1.0)
        site.feeder.stop()
        site.drain()
        assert_it_held(site)
        # What ended in 1970 ended long ago, once the time is known, and is soon forgotten.
        site.forget()
        _set(clock, 0.0)
        site.feeder.start(per_s=60.0)
        shifts = [(_HOUR_S, 0.0, -_HOUR_S, 0.0)[place % 4] for place in range(CLOCK.count - 1)]
        for shift_s in shifts:
            site.edge.ended.wait(chance.uniform(0.5, 1.0))
            assert not site.edge.ended.is_set(), site.last_words()
            _set(clock, shift_s)
        site.edge.ended.wait(0.5)
        site.feeder.stop()
        site.drain()
        states = dict(site.rows("SELECT state, count(*) FROM commands GROUP BY state"))
        noted.update({"inputs": len(site.feeder.kept), "commands": states})
        assert site.edge.stop() == 0
        assert_it_held(site)
        # A command that waits while the clock leaps ahead expires unsent, and says so: it errs on the safe
        # side, and is only counted.
        assert not site.rows("SELECT 1 FROM outbox WHERE state = 'doubtful'")


def _set(file: Path, shift_s: float) -> None:
    if not file.exists():
        file.write_bytes(bytes(8))
    with file.open("r+b") as handle:
        handle.write(struct.pack("d", shift_s))
