"""What an edge takes for the time while somebody sets the clock."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from structlog.testing import capture_logs

from edge_node.clock import SteadyClock, elapsed_s

_HOUR_S = 3600.0


@dataclass
class Machine:
    """The two clocks of a machine."""

    wall: float = 1000.0
    elapsed: float = 7.0

    def pass_by(self, seconds: float) -> None:
        self.wall += seconds
        self.elapsed += seconds

    def clock(self) -> SteadyClock:
        return SteadyClock(wall=lambda: self.wall, elapsed=lambda: self.elapsed)


def test_it_begins_with_the_time_of_day() -> None:
    assert Machine(wall=1_800_000_000.0).clock()() == 1_800_000_000.0


@pytest.mark.parametrize("step_s", [_HOUR_S, -_HOUR_S, 1_800_000_000.0])
def test_it_counts_what_has_passed_whatever_is_done_to_the_time_of_day(step_s: float) -> None:
    machine = Machine()
    clock = machine.clock()
    machine.wall += step_s
    machine.pass_by(2.5)
    assert clock() == 1002.5
    assert clock.wall() == 1002.5 + step_s


def test_a_step_is_told_once() -> None:
    machine = Machine()
    clock = machine.clock()
    with capture_logs() as said:
        assert clock.look() == 0.0
        machine.wall += _HOUR_S
        assert clock.look() == pytest.approx(_HOUR_S)
        assert clock.look() == 0.0
        machine.wall -= _HOUR_S
        assert clock.look() == pytest.approx(-_HOUR_S)
    assert [line["by_s"] for line in said] == [_HOUR_S, -_HOUR_S]


def test_what_a_network_clock_corrects_little_by_little_is_no_step() -> None:
    machine = Machine()
    clock = machine.clock()
    machine.pass_by(60.0)
    machine.wall += 0.2
    with capture_logs() as said:
        assert clock.look() == 0.0
    assert not said


def test_elapsed_time_does_not_go_back() -> None:
    before = elapsed_s()
    assert elapsed_s() >= before
