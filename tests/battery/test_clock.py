from __future__ import annotations

import random
import struct
import time
from typing import TYPE_CHECKING

import pytest

from edge_node.messages import Outgoing
from tests.battery.counts import CLOCK
from tests.battery.plant import plant
from tests.battery.verdict import assert_it_held

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.battery.edges import Nursery
    from tests.battery.plant import Plant
    from tests.battery.report import Report

pytestmark = [pytest.mark.broker]
_HOUR_S = 3600.0
_DEADLINE_S = 60.0
_ACKNOWLEDGEMENTS = "plant/+/telemetry"


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
        # No command waits for as long as it may, and presses speak all the time: this can only be a leap.
        assert not {"expired", "denied"} & states.keys()
        assert not site.rows("SELECT 1 FROM outbox WHERE state = 'doubtful'")


def test_what_waits_while_the_clock_is_set_goes_on_by_elapsed_time(tmp_path: Path, nursery: Nursery) -> None:
    clock = tmp_path / "clock"
    in_1970_s = 1000.0 - time.time()
    _set(clock, in_1970_s)
    with plant(tmp_path, nursery=nursery) as site:
        site.start(cold=True, clock=str(clock))
        for number, shift_s in enumerate((0.0, -_HOUR_S, _HOUR_S, in_1970_s), start=1):
            # The broker has the command, and the edge does not hear of it yet.
            site.proxy.hold(_ACKNOWLEDGEMENTS)
            site.feeder.bus.publish(Outgoing("plant/press-1/fast", b'{"mark": %d}' % number, qos=0))
            _wait(site, lambda number=number: any(deed.count == number for deed in site.presses.deeds))
            _set(clock, shift_s)
            _wait(site, lambda number=number: site.log.read_text().count('"clock_set"') == number)
            site.proxy.release(_ACKNOWLEDGEMENTS)
            _wait(site, lambda: not site.rows("SELECT 1 FROM commands WHERE ended_at IS NULL"))
            site.feeder.bus.publish(Outgoing("plant/press-1/fast", b'{"mark": 0}', qos=0))
            assert site.rows("SELECT state, count(*) FROM commands GROUP BY state") == [("verified", number)]
        assert site.edge.stop() == 0


def _wait(site: Plant, holds: Callable[[], bool]) -> None:
    until_s = time.monotonic() + _DEADLINE_S
    while not holds():
        assert time.monotonic() < until_s, site.last_words()
        time.sleep(0.02)  # another process's work: there is no event to wait for


def _set(file: Path, shift_s: float) -> None:
    if not file.exists():
        file.write_bytes(bytes(8))
    with file.open("r+b") as handle:
        handle.write(struct.pack("d", shift_s))
