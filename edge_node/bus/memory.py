"""A bus within one process, for scenarios, demonstrations and tests.

Same promises as a broker at quality of service 1, as far as they make sense in memory: retained
messages, wildcards, acknowledgements, and delivery again of what was not acknowledged. Knows no network
and starts no thread: a publication is delivered before `publish` returns.
"""

from __future__ import annotations

import itertools
from collections import deque
from typing import TYPE_CHECKING

from edge_node.bus.receipt import Receipt
from edge_node.identifiers import new_id
from edge_node.messages import Message
from edge_node.topics import TopicPattern, check_topic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_node.errors import BusError
    from edge_node.messages import Outgoing


class MemoryBroker:
    """What several `MemoryBus` share: who listens, and what is retained."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._retained: dict[str, Outgoing] = {}
        self._buses: list[MemoryBus] = []
        self._queue: deque[Callable[[], None]] = deque()
        self._busy = False

    def join(self, bus: MemoryBus) -> None:
        """Let a bus take part."""
        self._buses.append(bus)

    def leave(self, bus: MemoryBus) -> None:
        """Let a bus take part no more."""
        self._buses.remove(bus)

    def retained(self) -> tuple[Outgoing, ...]:
        """Return the last retained message of each topic, in the order of topics."""
        return tuple(self._retained[topic] for topic in sorted(self._retained))

    def route(self, outgoing: Outgoing, *, acknowledged: Callable[[], None]) -> None:
        """Keep what is to be retained and deliver to all that listen, in the order of publication."""
        if outgoing.retain:
            self._retained.pop(outgoing.topic, None)
            if outgoing.payload:
                self._retained[outgoing.topic] = outgoing
        self._queue.append(acknowledged)
        self._queue.extend(_delivery(bus, outgoing) for bus in self._buses)
        # A listener that publishes only adds to the queue, so that everyone sees the same order.
        if self._busy:
            return
        self._busy = True
        try:
            while self._queue:
                self._queue.popleft()()
        finally:
            self._busy = False


class MemoryBus:
    """One client of a `MemoryBroker`, with the interface of `MqttBus`."""

    def __init__(self, broker: MemoryBroker, *, on_message: Callable[[Message, Receipt], None]) -> None:
        self._broker = broker
        self._on_message = on_message
        self._filters: dict[str, tuple[TopicPattern, int]] = {}
        self._mids = itertools.count(1)
        self._epoch = 1
        self._unacknowledged: dict[int, Message] = {}
        broker.join(self)

    @property
    def connected(self) -> bool:
        """Always true: there is no network to fail."""
        return True

    @property
    def refused_filters(self) -> Mapping[str, str]:
        """Always empty: everyone may listen to everything."""
        return {}

    def subscribe(self, filters: Mapping[str, int]) -> None:
        """Make these the subscriptions from now on; what is retained under new ones is delivered at once."""
        new = [name for name in filters if name not in self._filters]
        self._filters = {name: (TopicPattern.parse(name), qos) for name, qos in filters.items()}
        for outgoing in self._broker.retained():
            if any(self._filters[name][0].match(outgoing.topic) is not None for name in new):
                self.deliver(outgoing, retained=True)

    def publish(
        self,
        outgoing: Outgoing,
        *,
        on_acknowledged: Callable[[], None] | None = None,
        on_failed: Callable[[BusError], None] | None = None,  # noqa: ARG002 - nothing fails here
    ) -> None:
        """Deliver a message to everyone who listens.

        Raises:
            TopicInvalid: It may not be published on this topic.
        """
        check_topic(outgoing.topic)
        self._broker.route(outgoing, acknowledged=on_acknowledged or _nothing)

    def deliver(self, outgoing: Outgoing, *, retained: bool = False) -> None:
        """Give a message to the listener if one of the filters matches; the highest quality counts."""
        matching = [
            qos for pattern, qos in self._filters.values() if pattern.match(outgoing.topic) is not None
        ]
        if not matching:
            return
        qos = min(outgoing.qos, max(matching))
        message = Message(
            id=new_id(),
            topic=outgoing.topic,
            payload=outgoing.payload,
            received_at=self._broker.clock(),
            qos=qos,
            retained=retained,
            durable=qos > 0,
            correlation=outgoing.correlation,
        )
        self._hand_over(message)

    def _hand_over(self, message: Message) -> None:
        mid = next(self._mids)
        if message.qos:
            self._unacknowledged[mid] = message
        self._on_message(message, Receipt(mid, message.qos, self._epoch))

    def acknowledge(self, receipt: Receipt) -> None:
        """Take note that a delivery is safe; a receipt from before `reconnect` is dropped."""
        if receipt.epoch == self._epoch:
            self._unacknowledged.pop(receipt.mid, None)

    def reconnect(self) -> None:
        """Deliver again what was not acknowledged, with new receipts."""
        self._epoch += 1
        unacknowledged = list(self._unacknowledged.values())
        self._unacknowledged.clear()
        for message in unacknowledged:
            self._hand_over(message)

    def stop(self) -> None:
        """Listen no more."""
        self._broker.leave(self)


def _nothing() -> None:
    """Do nothing."""


def _delivery(bus: MemoryBus, outgoing: Outgoing) -> Callable[[], None]:
    return lambda: bus.deliver(outgoing)
