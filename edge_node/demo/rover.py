"""A simulated transport robot on the bus.

Reports on `rover/{name}/state` and takes orders on `rover/{name}/cmd`; the machine itself is in
`edge_node.demo.rover_physics`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_node.demo.device import SimulatedDevice, choice, number
from edge_node.demo.rover_physics import MAX_SPEED_M_S, PLACES, RoverPhysics
from edge_node.errors import EnvelopeInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping

_FARTHEST_M = 5.0
_WIDEST_DEGREES = 180.0
_SLOWEST_M_S = 0.1
_DEEDS = ("go_to", "drive", "drive_back", "turn_left", "turn_right", "set_max_speed", "halt")


class SimulatedRover(SimulatedDevice):
    """A robot that drives between a dock, three bays and a gate.

    An order is a JSON object with `do` (`go_to`, `drive`, `drive_back`, `turn_left`, `turn_right`,
    `set_max_speed`, `halt`), what that needs (`place`, `distance_m`, `degrees`, `speed`), and as it
    likes an `id`.
    """

    def __init__(
        self,
        name: str,
        *,
        host: str,
        port: int,
        interval_s: float = 0.5,
        pace: float = 1.0,
    ) -> None:
        """Make a robot that stands in the middle of the hall once it is started.

        Args:
            name: Name of the robot, such as `rover-1`.
            host: Name or address of the broker.
            port: TCP port of the broker.
            interval_s: Seconds between two reports.
            pace: Seconds that pass for the robot in each second of the clock.
        """
        super().__init__(
            name,
            host=host,
            port=port,
            report_topic=f"rover/{name}/state",
            order_topic=f"rover/{name}/cmd",
            interval_s=interval_s,
            pace=pace,
        )
        self._physics = RoverPhysics()

    def drain(self, percent: float) -> None:
        """Leave `percent` in the battery."""
        self._change(lambda: setattr(self._physics, "battery", percent))

    def fault(self) -> None:
        """Stop with a drive fault until `repair`."""
        self._change(self._physics.fault)

    def repair(self) -> None:
        """Take the drive fault away."""
        self._change(self._physics.repair)

    def _step(self, dt_s: float) -> None:
        self._physics.step(dt_s)

    def _report(self) -> dict[str, Any]:
        rover = self._physics
        return {
            "pose": {"x": round(rover.x, 2), "y": round(rover.y, 2), "heading": round(rover.heading, 1)},
            "speed": round(rover.speed, 2),
            "max_speed": round(rover.max_speed, 2),
            "battery": round(rover.battery, 1),
            "mode": rover.mode,
            "place": rover.place,
        }

    def _obey(self, order: Mapping[str, Any]) -> None:
        deed = choice(order, "do", of=_DEEDS)
        if self._physics.mode == "fault" and deed != "set_max_speed":
            raise EnvelopeInvalid("do", expected="a robot without a drive fault", came=deed)
        match deed:
            case "go_to":
                self._physics.go_to(choice(order, "place", of=tuple(PLACES)))
            case "drive":
                self._physics.drive(number(order, "distance_m", low=0, high=_FARTHEST_M))
            case "drive_back":
                self._physics.drive(-number(order, "distance_m", low=0, high=_FARTHEST_M))
            case "turn_left":
                self._physics.turn(number(order, "degrees", low=0, high=_WIDEST_DEGREES))
            case "turn_right":
                self._physics.turn(-number(order, "degrees", low=0, high=_WIDEST_DEGREES))
            case "set_max_speed":
                self._physics.max_speed = number(order, "speed", low=_SLOWEST_M_S, high=MAX_SPEED_M_S)
            case "halt":
                self._physics.halt()
