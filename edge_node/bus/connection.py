"""One connection to a broker, from its CONNECT to its end: the door to paho.

Knows MQTT as paho speaks it; knows nothing of the next connection, of the journal or of what messages
mean. Each connection has a paho client of its own, so that nothing paho kept from an earlier one is sent
again by itself: what is sent again is decided by the outbox.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
from paho.mqtt.client import (
    MQTT_CLEAN_START_FIRST_ONLY,
    MQTT_ERR_SUCCESS,
    MQTT_LOG_ERR,
    Client,
    MQTTMessage,
    error_string,
)
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge_node.bus.access import connect_problem, password, tls_context
from edge_node.bus.frugal import FrugalClient, send_at_once
from edge_node.bus.mailbox import Mailbox
from edge_node.bus.reading import Watch, expiry_of
from edge_node.bus.receipt import Receipt
from edge_node.bus.subscriptions import portions
from edge_node.bus.terms import Ending
from edge_node.errors import BrokerRefused, BrokerUnreachable, BusError, Withheld
from edge_node.identifiers import new_id
from edge_node.messages import Message

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_node.bus.reading import Publication
    from edge_node.bus.terms import Delivery, Events, Terms
    from edge_node.messages import Outgoing

RECEIVE_MAXIMUM = 64
"""Deliveries the broker may have unacknowledged at once; the journal commits faster than it fills."""
_UNANSWERED = 64
_ANSWER_S = 5.0
_TICK_S = 1.0
_FAREWELL_S = 2.0
_PACKETS_AT_ONCE = 32
_OVERHEAD_BYTES = 64
_FAILURE = 0x80
_UNSUPPORTED_VERSION = 0x84
# Client identifier, user name or password, authorisation, ban, authentication method: asking again with
# the same words gets the same answer. Source: MQTT 5.0, table 3-1.
_FINAL = frozenset({0x85, 0x86, 0x87, 0x8A, 0x8C})

_log = structlog.get_logger(__name__)


class Connection:
    """One connection; `run` is called on the thread it belongs to, the rest from any thread."""

    def __init__(self, terms: Terms, events: Events) -> None:
        self._terms = terms
        self._events = events
        self._five = terms.protocol == "5"
        self._client = self._make_client()
        self._mailbox = Mailbox()
        self._watch = Watch(self._mailbox.fileno())
        self._waiting: deque[Delivery] = deque()
        self._unanswered: dict[int, Delivery] = {}
        self._answers: deque[int] = deque()
        self._called = False
        self._subscribing: dict[int, Mapping[str, int]] = {}
        self._largest_bytes: int | None = None
        self._window = _UNANSWERED
        self._came = 0
        self._opened = False
        self._refusal: ReasonCode | None = None
        self._reason = ""
        self._alert = False
        self._deadline_s: float | None = None

    @property
    def epoch(self) -> int:
        """Number of the connection."""
        return self._terms.epoch

    def run(self) -> Ending:
        """Connect, serve until the connection is over, and return why it is."""
        try:
            self._connect()
            connected = True
            self._serve()
        except OSError as problem:
            connected = self._opened
            self._reason = connect_problem(problem)
        finally:
            self._finish()
        refused = self._refusal is not None
        code = self._refusal.value if self._refusal is not None else 0
        return Ending(
            reason=self._reason or "connection closed by the broker",
            opened=self._opened,
            refused=refused,
            final=code in _FINAL,
            unsupported=code == _UNSUPPORTED_VERSION,
            silent=connected and not self._opened and not refused and not self._alert,
        )

    def publish(self, delivery: Delivery) -> bool:
        """Return whether the message was taken; then one of its callbacks follows."""
        self._waiting.append(delivery)
        if self._mailbox.put(lambda: None):
            return True
        # Over by now: either its end has told this delivery already, or it never saw it.
        try:
            self._waiting.remove(delivery)
        except ValueError:
            return True
        return False

    def acknowledge(self, receipt: Receipt) -> None:
        """Tell the broker that a delivery of this connection is safe; of any other, do nothing."""
        if receipt.epoch == self.epoch and receipt.qos:
            self._answers.append(receipt.mid)
            if not self._called:
                self._called = True
                self._mailbox.put(self._answer)

    def subscribe(self, filters: Mapping[str, int]) -> None:
        """Ask for messages: topic filter to the highest quality of service."""
        for names in portions(tuple(filters)):
            self._mailbox.put(partial(self._subscribe, {name: filters[name] for name in names}))

    def unsubscribe(self, filters: Sequence[str]) -> None:
        """Ask for no more messages of these filters."""
        for names in portions(filters):
            self._mailbox.put(partial(self._client.unsubscribe, list(names)))

    def close(self, *, send_will: bool = False) -> None:
        """Say good-bye; with `send_will` the broker publishes the will as if the client had vanished."""
        self._mailbox.put(lambda: self._say_goodbye(send_will=send_will))

    def drop(self, reason: str) -> None:
        """End it without a good-bye."""
        self._mailbox.put(lambda: self._end(reason))

    # The rest runs on the thread of the connection.

    def _answer(self) -> None:
        """Acknowledge, in the order in which it was asked for, all that was asked for by now."""
        # Before they are taken: who adds one after the last was taken must call again.
        self._called = False
        self._client.acknowledge([self._answers.popleft() for _ in range(len(self._answers))])

    def _make_client(self) -> FrugalClient:
        broker = self._terms.broker
        client = FrugalClient(
            CallbackAPIVersion.VERSION2,
            client_id=self._terms.client_id,
            clean_session=None if self._five else broker.session == 0,
            protocol=MQTTProtocolVersion.MQTTv5 if self._five else MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.max_inflight_messages = 0  # the window is kept here, where the broker's own limit is known
        client.connect_timeout = _ANSWER_S
        client.on_socket_open = send_at_once
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = lambda _client, _data, came: self._on_message(came)
        client.on_plain = self._on_message
        client.on_publish = self._on_publish
        client.on_log = self._on_log
        client.on_subscribe = self._on_subscribe
        return client

    def _connect(self) -> None:
        broker, client, will = self._terms.broker, self._client, self._terms.will
        if broker.username is not None:
            client.username_pw_set(broker.username, password(broker))
        context = tls_context(broker)
        if context is not None:
            client.tls_set_context(context)
        if will is not None:
            properties = self._publish_properties(will, packet=PacketTypes.WILLMESSAGE)
            client.will_set(will.topic, will.payload, will.qos, will.retain, properties)
        properties = None
        if self._five:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = int(broker.session)
            properties.ReceiveMaximum = RECEIVE_MAXIMUM
        client.connect(
            broker.host,
            broker.port,
            keepalive=max(1, int(broker.keepalive)),
            clean_start=False if self._five else MQTT_CLEAN_START_FIRST_ONLY,
            properties=properties,
        )
        self._deadline_s = time.monotonic() + _ANSWER_S

    def _serve(self) -> None:
        while (sock := self._client.socket()) is not None:
            self._events.beat()
            wants_write = self._client.want_write()
            readable, writable = True, wants_write
            if not self._client.ahead:
                readable, writable = self._watch.wait(sock, wants_write=wants_write, timeout_s=_TICK_S)
            if readable:
                self._read()
            if writable:
                self._client.loop_write()
            self._client.loop_misc()
            self._mailbox.run_all()
            self._fill_window()
            if self._deadline_s is not None and time.monotonic() > self._deadline_s:
                self._end(self._reason or f"no answer within {_ANSWER_S:.0f} s")

    def _read(self) -> None:
        """Take up what has come, up to a number, so that acknowledgements leave in between."""
        for _ in range(_PACKETS_AT_ONCE):
            before = self._came
            self._client.loop_read()
            if self._came == before:
                return

    def _fill_window(self) -> None:
        while self._opened and self._waiting and len(self._unanswered) < self._window:
            self._send(self._waiting.popleft())

    def _send(self, delivery: Delivery) -> None:
        outgoing = delivery.outgoing
        size = len(outgoing.payload) + len(outgoing.topic.encode()) + _OVERHEAD_BYTES
        if self._largest_bytes is not None and size > self._largest_bytes:
            # A broker closes the connection over it, again after each reconnect.
            reason = f"{size} bytes are more than the {self._largest_bytes} it takes"
            delivery.failed(BrokerRefused(self._terms.address, reason=reason))
            return
        properties = self._publish_properties(outgoing, packet=PacketTypes.PUBLISH)
        words = (outgoing.topic, outgoing.payload, outgoing.qos, outgoing.retain, properties)
        try:
            with self._terms.leaving(outgoing.command_id) as may_leave:
                info = self._client.publish(*words) if may_leave else None
        except ValueError as problem:
            delivery.failed(BusError(f"{outgoing.topic}: cannot be published ({problem})"))
            return
        if info is None:
            delivery.failed(Withheld(outgoing.command_id))
        elif info.rc != MQTT_ERR_SUCCESS:
            delivery.failed(BrokerUnreachable(self._terms.address, reason=error_string(info.rc)))
        elif outgoing.qos == 0:
            delivery.acknowledged()
        else:
            self._unanswered[info.mid] = delivery

    def _publish_properties(self, outgoing: Outgoing, *, packet: int) -> Properties | None:
        if not self._five:
            return None
        properties = Properties(packet)  # type: ignore[no-untyped-call]
        if outgoing.expiry_s is not None:
            properties.MessageExpiryInterval = outgoing.expiry_s
        if outgoing.correlation:
            properties.CorrelationData = outgoing.correlation
        if outgoing.content_type:
            properties.ContentType = outgoing.content_type
        return properties

    def _subscribe(self, filters: Mapping[str, int]) -> None:
        asked: list[Any] = [
            (name, SubscribeOptions(qos=qos) if self._five else qos) for name, qos in filters.items()
        ]
        _, mid = self._client.subscribe(asked)
        if mid is not None:
            self._subscribing[mid] = filters

    def _say_goodbye(self, *, send_will: bool) -> None:
        self._reason = "closed"
        self._deadline_s = time.monotonic() + _FAREWELL_S
        if not self._opened or (send_will and not self._five):
            self._end("closed")
        elif send_will:
            self._client.disconnect(ReasonCode(PacketTypes.DISCONNECT, "Disconnect with will message"))
        else:
            self._client.disconnect()

    def _end(self, reason: str) -> None:
        self._reason = reason
        sock = self._client.socket()
        if sock is not None:
            # paho finds the end by itself on its next read; shutting down leaves its own state whole.
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)  # type: ignore[attr-defined]
        self._deadline_s = None

    def _finish(self) -> None:
        sock = self._client.socket()
        if sock is not None:
            sock.close()
        reason = self._reason or "the connection ended"
        self._mailbox.close()
        unsent = list(self._unanswered.values())
        self._unanswered.clear()
        while self._waiting:
            unsent.append(self._waiting.popleft())
        for delivery in unsent:
            delivery.failed(BrokerUnreachable(self._terms.address, reason=reason))

    def _on_connect(
        self, _client: Client, _data: Any, flags: Any, code: ReasonCode, answer: Properties | None
    ) -> None:
        if code.is_failure:
            self._refusal = code
            self._reason = _words(code, answer)
            return
        self._deadline_s = None
        self._opened = True
        # Only a failed handshake is told there, and paho would write a line for each message.
        self._client.on_log = None
        self._largest_bytes = getattr(answer, "MaximumPacketSize", None)
        self._window = min(_UNANSWERED, getattr(answer, "ReceiveMaximum", _UNANSWERED))
        self._events.opened(bool(flags.session_present))

    def _on_disconnect(
        self, _client: Client, _data: Any, flags: Any, code: ReasonCode, said: Properties | None
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            self._reason = _words(code, said)
        elif not self._reason:
            # paho has no better word for a socket that was closed than an unspecified error.
            self._reason = "connection lost" if code.value == _FAILURE else str(code.getName())

    def _on_log(self, _client: Client, _data: Any, level: int, text: str) -> None:
        """Take up why the broker ended the handshake, which paho tells nowhere else.

        With TLS 1.3 a client hears only when it reads that its certificate was not enough.

        Source: RFC 8446, section 4.4.2.4.
        """
        if level == MQTT_LOG_ERR and self._terms.broker.tls is not None and not self._opened:
            said = text.removeprefix("failed to receive on socket: ")
            self._alert = True
            self._reason = f"the broker ended the TLS handshake: {said} (check cert_file and key_file)"

    def _on_message(self, came: MQTTMessage | Publication) -> None:
        self._came += 1
        properties, now = came.properties, self._terms.clock()
        size = len(came.payload)
        fits = size <= self._terms.max_payload_bytes
        message = Message(
            id=new_id(),
            topic=came.topic,
            payload=bytes(came.payload) if fits else b"",
            received_at=now,
            qos=came.qos,
            retained=came.retain,
            durable=came.qos > 0,
            response_topic=getattr(properties, "ResponseTopic", ""),
            correlation=bytes(getattr(properties, "CorrelationData", b"")),
            dropped_bytes=0 if fits else size,
            packet_id=came.mid,
            redelivered=came.dup,
            expires_at=expiry_of(properties, now=now),
        )
        receipt = Receipt(came.mid, came.qos, self.epoch)
        self._events.received(message, receipt)

    def _on_publish(
        self, _client: Client, _data: Any, mid: int, code: ReasonCode, said: Properties | None
    ) -> None:
        delivery = self._unanswered.pop(mid, None)
        if delivery is None:
            return
        if code.value >= _FAILURE:
            delivery.failed(BrokerRefused(self._terms.address, reason=_words(code, said)))
        else:
            delivery.acknowledged()

    def _on_subscribe(
        self, _client: Client, _data: Any, mid: int, codes: list[ReasonCode], said: Properties | None
    ) -> None:
        answers = {}
        for (name, asked), code in zip(self._subscribing.pop(mid, {}).items(), codes, strict=False):
            answers[name] = _words(code, said) if code.value >= _FAILURE else ""
            if code.value < asked:
                _log.warning("subscription_weakened", filter=name, asked=asked, granted=code.value)
        self._events.subscribed(answers)


def _words(code: ReasonCode, said: Properties | None) -> str:
    text = getattr(said, "ReasonString", "")
    return f"{code.getName()}: {text}" if text else str(code.getName())
