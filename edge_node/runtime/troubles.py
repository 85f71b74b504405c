"""Where trouble of the edge itself is looked for, once a second.

Knows which part counts or shows what; knows nothing of how it is told.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_node.bus.client import MqttBus
    from edge_node.journal.journal import Journal
    from edge_node.runtime.alerts import Alerts
    from edge_node.runtime.backlog import Backlog
    from edge_node.runtime.dispatcher import Dispatcher
    from edge_node.runtime.reloading import Reloading
    from edge_node.runtime.stop_line import StopLine
    from edge_node.twin import DeviceTwin
    from edge_node.understand.larger import CircuitBreaker


@dataclass(slots=True)
class Troubles:
    """The parts of a service that may be in trouble.

    Attributes:
        alerts: Told what is found.
        bus: The connection.
        stop_line: The connection for stops.
        backlog: What waits for the dispatcher.
        dispatcher: What waits for the model.
        twin: The devices.
        journal: The disk.
        reloading: The files of the configuration.
        breaker: The larger model.
    """

    alerts: Alerts
    bus: MqttBus
    stop_line: StopLine
    backlog: Backlog
    dispatcher: Dispatcher
    twin: DeviceTwin
    journal: Journal
    reloading: Reloading
    breaker: CircuitBreaker
    _met: bool = False

    def look(self) -> None:
        """Take up how everything stands, and tell what has begun or ended."""
        connected = self.bus.connected
        self._met = self._met or connected
        self.alerts.count("readings_dropped", self.backlog.dropped)
        self.alerts.count("queue_full", self.dispatcher.refused)
        self.alerts.count("devices_refused", self.twin.refusals.devices)
        self.alerts.count("device_times_refused", self.twin.refusals.untimely)
        self.alerts.count("device_values_doubtful", self.twin.refusals.unusable)
        self.alerts.count("outbox_full", self.journal.crowded_out)
        self.alerts.state("disk_failing", self._disk())
        self.alerts.state("broker_outage", "no connection" if self._met and not connected else "")
        deaf = connected and not self.stop_line.listening
        self.alerts.state("stop_unheard", "nobody hears a stop, so commands wait" if deaf else "")
        self.alerts.state("configuration_refused", self.reloading.trouble)
        self.alerts.state("larger_model_down", self.breaker.trouble)
        self.alerts.send()

    def _disk(self) -> str:
        if self.journal.failure is not None:
            return str(self.journal.failure)
        return "" if self.stop_line.durable else "the operational stop is not on the disk"
