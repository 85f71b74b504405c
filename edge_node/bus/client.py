"""The bus over a real broker: one connection after the other, for as long as the edge runs.

Knows when to come back, what is subscribed and which acknowledgement is still good; knows nothing of
paho, of the journal or of what messages mean.
"""

from __future__ import annotations

import math
import random
import threading
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from edge_node.bus.access import check_access
from edge_node.bus.backoff import Backoff
from edge_node.bus.connection import Connection
from edge_node.bus.outage import Outage
from edge_node.bus.subscriptions import Subscriptions
from edge_node.bus.terms import Delivery, Ending, Events, Terms, always_open
from edge_node.errors import BrokerRefused, BrokerUnreachable, EdgeNodeError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from edge_node.bus.receipt import Receipt
    from edge_node.config.models import BrokerConfig
    from edge_node.errors import BusError
    from edge_node.messages import Message, Outgoing

_STEADY_S = 10.0
_REDELIVER_S = 5.0
_JOIN_S = 5.0

_log = structlog.get_logger(__name__)


def _nothing(*_: object) -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True)
class Listeners:
    """Whom the bus tells; all are called on its network thread and must be short.

    What one of them raises is logged and goes no further. A message whose listener raised is not
    acknowledged, and delivered again on the next connection, which follows soon.

    Attributes:
        message: A message came, with the right to acknowledge it.
        connected: The broker let the edge in; whether it still knew the session.
        disconnected: The connection is over, and why.
        refused: The first connection was refused, trying again cannot mend it, and the bus has given up.
    """

    message: Callable[[Message, Receipt], None]
    connected: Callable[[bool], None] = _nothing
    disconnected: Callable[[str], None] = _nothing
    refused: Callable[[BrokerRefused], None] = _nothing


