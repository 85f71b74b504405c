"""How a small transport robot behaves: driving, turning, going to a place, charging.

Pure: it is stepped by seconds and knows no clock, no thread and no bus.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from types import MappingProxyType

from edge_node.demo.pump_physics import approach

PLACES = MappingProxyType(
    {"dock": (1.5, 1.5), "bay_1": (6.0, 9.0), "bay_2": (10.0, 9.0), "bay_3": (14.0, 9.0), "gate": (18.0, 6.0)}
)
TURN_DEGREES_PER_S = 45.0
MAX_SPEED_M_S = 1.5
_DRAIN_PERCENT_PER_M = 0.2
_CHARGE_PERCENT_PER_S = 5.0
_ARRIVED_M = 0.05


@dataclass(slots=True)
class RoverPhysics:
    """The state of one robot, and how it goes on.

    Attributes:
        x: Metres along the long wall.
        y: Metres along the short wall.
        heading: Degrees, 0 along x, counter-clockwise, from -180 to 180.
        speed: Metres per second.
        max_speed: Greatest speed it drives at, metres per second.
        battery: Percent.
        mode: `idle`, `driving`, `turning`, `docking`, `charging`, `halted` or `fault`.
    """

    x: float = 10.0
    y: float = 6.0
    heading: float = 0.0
    speed: float = 0.0
    max_speed: float = 1.0
    battery: float = 80.0
    mode: str = "idle"
    _goal: tuple[float, float] | None = field(default=None, repr=False)
    _left_m: float = field(default=0.0, repr=False)
    _left_degrees: float = field(default=0.0, repr=False)
    _direction: float = field(default=1.0, repr=False)

    @property
    def place(self) -> str:
        """The named place it stands at, or empty."""
        if self.mode in {"driving", "turning", "docking"}:
            return ""
        near = (name for name, (x, y) in PLACES.items() if math.hypot(self.x - x, self.y - y) <= _ARRIVED_M)
        return next(near, "")

    def go_to(self, place: str) -> None:
        """Set off to a named place."""
        self._goal = PLACES[place]
        self.mode = "docking" if place == "dock" else "driving"

    def drive(self, distance_m: float) -> None:
        """Set off straight ahead, or back with a negative distance."""
        self._goal, self._left_m = None, abs(distance_m)
        self._direction = math.copysign(1.0, distance_m)
        self.mode = "driving"

    def turn(self, degrees: float) -> None:
        """Begin to turn on the spot, to the left with positive degrees."""
        self._goal, self._left_m, self._left_degrees = None, 0.0, degrees
        self.mode = "turning"

    def halt(self) -> None:
        """Stand still and forget where to."""
        self._goal, self._left_m, self._left_degrees, self.speed = None, 0.0, 0.0, 0.0
        self.mode = "halted"

    def fault(self) -> None:
        """Stand still with a drive fault, until `repair`."""
        self.halt()
        self.mode = "fault"

    def repair(self) -> None:
        """Take the drive fault away."""
        if self.mode == "fault":
            self.mode = "idle"

    def step(self, dt_s: float) -> None:
        """Go on by `dt_s` seconds."""
        if dt_s <= 0.0:
            return
        if self.mode == "turning":
            self._turn_on(dt_s)
        elif self.mode == "charging":
            self._charge_on(dt_s)
        elif self._goal is not None:
            self._go_on(self._goal, dt_s)
        elif self.mode == "driving":
            self._drive_on(dt_s)

    def _charge_on(self, dt_s: float) -> None:
        self.battery = approach(self.battery, target=100.0, most=_CHARGE_PERCENT_PER_S * dt_s)
        if self.battery >= 100.0:  # noqa: PLR2004 - percent
            self.mode = "idle"

    def _turn_on(self, dt_s: float) -> None:
        left = approach(self._left_degrees, target=0.0, most=TURN_DEGREES_PER_S * dt_s)
        self.heading = _wrapped(self.heading + self._left_degrees - left)
        self._left_degrees = left
        if left == 0.0:
            self.mode = "idle"

    def _drive_on(self, dt_s: float) -> None:
        left = approach(self._left_m, target=0.0, most=self.max_speed * dt_s)
        self._move((self._left_m - left) * self._direction, dt_s=dt_s)
        self._left_m = left
        if left == 0.0:
            self.mode, self.speed = "idle", 0.0

    def _go_on(self, goal: tuple[float, float], dt_s: float) -> None:
        x, y = goal[0] - self.x, goal[1] - self.y
        distance_m = math.hypot(x, y)
        if distance_m > 0.0:
            self.heading = math.degrees(math.atan2(y, x))
        self._move(min(distance_m, self.max_speed * dt_s), dt_s=dt_s)
        if distance_m <= self.max_speed * dt_s:
            self.x, self.y, self._goal, self.speed = *goal, None, 0.0
            self.mode = "charging" if self.mode == "docking" else "idle"

    def _move(self, distance_m: float, *, dt_s: float) -> None:
        self.x += distance_m * math.cos(math.radians(self.heading))
        self.y += distance_m * math.sin(math.radians(self.heading))
        self.speed = distance_m / dt_s
        self.battery = max(0.0, self.battery - _DRAIN_PERCENT_PER_M * abs(distance_m))


def _wrapped(degrees: float) -> float:
    return (degrees + 180.0) % 360.0 - 180.0
