from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_node.bus.memory import MemoryBroker, MemoryBus
from edge_node.errors import TopicInvalid
from edge_node.messages import Message, Outgoing

if TYPE_CHECKING:
    from edge_node.bus.receipt import Receipt


class Listener:
    def __init__(self, broker: MemoryBroker, *filters: str, qos: int = 1) -> None:
        self.came: list[Message] = []
        self.receipts: list[Receipt] = []
        self.bus = MemoryBus(broker, on_message=self._take)
        self.bus.subscribe(dict.fromkeys(filters, qos))

    def _take(self, message: Message, receipt: Receipt) -> None:
        self.came.append(message)
        self.receipts.append(receipt)

    @property
    def topics(self) -> list[str]:
        return [message.topic for message in self.came]


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker(clock=lambda: 42.0)


def test_everyone_who_listens_gets_it_once(broker: MemoryBroker) -> None:
    one, both, none = Listener(broker, "a/+"), Listener(broker, "a/b", "a/#"), Listener(broker, "b/#")
    acknowledged: list[bool] = []
    one.bus.publish(
        Outgoing("a/b", b"x", correlation=b"c"), on_acknowledged=lambda: acknowledged.append(True)
    )
    assert (one.topics, both.topics, none.topics) == (["a/b"], ["a/b"], [])
    assert acknowledged == [True]
    (message,) = one.came
    assert (message.payload, message.correlation, message.received_at) == (b"x", b"c", 42.0)
    assert (message.durable, message.retained) == (True, False)


def test_the_lower_quality_of_service_counts(broker: MemoryBroker) -> None:
    listener = Listener(broker, "a", qos=0)
    listener.bus.publish(Outgoing("a", b"x", qos=1))
    assert (listener.came[0].qos, listener.came[0].durable) == (0, False)


def test_what_is_retained_reaches_those_who_come_later_until_it_is_cleared(broker: MemoryBroker) -> None:
    first = Listener(broker, "a/#")
    first.bus.publish(Outgoing("a/b", b"1", retain=True))
    first.bus.publish(Outgoing("a/b", b"2", retain=True))
    assert not first.came[0].retained
    late = Listener(broker, "a/#")
    assert [(message.payload, message.retained) for message in late.came] == [(b"2", True)]
    first.bus.publish(Outgoing("a/b", b"", retain=True))
    assert Listener(broker, "a/#").came == []


def test_an_answer_published_by_a_listener_comes_after_what_it_answers_for_everyone(
    broker: MemoryBroker,
) -> None:
    def answer(message: Message, _receipt: Receipt) -> None:
        if message.topic == "question":
            answering.publish(Outgoing("answer", b""))

    answering = MemoryBus(broker, on_message=answer)
    answering.subscribe({"#": 1})
    watching = Listener(broker, "#")
    watching.bus.publish(Outgoing("question", b""))
    assert watching.topics == ["question", "answer"]


def test_what_was_not_acknowledged_comes_again_and_old_receipts_are_void(broker: MemoryBroker) -> None:
    listener = Listener(broker, "a")
    listener.bus.publish(Outgoing("a", b"1"))
    listener.bus.publish(Outgoing("a", b"2"))
    listener.bus.acknowledge(listener.receipts[0])
    listener.bus.reconnect()
    assert [message.payload for message in listener.came] == [b"1", b"2", b"2"]
    listener.bus.acknowledge(listener.receipts[1])
    listener.bus.reconnect()
    assert len(listener.came) == 4
    listener.bus.acknowledge(listener.receipts[3])
    listener.bus.reconnect()
    assert len(listener.came) == 4


def test_a_stopped_bus_hears_nothing(broker: MemoryBroker) -> None:
    listener, other = Listener(broker, "a"), Listener(broker, "a")
    listener.bus.stop()
    other.bus.publish(Outgoing("a", b""))
    assert (listener.came, len(other.came)) == ([], 1)


def test_a_topic_with_a_wildcard_cannot_be_published_on(broker: MemoryBroker) -> None:
    with pytest.raises(TopicInvalid):
        Listener(broker, "a").bus.publish(Outgoing("a/#", b""))
