"""Whether the broker lets an edge speak and hear: a word to itself on each connection.

Brokers drop what an access list forbids without a word, so the only proof is a message that comes back.
Knows one topic and the bus; knows nothing of what else is published.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from edge_node.errors import BrokerUnreachable
from edge_node.messages import Outgoing

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_node.errors import BusError
    from edge_node.protocols import Bus

PATIENCE_S = 5.0


class Probe:
    """A message to oneself, and what it means that it does not come.

    Args:
        topic: Where it is published; the edge must have subscribed to it.
        bus: The bus.
        clock: Monotonic clock in seconds.
    """

    def __init__(self, topic: str, *, bus: Bus, clock: Callable[[], float] = time.monotonic) -> None:
        self.topic = topic
        self._bus = bus
        self._clock = clock
        self._sent_at_s = clock()
        self._heard = False
        self._refusal = ""

    def send(self) -> None:
        """Publish it; to be called on each connection once the subscriptions are under way."""
        self._sent_at_s, self._heard, self._refusal = self._clock(), False, ""
        # Where the connection has just ended, the next one sends it.
        with contextlib.suppress(BrokerUnreachable):
            self._bus.publish(Outgoing(self.topic, b"", content_type=""), on_failed=self._failed)

    def hear(self) -> None:
        """Take up that it came."""
        self._heard = True

    @property
    def settled(self) -> bool:
        """Whether it is known by now if it comes."""
        return self._heard or bool(self._refusal) or self._clock() - self._sent_at_s >= PATIENCE_S

    @property
    def trouble(self) -> str:
        """What is wrong, in a sentence; empty where it came, or may still come."""
        if self._heard or not self.settled:
            return ""
        came = self._refusal or f"nothing within {PATIENCE_S:g} s"
        return (
            f"{self.topic}: expected the broker to hand this edge its own message, came {came};"
            " check the broker's access list against `edge-node acl --broker mosquitto`"
        )

    def _failed(self, error: BusError) -> None:
        if not error.retryable:
            self._refusal = f"a refusal ({error})"
