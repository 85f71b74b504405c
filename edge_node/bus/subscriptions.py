"""What is subscribed, and what the broker said to it; knows nothing of connections."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_FILTERS_AT_ONCE = 50
_log = structlog.get_logger(__name__)


class Subscriptions:
    """The filters that are wanted, brought to the broker anew on each connection.

    Attributes:
        answered: Set while there is a connection on which the broker has answered for every filter.
    """

    def __init__(self) -> None:
        self.answered = threading.Event()
        self._lock = threading.Lock()
        self._connected = False
        self._wanted: dict[str, int] = {}
        self._obsolete: set[str] = set()
        self._open: set[str] = set()
        self._refused: dict[str, str] = {}

    @property
    def refused(self) -> dict[str, str]:
        """Filter to reason, for those the broker refused on this connection."""
        with self._lock:
            return dict(self._refused)

    def replace(self, filters: Mapping[str, int]) -> tuple[dict[str, int], tuple[str, ...]]:
        """Want these from now on; return what is new and what is to be ended."""
        with self._lock:
            new = {name: qos for name, qos in filters.items() if self._wanted.get(name) != qos}
            obsolete = self._wanted.keys() - filters.keys()
            self._wanted = dict(filters)
            self._obsolete = (self._obsolete | obsolete) - filters.keys()
            self._refused = {name: why for name, why in self._refused.items() if name in filters}
            self._open = (self._open | new.keys()) & filters.keys()
            self._tell()
            return new, tuple(obsolete)

    def opened(self) -> tuple[dict[str, int], tuple[str, ...]]:
        """Return what is to be subscribed and what is to be ended on a new connection."""
        with self._lock:
            self._connected = True
            self._refused.clear()
            self._open = set(self._wanted)
            self._tell()
            return dict(self._wanted), tuple(self._obsolete)

    def closed(self) -> None:
        """Take note that the connection is over."""
        with self._lock:
            self._connected = False
            self._tell()

    def answer(self, answers: Mapping[str, str]) -> None:
        """Take up what the broker said: filter to the reason of a refusal, or to nothing."""
        with self._lock:
            for name, reason in answers.items():
                self._open.discard(name)
                if reason:
                    self._refused[name] = reason
                    _log.error(
                        "subscription_refused",
                        filter=name,
                        reason=reason,
                        hint="nothing published there will be seen; check the broker's access list",
                    )
            self._tell()

    def _tell(self) -> None:
        if self._connected and not self._open:
            self.answered.set()
        else:
            self.answered.clear()


def portions(filters: Sequence[str]) -> list[Sequence[str]]:
    """Return `filters` in the portions that one SUBSCRIBE or UNSUBSCRIBE carries."""
    return [filters[at : at + _FILTERS_AT_ONCE] for at in range(0, len(filters), _FILTERS_AT_ONCE)]
