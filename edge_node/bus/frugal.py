"""The client of paho with what it does for each message done for many, or not at all.

The other half of the door to paho; knows packets and sockets, and nothing of what messages mean.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Any

from paho.mqtt.client import MQTT_ERR_SUCCESS, PUBACK, Client
from paho.mqtt.enums import MQTTProtocolVersion

from edge_node.bus.reading import ReadAhead, plain_publication

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from paho.mqtt.enums import MQTTErrorCode

    from edge_node.bus.reading import Publication

_PUBACK = struct.Struct("!BBH")


class FrugalClient(Client):
    """A paho client that calls the operating system once for many packets, where paho does for each.

    It asks the socket once for what paho reads in three steps a packet, and sends acknowledgements together.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.ahead = ReadAhead()
        self.on_plain: Callable[[Publication], None] = _ignore

    def _sock_recv(self, bufsize: int) -> bytes:
        return self.ahead.take(bufsize, read=super()._sock_recv)

    def _packet_read(self) -> MQTTErrorCode:
        # paho goes to the socket three times for each packet, and puts it together byte by byte.
        if self._in_packet["command"] == 0:
            came = self.ahead.publication(five=self._protocol == MQTTProtocolVersion.MQTTv5)
            if came is not None:
                self.on_plain(came)
                return MQTT_ERR_SUCCESS
        return super()._packet_read()

    def _handle_publish(self) -> MQTTErrorCode:
        # paho takes twice as long, most of it to make properties where there are none.
        packet = self._in_packet
        five = self._protocol == MQTTProtocolVersion.MQTTv5
        came = plain_publication(packet["command"], packet["packet"], five=five)
        if came is None:
            return super()._handle_publish()
        self.on_plain(came)
        return MQTT_ERR_SUCCESS

    def acknowledge(self, mids: Iterable[int]) -> None:
        """Send a PUBACK for each delivery, all in one piece. Source: MQTT 5.0, section 3.4.2.1."""
        packets = b"".join(_PUBACK.pack(PUBACK, 2, mid) for mid in mids)
        if packets:
            self._packet_queue(PUBACK, packets, mid=0, qos=1)


def _ignore(_came: Publication) -> None:
    """Do nothing."""


def send_at_once(_client: Client, _data: Any, sock: Any) -> None:
    """Let small packets leave at once, as a callback of paho."""
    # Acknowledgements are tiny; collected by Nagle's algorithm they would wait 40 ms for each other.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
