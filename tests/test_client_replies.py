from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from edge_node.bus.client import Listeners, MqttBus
from edge_node.client import Client
from edge_node.config.models import BrokerConfig
from edge_node.messages import Outgoing
from tests.brokers import DEADLINE_S, embedded

if TYPE_CHECKING:
    from edge_node.bus.receipt import Receipt
    from edge_node.messages import Message


def test_a_reply_that_an_edge_repeats_after_a_crash_is_heard_once() -> None:
    with embedded() as broker:
        settings = BrokerConfig(port=broker.port)

        def answer(message: Message, receipt: Receipt) -> None:
            edge.acknowledge(receipt)
            for number, final in (
                ("r-1", False),
                ("r-1", False),
                ("r-2", False),
                ("r-1", False),
                ("r-3", True),
            ):
                reply: dict[str, Any] = {
                    "id": number,
                    "corr": message.correlation.decode(),
                    "type": "command",
                    "data": {"text": number, "final": final},
                }
                edge.publish(Outgoing("edge/v1/hall/reply/ada", json.dumps(reply).encode()))

        edge = MqttBus(settings, client_id="edge", listeners=Listeners(answer))
        edge.subscribe({"edge/v1/hall/ask/+": 1})
        edge.start()
        try:
            assert edge.wait_subscribed(DEADLINE_S)
            with Client(settings, edge="hall", user="ada") as ada:
                assert [r.text for r in ada.ask("anything", timeout_s=DEADLINE_S)] == ["r-1", "r-2", "r-3"]
        finally:
            edge.stop()
