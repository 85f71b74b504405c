"""The devices of the demo, all together.

Knows how many there are and what they are called; each of them is a client of the broker of its own.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_node.demo.pump import SimulatedPump
from edge_node.demo.rover import SimulatedRover

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


STANDBY = "pump-1"
SPEED_PERCENT = 60.0


@dataclass(frozen=True, slots=True)
class Fleet:
    """Devices that are running.

    Attributes:
        pumps: Name to pump: `pump-1` and so on.
        rovers: Name to robot: `rover-1` and so on.
    """

    pumps: Mapping[str, SimulatedPump]
    rovers: Mapping[str, SimulatedRover]


@contextmanager
def fleet(
    *,
    host: str,
    port: int,
    pumps: int = 3,
    rovers: int = 1,
    interval_s: float = 0.5,
    pace: float = 1.0,
) -> Iterator[Fleet]:
    """Yield devices that are connected and report, and stop them at the end.

    All pumps run but `pump-1`, which stands by with its valve closed.

    Args:
        host: Name or address of the broker.
        port: TCP port of the broker.
        pumps: How many pumps.
        rovers: How many robots.
        interval_s: Seconds between two reports of a device.
        pace: Seconds that pass for the machines in each second of the clock.

    Raises:
        BrokerUnreachable: The broker does not answer.
    """
    with ExitStack() as running:
        names = [f"pump-{number}" for number in range(1, pumps + 1)]
        pump_devices = {
            name: running.enter_context(
                SimulatedPump(
                    name,
                    host=host,
                    port=port,
                    speed=0.0 if name == STANDBY else SPEED_PERCENT,
                    interval_s=interval_s,
                    pace=pace,
                )
            )
            for name in names
        }
        rover_devices = {
            name: running.enter_context(
                SimulatedRover(name, host=host, port=port, interval_s=interval_s, pace=pace)
            )
            for name in (f"rover-{number}" for number in range(1, rovers + 1))
        }
        yield Fleet(pump_devices, rover_devices)
