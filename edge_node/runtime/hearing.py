"""What an edge hears on which connection, over restarts and reloads.

Knows nodes, the wire layout, the connections and where the journal keeps what was subscribed; knows nothing
of what is done with what is heard.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from edge_node.bus.client import MqttBus
from edge_node.runtime.filters import filters_of
from edge_node.runtime.readings_line import ReadingsLine
from edge_node.topics import EdgeTopics

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_node.config.loaded import Configuration
    from edge_node.journal.journal import Journal
    from edge_node.messages import Message

_KEY = "filters"


class Hearing:
    """The subscriptions of an edge; the broker keeps them with the session, so they are written down.

    Args:
        configuration: What the edge starts with.
        boot: Identifier of this run.
        bus: The main connection.
        journal: Where is kept what was subscribed on it.
        clock: Seconds since the epoch.
        on_reading: Told each reading that comes apart; must be short and must not raise.
        on_settled: Called once it is known that the readings' connection hears.

    Attributes:
        readings: The connection for readings.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        boot: str,
        bus: MqttBus,
        journal: Journal,
        clock: Callable[[], float],
        on_reading: Callable[[Message], None],
        on_settled: Callable[[], None],
    ) -> None:
        runtime = configuration.runtime
        self._topics = EdgeTopics(runtime.edge, group=runtime.group or "")
        self._probe = self._topics.probe(boot)
        self._bus = bus
        self._journal = journal
        self._filters, apart = self._wanted(configuration)
        self.readings = ReadingsLine(
            apart,
            probe=self._topics.probe(f"{boot}-readings"),
            connect=lambda listeners: MqttBus(
                runtime.broker.model_copy(update={"session": 0.0}),
                client_id=f"edge-node-{runtime.edge}-readings",
                listeners=listeners,
                max_payload_bytes=runtime.limits.payload,
                clock=clock,
            ),
            on_reading=on_reading,
            on_settled=on_settled,
        )

    @property
    def since(self) -> float | None:
        """Since when both connections have been open, seconds since the epoch; None while one is not."""
        main, readings = self._bus.hears_since, self.readings.hears_since
        return None if main is None or readings is None else max(main, readings)

    def begin(self) -> None:
        """Ask for every topic of the configuration, and no more for those of the run before.

        The broker keeps the session, and with it what an older configuration subscribed.
        """
        self._bus.subscribe(self._known())
        self._bus.subscribe(self._filters)
        self._journal.remember(_KEY, json.dumps(self._filters))

    def expect(self, configuration: Configuration) -> None:
        """Write down the topics of a configuration before they are asked for.

        After a crash from here on, no subscription is left at the broker that nobody knows of.
        """
        filters, _ = self._wanted(configuration)
        self._journal.remember(_KEY, json.dumps({**self._known(), **filters}))

    def change(self, configuration: Configuration) -> None:
        """Ask for every topic of a configuration that was expected, and no more for any other."""
        self._filters, apart = self._wanted(configuration)
        self._bus.subscribe(self._filters)
        self.readings.change(apart)

    def _known(self) -> dict[str, int]:
        known: dict[str, int] = json.loads(self._journal.recall(_KEY) or "{}")
        return known

    def _wanted(self, configuration: Configuration) -> tuple[dict[str, int], dict[str, int]]:
        return filters_of(configuration, topics=self._topics, probe=self._probe)
