"""A simulated device: a client of the broker that reports its state and obeys orders.

Knows the bus and a physical model that is stepped by the clock; knows nothing of nodes, gates or edges,
as a real device does not.
"""

from __future__ import annotations

import json
import threading
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import structlog

from edge_node.bus.client import Listeners, MqttBus
from edge_node.config.models import BrokerConfig
from edge_node.errors import BrokerUnreachable, EnvelopeInvalid, InputError
from edge_node.messages import Outgoing
from edge_node.payloads import read_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from edge_node.bus.receipt import Receipt
    from edge_node.messages import Message

_MAX_ORDER_BYTES = 4096
_MAX_ORDER_DEPTH = 4
# Orders from before a restart are stale for a machine, so the broker need not keep them for long.
_SESSION = "10s"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ReceivedOrder:
    """One message on the topic of a device's orders, as it came.

    Attributes:
        id: What it had under `id`; empty where there was none or it could not be read.
        body: What it said; empty where it could not be read.
        refusal: Why the device did not obey; empty where it did.
    """

    id: str
    body: Mapping[str, Any]
    refusal: str = ""


class SimulatedDevice(ABC):
    """A device with a connection and a thread of its own; a context manager that starts and stops it.

    Args:
        name: Name of the device, which stands in its topics.
        host: Name or address of the broker.
        port: TCP port of the broker.
        report_topic: Where it reports.
        order_topic: Where it listens.
        interval_s: Seconds between two reports; an order is answered with one at once.
        pace: Seconds that pass for the machine in each second of the clock.
    """

    def __init__(
        self,
        name: str,
        *,
        host: str,
        port: int,
        report_topic: str,
        order_topic: str,
        interval_s: float,
        pace: float,
    ) -> None:
        self.name = name
        self._address = f"{host}:{port}"
        self._report_topic = report_topic
        self._order_topic = order_topic
        self._interval_s = interval_s
        self._pace = pace
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._orders: list[ReceivedOrder] = []
        self._last_report: Mapping[str, Any] = {}
        self._note: str | None = None
        self._stepped_at_s: float | None = None
        broker = BrokerConfig.model_validate({"host": host, "port": port, "session": _SESSION})
        self._bus = MqttBus(broker, client_id=f"device-{name}", listeners=Listeners(self._on_message))
        self._thread = threading.Thread(target=self._run, name=f"device-{name}", daemon=True)

    @property
    def orders(self) -> tuple[ReceivedOrder, ...]:
        """Every order that came, in order of arrival."""
        with self._changed:
            return tuple(self._orders)

    @property
    def last_report(self) -> Mapping[str, Any]:
        """What the device reported last."""
        with self._changed:
            return self._last_report

    def start(self, *, timeout_s: float = 10.0) -> None:
        """Connect and begin to report.

        Raises:
            BrokerUnreachable: The broker did not answer within `timeout_s`.
        """
        self._bus.subscribe({self._order_topic: 1})
        self._bus.start()
        deadline_s = time.monotonic() + timeout_s
        ready = self._bus.wait_connected(timeout_s)
        if not ready or not self._bus.wait_subscribed(max(0.0, deadline_s - time.monotonic())):
            self._bus.stop()
            raise BrokerUnreachable(self._address, reason=f"no answer within {timeout_s:g} s")
        self._thread.start()

    def stop(self) -> None:
        """Fall silent and disconnect."""
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        self._bus.stop()

    def __enter__(self) -> Self:
        """Return the device, started."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the device."""
        self.stop()

    def say(self, note: str | None) -> None:
        """Report `note` as free text from now on, or nothing any more where it is None."""
        self._change(lambda: setattr(self, "_note", note))

    def wait_for_report(self, holds: Callable[[Mapping[str, Any]], bool], *, timeout_s: float) -> bool:
        """Return whether the device makes a report for which `holds` is true within `timeout_s`."""
        with self._changed:
            return self._changed.wait_for(
                lambda: bool(self._last_report) and holds(self._last_report), timeout_s
            )

    def wait_for_orders(self, count: int, *, timeout_s: float) -> bool:
        """Return whether `count` orders have come, in all, within `timeout_s`."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._orders) >= count, timeout_s)

    @abstractmethod
    def _step(self, dt_s: float) -> None:
        """Let `dt_s` seconds pass for the machine."""

    @abstractmethod
    def _report(self) -> dict[str, Any]:
        """Return what the device reports now."""

    @abstractmethod
    def _obey(self, order: Mapping[str, Any]) -> None:
        """Begin to carry out an order, wholly or not at all.

        Raises:
            EnvelopeInvalid: The device cannot carry it out.
        """

    def _change(self, change: Callable[[], None]) -> None:
        """Change something of the machine as it is now, and report at once."""
        with self._changed:
            self._advance()
            change()
            self._changed.notify_all()
        self._wake.set()

    def _advance(self) -> None:
        """Let the time pass that has passed; the caller holds the lock."""
        now_s = time.monotonic()
        if self._stepped_at_s is not None:
            self._step((now_s - self._stepped_at_s) * self._pace)
        self._stepped_at_s = now_s

    def _run(self) -> None:
        while not self._stopping.is_set():
            with self._changed:
                self._advance()
                report = self._report() | {"note": self._note}
            self._publish(report)
            self._wake.wait(self._interval_s)
            self._wake.clear()

    def _publish(self, report: Mapping[str, Any]) -> None:
        try:
            self._bus.publish(Outgoing(self._report_topic, json.dumps(report).encode()))
        except BrokerUnreachable:
            # A machine goes on without its network; the next report tells more than a late one.
            return
        with self._changed:
            self._last_report = report
            self._changed.notify_all()

    def _on_message(self, message: Message, receipt: Receipt) -> None:
        self._change(lambda: self._orders.append(self._received(message)))
        self._bus.acknowledge(receipt)

    def _received(self, message: Message) -> ReceivedOrder:
        body: Mapping[str, Any] = {}
        try:
            body = _order(message.payload)
            self._obey(body)
        except InputError as error:
            _log.warning("order refused", device=self.name, reason=str(error))
            return ReceivedOrder(_identifier(body), body, refusal=str(error))
        return ReceivedOrder(_identifier(body), body)


def _order(payload: bytes) -> dict[str, Any]:
    body = read_json(payload, max_bytes=_MAX_ORDER_BYTES, max_depth=_MAX_ORDER_DEPTH)
    if not isinstance(body, dict):
        raise EnvelopeInvalid("order", expected="a JSON object", came=type(body).__name__)
    return body


def _identifier(body: Mapping[str, Any]) -> str:
    value = body.get("id", "")
    return value if isinstance(value, str) else ""


def number(order: Mapping[str, Any], key: str, *, low: float, high: float) -> float:
    """Return the number that an order has under `key`.

    Raises:
        EnvelopeInvalid: There is none, or it is outside of `low` to `high`.
    """
    value = order.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise EnvelopeInvalid(key, expected=f"a number from {low:g} to {high:g}", came=repr(value)[:40])
    return float(value)


def choice(order: Mapping[str, Any], key: str, *, of: tuple[str, ...]) -> str:
    """Return the word that an order has under `key`.

    Raises:
        EnvelopeInvalid: There is none, or it is not one `of` those known.
    """
    value = order.get(key)
    if not isinstance(value, str) or value not in of:
        raise EnvelopeInvalid(key, expected="one of " + ", ".join(of), came=repr(value)[:40])
    return value
