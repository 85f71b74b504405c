"""Trouble of the edge itself, told once as it begins and once as it ends.

Knows envelopes and time; knows nothing of where trouble is found. Goes straight to the bus and not
through the journal, because a disk that fails is one of the things to tell.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog

from edge_node.errors import BusError

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_node.announcing import Announcing
    from edge_node.messages import Outgoing

log = structlog.get_logger(__name__)

_QUIET_S = 10.0
_WAITING = 64


@dataclass(slots=True)
class _Episode:
    """A trouble that goes on.

    Attributes:
        began_at: When it was first seen, seconds since the epoch.
        seen_at: When it was last seen.
        before: The count before it began; 0 where nothing is counted.
    """

    began_at: float
    seen_at: float
    before: int = 0


class Alerts:
    """Episodes by name; used by one thread.

    Args:
        announcing: Envelopes.
        publish: Sends a message, or raises BusError; those that find no connection wait, the oldest go.
        clock: Wall clock, seconds since the epoch.
        quiet_s: A count that has not grown for so long has come to its end.
    """

    def __init__(
        self,
        announcing: Announcing,
        *,
        publish: Callable[[Outgoing], None],
        clock: Callable[[], float],
        quiet_s: float = _QUIET_S,
    ) -> None:
        self._announcing = announcing
        self._publish = publish
        self._clock = clock
        self._quiet_s = quiet_s
        self._open: dict[str, _Episode] = {}
        self._totals: dict[str, int] = {}
        self._waiting: deque[Outgoing] = deque(maxlen=_WAITING)

    def count(self, name: str, total: int) -> None:
        """Take up how often something has happened in all; it goes on for as long as that grows."""
        before, now = self._totals.get(name, 0), self._clock()
        self._totals[name] = total
        episode = self._open.get(name)
        if total > before:
            if episode is None:
                episode = self._begin(name, text=f"{name.replace('_', ' ')}: it begins", before=before)
            episode.seen_at = now
        elif episode is not None and abs(now - episode.seen_at) >= self._quiet_s:
            came = total - episode.before
            self._end(name, text=f"{name.replace('_', ' ')}: {came} in all", count=came)

    def state(self, name: str, trouble: str) -> None:
        """Take up how something stands: why it is in trouble, or nothing where it is not."""
        if trouble and name not in self._open:
            self._begin(name, text=f"{name.replace('_', ' ')}: {trouble}")
        elif not trouble and name in self._open:
            self._end(name, text=f"{name.replace('_', ' ')}: over")

    def send(self) -> None:
        """Publish what waits, in order, as far as there is a connection."""
        try:
            while self._waiting:
                self._publish(self._waiting[0])
                self._waiting.popleft()
        except BusError as error:
            log.debug("alerts_wait", waiting=len(self._waiting), reason=str(error))

    def _begin(self, name: str, *, text: str, before: int = 0) -> _Episode:
        now = self._clock()
        episode = self._open[name] = _Episode(began_at=now, seen_at=now, before=before)
        log.warning("alert_begins", alert=name, text=text)
        self._tell(name, "begin", text=text, began_at=_stamp(now))
        return episode

    def _end(self, name: str, *, text: str, **facts: int) -> None:
        began_at, now = self._open.pop(name).began_at, self._clock()
        log.warning("alert_ends", alert=name, text=text, lasted_s=round(now - began_at, 1), **facts)
        self._tell(name, "end", text=text, began_at=_stamp(began_at), ended_at=_stamp(now), **facts)

    def _tell(self, name: str, state: str, **facts: Any) -> None:
        topic = self._announcing.topics.alert(name)
        data = {"alert": name, "state": state, **facts}
        self._waiting.append(self._announcing.envelope(topic, "alert", data))


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
