"""The machines of the demo, without a bus."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_node.demo.pump_physics import PumpPhysics
from edge_node.demo.rover_physics import PLACES, RoverPhysics


def step(machine: PumpPhysics | RoverPhysics, *, seconds: float, dt_s: float = 0.1) -> None:
    for _ in range(round(seconds / dt_s)):
        machine.step(dt_s)


def test_a_sound_pump_stays_as_cool_as_it_is() -> None:
    pump = PumpPhysics.running(80.0)
    step(pump, seconds=60)
    assert pump.bearing_c == pytest.approx(61.0)
    assert pump.vibration_mm_s < 2.8


def test_a_worn_bearing_passes_85_degrees_within_five_seconds() -> None:
    pump = PumpPhysics.running(60.0)
    pump.worn_bearing = True
    step(pump, seconds=5)
    assert pump.bearing_c > 85


def test_slowing_to_30_percent_cools_a_worn_bearing_below_80_degrees() -> None:
    pump = PumpPhysics.running(60.0)
    pump.worn_bearing = True
    step(pump, seconds=10)
    pump.target = 30.0
    step(pump, seconds=20)
    assert pump.bearing_c < 80


def test_an_imbalance_shakes_a_fast_pump_beyond_the_alarm_and_a_repair_ends_it() -> None:
    pump = PumpPhysics.running(70.0)
    pump.imbalance = True
    assert pump.vibration_mm_s > 7.1
    pump.repair()
    assert pump.vibration_mm_s < 2.8


@given(
    start=st.floats(0, 100),
    target=st.floats(0, 100),
    steps=st.lists(st.floats(0, 2), min_size=1, max_size=30),
)
def test_a_pump_never_leaves_its_range_and_gets_exactly_where_it_ramps_to(
    start: float, target: float, steps: list[float]
) -> None:
    pump = PumpPhysics.running(start)
    pump.target = target
    for dt_s in steps:
        pump.step(dt_s)
        assert min(start, target) <= pump.speed <= max(start, target)
    pump.step(100 / 30)
    assert pump.speed == target


def test_the_valve_moves_before_it_arrives() -> None:
    pump = PumpPhysics.running(60.0)
    pump.valve_target = 0.0
    pump.step(0.5)
    assert pump.valve == "moving"
    pump.step(2.0)
    assert pump.valve == "closed"


@pytest.mark.parametrize("place", PLACES)
def test_a_rover_arrives_at_every_place(place: str) -> None:
    rover = RoverPhysics()
    rover.go_to(place)
    assert rover.place == ""
    step(rover, seconds=30)
    assert rover.place == place
    assert rover.mode in {"idle", "charging"}


def test_a_rover_drives_the_way_it_faces_and_back() -> None:
    rover = RoverPhysics(x=10.0, y=6.0, heading=90.0)
    rover.drive(2.0)
    step(rover, seconds=3)
    assert (rover.x, rover.y) == pytest.approx((10.0, 8.0))
    assert rover.mode == "idle"
    rover.drive(-1.5)
    step(rover, seconds=3)
    assert rover.y == pytest.approx(6.5)


def test_a_rover_turns_left_with_positive_degrees() -> None:
    rover = RoverPhysics()
    rover.turn(90.0)
    rover.step(1.0)
    assert (rover.heading, rover.mode) == (45.0, "turning")
    rover.step(1.0)
    assert (rover.heading, rover.mode) == (90.0, "idle")
    rover.turn(-180.0)
    step(rover, seconds=5)
    assert rover.heading == pytest.approx(-90.0)


def test_a_halted_rover_stays_where_it_is() -> None:
    rover = RoverPhysics()
    rover.go_to("gate")
    rover.step(1.0)
    rover.halt()
    x = rover.x
    step(rover, seconds=5)
    assert (rover.x, rover.mode, rover.speed) == (x, "halted", 0.0)


def test_a_rover_charges_at_the_dock_until_it_is_full() -> None:
    rover = RoverPhysics(battery=18.0)
    rover.go_to("dock")
    assert rover.mode == "docking"
    step(rover, seconds=15)
    assert rover.mode == "charging"
    step(rover, seconds=30)
    assert (rover.battery, rover.mode) == (100.0, "idle")


@given(distance=st.floats(0.1, 5.0), heading=st.floats(-180.0, 180.0), dt_s=st.floats(0.01, 3.0))
def test_a_rover_never_drives_further_than_it_was_told(distance: float, heading: float, dt_s: float) -> None:
    rover = RoverPhysics(heading=heading)
    rover.drive(distance)
    while rover.mode == "driving":
        rover.step(dt_s)
    assert math.hypot(rover.x - 10.0, rover.y - 6.0) == pytest.approx(distance)
