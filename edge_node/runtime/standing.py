"""What an edge says of itself: one word in the retained status, and the description beside it.

Knows the words, their topics and the bus; knows nothing of how troubles are found.
"""

from __future__ import annotations

import contextlib
import json
import threading
from typing import TYPE_CHECKING, Any

import structlog

from edge_node.errors import BrokerUnreachable, BusError
from edge_node.messages import Outgoing
from edge_node.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edge_node.config.loaded import Configuration
    from edge_node.protocols import Bus
    from edge_node.topics import EdgeTopics

log = structlog.get_logger(__name__)


class Standing:
    """The word of an edge: starting, ready, degraded, stopped, draining, offline; the will says lost.

    `starting` holds on each connection until it is known that the broker lets the edge speak and hear.
    `stopped` goes before `degraded`: the description tells the troubles all the same.

    Args:
        topics: Topics of the edge.
        bus: Where it is said.
        about: Returns what the description says beside the troubles.
        is_stopped: Returns whether an operational stop is latched.
    """

    def __init__(
        self,
        topics: EdgeTopics,
        *,
        bus: Bus,
        about: Callable[[], Mapping[str, Any]],
        is_stopped: Callable[[], bool],
    ) -> None:
        self._topics = topics
        self._bus = bus
        self._about = about
        self._is_stopped = is_stopped
        self._lock = threading.Lock()
        self._word = "starting"
        self._troubles: tuple[str, ...] = ()

    def begin(self) -> None:
        """Say, on a new connection, what this edge is, and that it is not known yet whether all is well."""
        with self._lock:
            if self._word not in ("draining", "offline"):
                self._word = "starting"
            self._say()

    def judge(self, troubles: Sequence[str]) -> None:
        """Take up what is wrong with this connection; nothing makes the edge ready, unless it is stopped."""
        with self._lock:
            word, known = self._word, self._troubles
            if word in ("draining", "offline"):
                return
            well = "degraded" if troubles else "ready"
            self._word, self._troubles = "stopped" if self._is_stopped() else well, tuple(troubles)
            if (self._word, self._troubles) != (word, known):
                # Under the lock: two threads may judge, and the last word must be the last one said.
                self._say()
        if self._troubles and self._troubles != known:
            log.error("degraded", reason="; ".join(self._troubles))
        elif known and not self._troubles:
            log.info("recovered")

    def tell(self) -> None:
        """Say again what this edge is, because that has changed."""
        self._say()

    def drain(self) -> None:
        """Say that nothing more is taken in."""
        with self._lock:
            self._word = "draining"
            self._say()

    def leave(self, *, timeout_s: float) -> None:
        """Say the last word, and wait until the broker has it, where there is a connection."""
        self._word = "offline"
        last, gone = status(self._topics, self._word), threading.Event()
        try:
            self._bus.publish(last, on_acknowledged=gone.set, on_failed=lambda _: gone.set())
        except BusError:
            return
        gone.wait(timeout_s)

    def _say(self) -> None:
        about = {**self._about(), "troubles": list(self._troubles)}
        info = Outgoing(self._topics.info, json.dumps(about, ensure_ascii=False).encode(), retain=True)
        # Without a connection nothing is lost: the next one begins with all of it.
        with contextlib.suppress(BrokerUnreachable):
            # The reasons before the word: who hears `degraded` knows them already.
            self._bus.publish(info)
            self._bus.publish(status(self._topics, self._word))


def status(topics: EdgeTopics, word: str) -> Outgoing:
    """Return the retained status of an edge."""
    return Outgoing(topics.status, word.encode(), retain=True, content_type="text/plain")


def description(configuration: Configuration, *, boot: str, passages: int) -> dict[str, Any]:
    """Return what the retained description says of an edge.

    Args:
        configuration: The configuration in force.
        boot: Identifier of this run.
        passages: How many passages of the manuals can be found.
    """
    runtime = configuration.runtime
    return {
        "version": __version__,
        "edge": runtime.edge,
        "group": runtime.group,
        "boot": boot,
        "nodes": {node.name: node.spec.description for node in configuration.nodes},
        "model": runtime.model.name,
        "embedding": runtime.embedding.name,
        "passages": passages,
    }


def refusals(filters: Mapping[str, str]) -> list[str]:
    """Return what is told of topic filters that the broker refused, each with its reason."""
    return [
        f"{name}: the broker refused the subscription ({reason})" for name, reason in sorted(filters.items())
    ]
