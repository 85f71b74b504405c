"""All devices of all nodes: how many there may be, which changed, and their rows.

Knows devices by node and name; knows no message, no lock and no clock.
"""

from __future__ import annotations

import json
import math
from itertools import islice
from typing import TYPE_CHECKING

import structlog

from edge_node.messages import StateRow
from edge_node.twin.known import Known, read, written

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edge_node.twin.listening import Listener

log = structlog.get_logger(__name__)

OWNER = "twin"
"""Whose rows the twin's are."""
FORGET_S = 86_400.0
"""Silence after which a device that was never commanded makes room, where the twin is full."""
_LOOK_FOR_ROOM_S = 60.0
_ROWS = 2000
"""Most devices that are written at once; the others follow at the next look."""
_SHOWN = 40


class Roster:
    """The devices; not safe to use from several threads at once.

    Args:
        nodes: Names of the nodes.
        listeners: Their `listen` entries.
        limit: Most devices, each counted once for every node it is known to.

    Attributes:
        count: How many there are.
    """

    def __init__(self, nodes: Iterable[str], *, listeners: Iterable[Listener], limit: int) -> None:
        self.count = 0
        self._limit = limit
        self._known: dict[str, dict[str, Known]] = {node: {} for node in nodes}
        self._entries = _entries(listeners)
        self._changed: dict[tuple[str, str], None] = {}
        self._urgent: dict[tuple[str, str], None] = {}
        self._looked_at = -math.inf

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of the nodes, sorted."""
        return tuple(sorted(self._known))

    @property
    def longest_stale_s(self) -> float:
        """The longest time for which any value counts."""
        return max(
            (age for each in self._entries.values() for f in each.values() for age in f.values()), default=0.0
        )

    def find(self, node: str, device: str) -> Known | None:
        """Return a device, or None where it is not known."""
        return self._known.get(node, {}).get(device)

    def names(self, node: str) -> tuple[str, ...]:
        """Return the devices of a node, sorted."""
        return tuple(sorted(self._known.get(node, ())))

    def add(self, node: str, device: str, *, now: float) -> Known | None:
        """Return a new device, or None where there is no room.

        In a full twin, devices give way that were silent for a day and never commanded.
        """
        if self.count >= self._limit and not self._has_made_room(now):
            return None
        self.count += 1
        known = self._known[node][device] = Known()
        return known

    def mark(self, node: str, device: str, *, urgent: bool = False) -> None:
        """Take note that a device changed."""
        (self._urgent if urgent else self._changed)[node, device] = None

    def take(self, *, urgent: bool) -> tuple[StateRow, ...]:
        """Return the rows of devices that changed, oldest change first, a bounded number.

        Args:
            urgent: Only those whose change was urgent.
        """
        if urgent and not self._urgent:
            return ()
        both = self._urgent if urgent else {**self._urgent, **self._changed}
        taken = list(islice(both, _ROWS))
        for device in taken:
            self._urgent.pop(device, None)
            self._changed.pop(device, None)
        return tuple(self._row(*device) for device in taken)

    def restore(self, rows: Iterable[StateRow]) -> None:
        """Take up rows; what cannot be read is left out, and told."""
        for row in rows:
            try:
                node, device = json.loads(row.key)
                known = read(row.body or "", entries=self._entries.get(node, {}))
            except (ValueError, KeyError, TypeError, AttributeError) as problem:
                log.warning("device_not_remembered", key=row.key[:_SHOWN], reason=repr(problem)[:200])
                continue
            if node in self._known and self.count < self._limit:
                self.count += device not in self._known[node]
                self._known[node][device] = known

    def _has_made_room(self, now: float) -> bool:
        if abs(now - self._looked_at) < _LOOK_FOR_ROOM_S:
            return False
        self._looked_at = now
        silent = [
            (node, name)
            for node, devices in self._known.items()
            for name, known in devices.items()
            if now - known.seen_at > FORGET_S and not known.commanded
        ]
        for node, name in silent:
            del self._known[node][name]
            self.mark(node, name)
        self.count -= len(silent)
        if silent:
            log.info("devices_forgotten", count=len(silent), reason="silent for a day, and room was needed")
        return bool(silent)

    def _row(self, node: str, device: str) -> StateRow:
        known = self._known[node].get(device)
        key = json.dumps([node, device], ensure_ascii=False)
        return StateRow(OWNER, key, None if known is None else written(known))


def _entries(listeners: Iterable[Listener]) -> Mapping[str, Mapping[str, Mapping[int, float]]]:
    """Return node to field to the places of the entries that read it, each with its `stale`."""
    entries: dict[str, dict[str, dict[int, float]]] = {}
    for listener in listeners:
        fields = entries.setdefault(listener.node, {})
        for name, _ in listener.paths:
            fields.setdefault(name, {})[listener.entry] = listener.stale_s
    return entries