class MqttBus:
    """A session with a broker that outlives its connections.

    Durable where both sides keep their promise: the session is never started clean, deliveries at quality
    of service 1 are acknowledged by hand, and each acknowledgement belongs to the connection it came on.
    """

    def __init__(
        self,
        broker: BrokerConfig,
        *,
        client_id: str,
        listeners: Listeners,
        will: Outgoing | None = None,
        max_payload_bytes: int = 256 * 1024,
        clock: Callable[[], float] = time.time,
        backoff: Backoff | None = None,
        leaving: Callable[[str], AbstractContextManager[bool]] = always_open,
    ) -> None:
        """Check what can be checked without a broker; `start` connects.

        Args:
            broker: How to reach the broker.
            client_id: Identifier of the session; the same in each run.
            listeners: Whom to tell.
            will: What the broker publishes when this edge vanishes.
            max_payload_bytes: A larger payload is dropped on arrival and only its size is told.
            clock: Wall clock, seconds since the epoch.
            backoff: How long to wait between attempts.
            leaving: Gives whether a command may leave, by its identifier, and holds that while it does.

        Raises:
            ConfigurationError: TLS is missing where it is needed, or a file cannot be used.
        """
        check_access(broker)
        self._broker = broker
        self._terms = partial(
            Terms,
            broker=broker,
            client_id=client_id,
            will=will,
            max_payload_bytes=max_payload_bytes,
            clock=clock,
            leaving=leaving,
        )
        self._listeners = listeners
        self._backoff = backoff or Backoff(random.random)
        self._protocol = broker.protocol
        self._silent = False
        self._spoke_five = False
        self._epoch = 0
        self._connection: Connection | None = None
        self._subscriptions = Subscriptions()
        self._connected = threading.Event()
        self._ever_connected = False
        self._opened_at_s = 0.0
        self._clock = clock
        self._heard_from = math.inf
        self._stopping = threading.Event()
        self._beat_at_s = time.monotonic()
        self._redeliver_at_s: float | None = None
        self._outage = Outage(f"{broker.host}:{broker.port}")
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._connected.is_set()

    @property
    def alive(self) -> bool:
        """Whether the network thread runs; `connected` says nothing of that."""
        return self._thread.is_alive()

    @property
    def listening(self) -> bool:
        """Whether there is a connection on which the broker granted every subscription."""
        return self.connected and self._subscriptions.answered.is_set() and not self._subscriptions.refused

    @property
    def hears_since(self) -> float | None:
        """Since when there has been a connection, by `clock`; None where there is none."""
        return self._heard_from if self.connected else None

    @property
    def idle_s(self) -> float:
        """Seconds since the network thread last came round; a healthy one stays below 30 or so."""
        return time.monotonic() - self._beat_at_s

    @property
    def trouble(self) -> str:
        """Why there is no connection, in a few words; empty where there is one, or none was tried yet."""
        return self._outage.reason

    @property
    def refused_filters(self) -> Mapping[str, str]:
        """The topic filters the broker refused on this connection, with its reasons."""
        return self._subscriptions.refused

    def start(self) -> None:
        """Connect, and stay connected until `stop`."""
        self._thread.start()

    def wait_connected(self, timeout_s: float) -> bool:
        """Return whether there is a connection within `timeout_s`."""
        return self._connected.wait(timeout_s)

    def wait_subscribed(self, timeout_s: float) -> bool:
        """Return whether the broker has answered for every subscription within `timeout_s`."""
        return self._subscriptions.answered.wait(timeout_s)

    def subscribe(self, filters: Mapping[str, int]) -> None:
        """Make these the subscriptions from now on, on each connection.

        Those of an earlier call that are not among them are ended, also where the broker kept them over
        a restart: call it with the old ones before the new ones.

        Args:
            filters: Topic filter to the highest quality of service, 0 or 1.
        """
        new, obsolete = self._subscriptions.replace(filters)
        connection = self._connection
        if connection is not None and self.connected:
            connection.unsubscribe(obsolete)
            connection.subscribe(new)

    def publish(
        self,
        outgoing: Outgoing,
        *,
        on_acknowledged: Callable[[], None] | None = None,
        on_failed: Callable[[BusError], None] | None = None,
    ) -> None:
        """Hand a message to the broker; after a return exactly one of the callbacks is called.

        Never sent twice by the bus itself: where the connection ends first, `on_failed` gets
        BrokerUnreachable, and nobody knows whether the broker has it.

        Args:
            outgoing: The message.
            on_acknowledged: Called on the network thread once the broker has it; at quality of service 0,
                once it was handed over.
            on_failed: Called there with BrokerRefused, BrokerUnreachable, Withheld or, for a message that
                MQTT does not allow, BusError.

        Raises:
            BrokerUnreachable: There is no connection; the message has not left and is not kept.
        """
        delivery = Delivery(
            outgoing,
            acknowledged=partial(self._guarded, "acknowledged", on_acknowledged or _nothing),
            failed=partial(self._guarded, "failed", on_failed or _nothing),
        )
        connection = self._connection
        if connection is None or not self.connected or not connection.publish(delivery):
            raise BrokerUnreachable(self._outage.address, reason="no connection at the moment")

    def acknowledge(self, receipt: Receipt) -> None:
        """Tell the broker that a delivery is safe; a receipt of an earlier connection is dropped.

        The broker delivers such a message again, with a new receipt.
        """
        connection = self._connection
        if connection is not None:
            connection.acknowledge(receipt)

    def reconnect(self) -> None:
        """End this connection and open another, so that what was not acknowledged is delivered again."""
        connection = self._connection
        if connection is not None:
            connection.drop("asked to connect again")

    def stop(self, *, send_will: bool = False) -> None:
        """Say good-bye, keep the session at the broker and end the thread.

        Args:
            send_will: Let the broker publish the will, as if the edge had vanished.
        """
        self._stopping.set()
        connection = self._connection
        if connection is not None:
            connection.close(send_will=send_will)
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(_JOIN_S)

    # The rest runs on the network thread.

    def _run(self) -> None:
        while not self._stopping.is_set():
            ending = self._attempt()
            self._connected.clear()
            self._subscriptions.closed()
            if self._stopping.is_set():
                return
            if ending.opened:
                self._guarded("disconnected", self._listeners.disconnected, ending.reason)
            elif ending.final and not self._ever_connected:
                self._give_up(ending)
                return
            if self._try_other_version(ending):
                continue
            self._outage.failed(ending.reason, lost=ending.opened)
            # A broker that lets the edge in and throws it out at once is not to be asked ever faster.
            if ending.opened and time.monotonic() - self._opened_at_s >= _STEADY_S:
                self._backoff.succeeded()
            self._rest(self._backoff.failed())

    def _attempt(self) -> Ending:
        self._redeliver_at_s = None
        self._epoch += 1
        outcome = self._guarded("connection", self._converse)
        if isinstance(outcome, Ending):
            return outcome
        return Ending(f"{type(outcome).__name__}: {outcome}", opened=self.connected)

    def _converse(self) -> Ending:
        events = Events(
            opened=self._on_opened,
            received=self._on_received,
            subscribed=self._subscriptions.answer,
            beat=self._on_beat,
        )
        connection = Connection(self._terms(protocol=self._protocol, epoch=self._epoch), events)
        self._connection = connection
        if self._stopping.is_set():
            connection.close()
        return connection.run()

    def _guarded(self, doing: str, job: Callable[..., Any], *arguments: Any) -> Any:
        """Return what `job` returns, or the exception it raised.

        An exception that passed through paho would end the network thread while the broker still
        believes the edge to be there, so this one place catches everything.
        """
        try:
            return job(*arguments)
        except Exception as problem:  # noqa: BLE001 - see above
            unforeseen = not isinstance(problem, EdgeNodeError)
            _log.error("network_thread_caught", doing=doing, reason=str(problem), exc_info=unforeseen)
            return problem

    def _on_opened(self, session_present: bool) -> None:  # noqa: FBT001 - a callback
        connection = self._connection
        if connection is None:
            return
        self._ever_connected = True
        self._spoke_five = self._spoke_five or self._protocol == "5"
        self._opened_at_s, self._heard_from = time.monotonic(), self._clock()
        wanted, obsolete = self._subscriptions.opened()
        connection.unsubscribe(obsolete)
        connection.subscribe(wanted)
        self._outage.over(session_present=session_present, protocol=self._protocol)
        self._connected.set()
        self._guarded("connected", self._listeners.connected, session_present)

    def _on_received(self, message: Message, receipt: Receipt) -> None:
        outcome = self._guarded("message", self._listeners.message, message, receipt)
        if isinstance(outcome, Exception) and receipt.qos:
            self._redeliver_at_s = self._redeliver_at_s or time.monotonic() + _REDELIVER_S

    def _on_beat(self) -> None:
        self._beat_at_s = time.monotonic()
        if self._redeliver_at_s is not None and self._beat_at_s >= self._redeliver_at_s:
            self._redeliver_at_s = None
            self.reconnect()

    def _try_other_version(self, ending: Ending) -> bool:
        """Return whether to try at once with another version of the protocol."""
        # A broker that has spoken version 5 and now closes without a word is stopping or starting.
        silent = ending.silent and not self._spoke_five
        if self._protocol == "5" and (ending.unsupported or silent):
            self._protocol = "3.1.1"
            self._silent = ending.silent
            _log.info(
                "broker_refuses_mqtt_5", broker=self._outage.address, reason=ending.reason, next="3.1.1"
            )
            return True
        if self._silent:
            # Closing without a word proves nothing; the broker may just have been stopping.
            self._protocol, self._silent = self._broker.protocol, False
        return False

    def _rest(self, wait_s: float) -> None:
        until_s = time.monotonic() + wait_s
        while (left_s := until_s - time.monotonic()) > 0 and not self._stopping.wait(min(left_s, 1.0)):
            self._beat_at_s = time.monotonic()

    def _give_up(self, ending: Ending) -> None:
        error = BrokerRefused(self._outage.address, reason=ending.reason)
        _log.error("broker_refused", broker=self._outage.address, reason=ending.reason, hint=error.hint)
        self._guarded("refused", self._listeners.refused, error)
