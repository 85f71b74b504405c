"""What an edge subscribes to: for itself, and for its nodes.

Pure functions from a configuration to topic filters; knows nothing of connections.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_node.topics import TopicPattern, may_overlap

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_node.config.loaded import Configuration
    from edge_node.topics import EdgeTopics


def filters_of(
    configuration: Configuration, *, topics: EdgeTopics, probe: str
) -> tuple[dict[str, int], dict[str, int]]:
    """Return the topic filters of the main connection and those of the readings', with quality of service."""
    own, heard = _own(configuration, topics=topics, probe=probe), _heard(configuration)
    apart = readings_among(heard, own=own)
    kept = {name: max(qos, own.get(name, 0)) for name, qos in heard.items() if name not in apart}
    return own | kept, apart


def readings_among(heard: Mapping[str, int], *, own: Mapping[str, int]) -> dict[str, int]:
    """Return the topic filters that may have a connection of their own: at quality of service 0, and apart.

    One that overlaps with a filter of the main connection stays there. A broker may send a message once
    for two filters of one connection, and would send it twice over two.

    Args:
        heard: What the nodes listen to, with the highest quality of service.
        own: What the edge itself listens to on the main connection.
    """
    main = own.keys() | {name for name, qos in heard.items() if qos}
    return {
        name: qos
        for name, qos in heard.items()
        if not qos and not any(may_overlap(name, other) for other in main)
    }


def _own(configuration: Configuration, *, topics: EdgeTopics, probe: str) -> dict[str, int]:
    """Return what the edge itself listens to, with the quality of service."""
    filters = {probe: 0, topics.operations: 1}
    if any(node.spec.ask for node in configuration.nodes):
        # Claims first: no question may come before the claims on it are heard.
        filters |= {topics.claims: 1} if topics.group else {}
        filters[topics.asks] = 1
    return filters


def _heard(configuration: Configuration) -> dict[str, int]:
    """Return what the nodes listen to, with the highest quality of service one wants, and keep lines of."""
    filters: dict[str, int] = {}
    for node in configuration.nodes:
        for entry in node.spec.listen:
            name = TopicPattern.parse(entry.topic).filter
            filters[name] = max(entry.qos, filters.get(name, 0))
        for kept in node.spec.logs:
            filters.setdefault(kept.log, 0)
    return filters
