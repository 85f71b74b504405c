"""What an edge subscribes to, over restarts and reloads.

Knows nodes, the wire layout, the bus and where the journal keeps what was subscribed; knows no message.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from edge_node.topics import TopicPattern

if TYPE_CHECKING:
    from edge_node.bus.client import MqttBus
    from edge_node.config.loaded import Configuration
    from edge_node.journal.journal import Journal
    from edge_node.topics import EdgeTopics

_KEY = "filters"


class Hearing:
    """The subscriptions of an edge; the broker keeps them with the session, so they are written down.

    Args:
        topics: Topics of the edge.
        probe: Topic on which this run speaks to itself.
        bus: Where is subscribed.
        journal: Where is kept what was subscribed.
    """

    def __init__(self, topics: EdgeTopics, *, probe: str, bus: MqttBus, journal: Journal) -> None:
        self._topics = topics
        self._probe = probe
        self._bus = bus
        self._journal = journal

    def begin(self, configuration: Configuration) -> None:
        """Ask for every topic of a configuration, and no more for those of the run before."""
        filters = self._filters(configuration)
        self._bus.subscribe(self._known())
        self._bus.subscribe(filters)
        self._journal.remember(_KEY, json.dumps(filters))

    def expect(self, configuration: Configuration) -> None:
        """Write down the topics of a configuration before they are asked for.

        After a crash from here on, no subscription is left at the broker that nobody knows of.
        """
        self._journal.remember(_KEY, json.dumps({**self._known(), **self._filters(configuration)}))

    def change(self, configuration: Configuration) -> None:
        """Ask for every topic of a configuration that was expected, and no more for any other."""
        self._bus.subscribe(self._filters(configuration))

    def _known(self) -> dict[str, int]:
        known: dict[str, int] = json.loads(self._journal.recall(_KEY) or "{}")
        return known

    def _filters(self, configuration: Configuration) -> dict[str, int]:
        """Return every topic filter with its quality of service."""
        filters = {self._probe: 0, self._topics.operations: 1}
        if any(node.spec.ask for node in configuration.nodes):
            # Claims first: no question may come before the claims on it are heard.
            filters |= {self._topics.claims: 1} if self._topics.group else {}
            filters[self._topics.asks] = 1
        for node in configuration.nodes:
            for entry in node.spec.listen:
                name = TopicPattern.parse(entry.topic).filter
                filters[name] = max(entry.qos, filters.get(name, 0))
        return filters
