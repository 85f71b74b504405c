"""A simulated circulation pump on the bus.

Reports on `plant/{name}/telemetry` and takes orders on `plant/{name}/set`; the machine itself is in
`edge_node.demo.pump_physics`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_node.demo.device import SimulatedDevice, choice, number
from edge_node.demo.pump_physics import AMBIENT_C, PumpPhysics
from edge_node.errors import EnvelopeInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping

_ORDERS = frozenset({"speed", "valve"})


class SimulatedPump(SimulatedDevice):
    """A pump with a speed, a bearing that warms up, a vibration sensor and a discharge valve.

    An order is a JSON object with `speed` (0 to 100 percent), `valve` (`open` or `closed`) or both, and
    as it likes an `id`.
    """

    def __init__(
        self,
        name: str,
        *,
        host: str,
        port: int,
        speed: float = 60.0,
        interval_s: float = 0.5,
        pace: float = 1.0,
    ) -> None:
        """Make a pump that runs at `speed` percent once it is started.

        Args:
            name: Name of the pump, such as `pump-1`.
            host: Name or address of the broker.
            port: TCP port of the broker.
            speed: Percent of the rated speed, 0 to 100.
            interval_s: Seconds between two reports.
            pace: Seconds that pass for the pump in each second of the clock.
        """
        super().__init__(
            name,
            host=host,
            port=port,
            report_topic=f"plant/{name}/telemetry",
            order_topic=f"plant/{name}/set",
            interval_s=interval_s,
            pace=pace,
        )
        self._physics = PumpPhysics.running(speed)

    def fault(self) -> None:
        """Wear the bearing: it heats with the speed until `repair`, past 85 °C at 60 percent and more."""
        self._change(lambda: setattr(self._physics, "worn_bearing", True))

    def shake(self) -> None:
        """Bring the impeller out of balance until `repair`: past 7.1 mm/s at 70 percent and more."""
        self._change(lambda: setattr(self._physics, "imbalance", True))

    def repair(self) -> None:
        """Take every fault away."""
        self._change(self._physics.repair)

    def _step(self, dt_s: float) -> None:
        self._physics.step(dt_s)

    def _report(self) -> dict[str, Any]:
        pump = self._physics
        return {
            "speed_percent": round(pump.speed, 1),
            "temp": {"bearing": round(pump.bearing_c, 1), "ambient": AMBIENT_C},
            "vib_rms": round(pump.vibration_mm_s, 2),
            "valve": pump.valve,
        }

    def _obey(self, order: Mapping[str, Any]) -> None:
        if not _ORDERS & order.keys():
            raise EnvelopeInvalid("order", expected="speed or valve", came=", ".join(order) or "nothing")
        speed = number(order, "speed", low=0, high=100) if "speed" in order else None
        valve = choice(order, "valve", of=("open", "closed")) if "valve" in order else None
        if speed is not None:
            self._physics.target = speed
        if valve is not None:
            self._physics.valve_target = 1.0 if valve == "open" else 0.0
