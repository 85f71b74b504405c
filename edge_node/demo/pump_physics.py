"""How a circulation pump behaves: speed, bearing temperature, vibration and its discharge valve.

Pure: it is stepped by seconds and knows no clock, no thread and no bus.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

AMBIENT_C = 25.0
RAMP_PERCENT_PER_S = 30.0
VALVE_TRAVEL_S = 1.5
_BEARING_TIME_CONSTANT_S = 5.0
_HEAT_C_PER_PERCENT = 0.45
_FAULT_HEAT_C_PER_PERCENT = 1.0
_RESTING_VIBRATION_MM_S = 0.2
_VIBRATION_MM_S_PER_PERCENT = 0.025
_IMBALANCE_MM_S_PER_PERCENT = 0.08


@dataclass(slots=True)
class PumpPhysics:
    """The state of one pump, and how it goes on.

    A worn bearing heats with the speed, so that slowing the pump down cools it; an imbalance shakes
    with the speed. Both are there until `repair`.

    Attributes:
        speed: Percent of the rated speed, 0 to 100.
        target: Speed it ramps to, percent.
        bearing_c: Temperature of the drive-end bearing, degrees Celsius.
        valve_opening: 0 closed, 1 open.
        valve_target: Opening the valve moves to, 0 or 1.
        worn_bearing: Whether the bearing heats more than it should.
        imbalance: Whether the impeller is out of balance.
    """

    speed: float = 60.0
    target: float = 60.0
    bearing_c: float = AMBIENT_C + 60.0 * _HEAT_C_PER_PERCENT
    valve_opening: float = 1.0
    valve_target: float = 1.0
    worn_bearing: bool = False
    imbalance: bool = False

    @classmethod
    def running(cls, speed: float) -> PumpPhysics:
        """Return a sound pump long at `speed` percent, valve open; at 0 it stands by, valve closed."""
        opening = 1.0 if speed else 0.0
        return cls(
            speed=speed,
            target=speed,
            bearing_c=AMBIENT_C + _HEAT_C_PER_PERCENT * speed,
            valve_opening=opening,
            valve_target=opening,
        )

    @property
    def vibration_mm_s(self) -> float:
        """Velocity at the bearing housing, mm/s RMS."""
        if self.speed <= 0.0:
            return 0.0
        slope = _VIBRATION_MM_S_PER_PERCENT + (_IMBALANCE_MM_S_PER_PERCENT if self.imbalance else 0.0)
        return _RESTING_VIBRATION_MM_S + slope * self.speed

    @property
    def valve(self) -> str:
        """What the two limit switches say: `open`, `closed` or `moving`."""
        if self.valve_opening >= 1.0:
            return "open"
        return "closed" if self.valve_opening <= 0.0 else "moving"

    def step(self, dt_s: float) -> None:
        """Go on by `dt_s` seconds."""
        self.speed = approach(self.speed, target=self.target, most=RAMP_PERCENT_PER_S * dt_s)
        self.valve_opening = approach(
            self.valve_opening, target=self.valve_target, most=dt_s / VALVE_TRAVEL_S
        )
        heat = _HEAT_C_PER_PERCENT + (_FAULT_HEAT_C_PER_PERCENT if self.worn_bearing else 0.0)
        settled_c = AMBIENT_C + heat * self.speed
        self.bearing_c += (settled_c - self.bearing_c) * -math.expm1(-dt_s / _BEARING_TIME_CONSTANT_S)

    def repair(self) -> None:
        """Take every fault away."""
        self.worn_bearing = self.imbalance = False


def approach(value: float, *, target: float, most: float) -> float:
    """Return `value` moved towards `target` by at most `most`, and exactly `target` once it is there."""
    return min(value + most, target) if value < target else max(value - most, target)
