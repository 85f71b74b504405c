"""Where readings at quality of service 0 come in: a connection of their own, for no order to wait behind.

A broker hands out the messages of one connection in order. What it holds of readings that come faster than
they are read would stand before every question, approval and journaled message on the same connection.

Knows a bus and a word to itself; knows no queue, no journal and nothing of what readings mean.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import structlog

from edge_node.bus.client import Listeners
from edge_node.runtime.probe import Probe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_node.bus.client import MqttBus
    from edge_node.bus.receipt import Receipt
    from edge_node.errors import BrokerRefused
    from edge_node.messages import Message

log = structlog.get_logger(__name__)


class ReadingsLine:
    """The connection for readings; without any it is never opened, and always well.

    Nothing on it is kept by the broker over its end: each connection starts with the retained states.

    Args:
        filters: What comes on it; none where no node listens at quality of service 0.
        probe: Topic of the word to itself.
        connect: Gives the bus that tells these listeners.
        on_reading: Told each reading; must be short and must not raise.
        on_settled: Called once it is known that this connection hears.
    """

    def __init__(
        self,
        filters: Mapping[str, int],
        *,
        probe: str,
        connect: Callable[[Listeners], MqttBus],
        on_reading: Callable[[Message], None],
        on_settled: Callable[[], None],
    ) -> None:
        self._used = bool(filters)
        self._on_reading = on_reading
        self._on_settled = on_settled
        self._refusal = ""
        listeners = Listeners(
            message=self._receive,
            connected=self._on_connected,
            disconnected=self._on_disconnected,
            refused=self._on_refused,
        )
        self._bus = connect(listeners)
        self._probe = Probe(probe, bus=self._bus)
        self._bus.subscribe({probe: 0, **filters})

    @property
    def alive(self) -> bool:
        """Whether its thread runs, or has a told reason not to."""
        return not self._used or bool(self._refusal) or self._bus.alive

    @property
    def idle_s(self) -> float:
        """Seconds since its thread last came round."""
        return self._bus.idle_s if self._used and not self._refusal else 0.0

    @property
    def hears_since(self) -> float | None:
        """Since when it has been open, minus infinity where it is not needed, None while it is not open."""
        return self._bus.hears_since if self._used else -math.inf

    @property
    def settled(self) -> bool:
        """Whether it is known by now if readings come."""
        return not self._used or self._probe.settled

    @property
    def troubles(self) -> tuple[str, ...]:
        """What is wrong with it, in sentences; none while that is not known yet."""
        if not self._used or not self._probe.settled:
            return ()
        if not self._bus.connected:
            why = self._refusal or self._bus.trouble or "no answer yet"
            return (f"the connection for readings at quality of service 0 is not open ({why})",)
        refused = (
            f"{name}: the broker refused the subscription ({reason})"
            for name, reason in sorted(self._bus.refused_filters.items())
        )
        return (*filter(None, [self._probe.trouble]), *refused)

    def start(self) -> None:
        """Connect, and stay connected until `stop`."""
        if self._used:
            self._probe.send()
            self._bus.start()

    def change(self, filters: Mapping[str, int]) -> None:
        """Hear these from now on; the connection is opened where none was needed before."""
        self._bus.subscribe({self._probe.topic: 0, **filters})
        if filters and not self._used:
            self._used = True
            self.start()

    def look(self) -> None:
        """Ask again whether it hears, where it did not; to be called now and then."""
        if self._used and self._bus.connected and self._probe.trouble:
            self._probe.send()

    def stop(self) -> None:
        """Take in no more readings."""
        self._bus.stop()

    # The rest runs on the network thread of the connection.

    def _receive(self, message: Message, _receipt: Receipt) -> None:
        # A reading proves as much as the own word, which may stand behind many of them.
        self._probe.hear()
        if message.topic == self._probe.topic:
            self._on_settled()
        else:
            self._on_reading(message)

    def _on_connected(self, _session_present: bool) -> None:  # noqa: FBT001 - a callback
        log.info("readings_line_connected")
        self._probe.send()

    def _on_disconnected(self, _reason: str) -> None:
        # Gives it the patience of a probe to come back before it counts as trouble.
        self._probe.send()

    def _on_refused(self, refusal: BrokerRefused) -> None:
        self._refusal = str(refusal)
