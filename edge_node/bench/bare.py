"""The yardstick: a paho client that receives and does next to nothing, in a process of its own.

The second place that imports paho, because paho itself is what is measured here. Reports how many messages
it has had until its standard input ends.
"""

from __future__ import annotations

import json
import socket
import sys
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_node.bench.reports import report_until_closed


class BareClient:
    """A subscriber that counts; at quality of service 0 it parses the JSON, at 1 paho acknowledges.

    Attributes:
        handled: Messages so far.
    """

    def __init__(self, qos: int) -> None:
        self.handled = 0
        self._client = Client(
            CallbackAPIVersion.VERSION2, client_id="edge-node-bare", protocol=MQTTProtocolVersion.MQTTv5
        )
        self._client.on_message = self._count if qos else self._parse
        self._client.on_socket_open = _send_at_once

    def connect(self, host: str, *, port: int, topic: str, qos: int, at_once: int) -> None:
        """Connect, subscribe and receive from now on.

        Args:
            host: Where the broker is.
            port: Its port.
            topic: The filter.
            qos: Quality of service.
            at_once: Deliveries that may be unacknowledged at once, as many as the runtime allows.
        """
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.ReceiveMaximum = at_once

        def on_connect(client: Client, *_: Any) -> None:
            client.subscribe(topic, qos)

        self._client.on_connect = on_connect
        self._client.connect(host, port, properties=properties)
        self._client.loop_start()

    def stop(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()

    def _count(self, _client: Client, _data: Any, _message: MQTTMessage) -> None:
        self.handled += 1

    def _parse(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        json.loads(message.payload)
        self.handled += 1


def _send_at_once(_client: Client, _data: Any, sock: Any) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def main(host: str, port: str, topic: str, qos: str, at_once: str) -> None:
    """Receive until standard input ends."""
    client = BareClient(int(qos))
    client.connect(host, port=int(port), topic=topic, qos=int(qos), at_once=int(at_once))
    report_until_closed(lambda: (client.handled, 0))
    client.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
