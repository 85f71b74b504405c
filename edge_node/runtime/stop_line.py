"""Where an operational stop comes in: a connection of its own, with nothing else on it.

Knows the latch and a bus; knows no queue, no journal and no model. All of it runs on the network thread of
that connection, so that a stop waits for nothing but its own small file.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog

from edge_node.bus.client import Listeners
from edge_node.errors import BusError, InputError, LatchError
from edge_node.messages import CommandState
from edge_node.payloads import read_correlation, read_json
from edge_node.stop.latch import stamp

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_node.announcing import Announcing
    from edge_node.bus.client import MqttBus
    from edge_node.bus.receipt import Receipt
    from edge_node.journal.journal import Journal
    from edge_node.messages import Command, Message
    from edge_node.stop.latch import StopLatch
    from edge_node.stop.outlet import Outlet

log = structlog.get_logger(__name__)

MAX_REASON = 200
"""Characters of a reason that are kept."""
_MAX_USER = 64
_MAX_BYTES = 4096
_MAX_DEPTH = 4
_LANDING_S = 0.5


class _Said(NamedTuple):
    """What a stop said."""

    reason: str
    correlation: str


class StopLine:
    """Everything on `stop/{user}` stops, and the retained state tells it.

    The state is published once every command that left before the stop has been answered for by the
    broker, so that a device which hears both hears the commands first; where the broker does not answer,
    the state tells how many are on their way.

    Args:
        latch: What is latched.
        outlet: What the latch shuts.
        announcing: Envelopes.
        connect: Gives the bus that tells these listeners.
        on_change: Called when a stop or the end of an outage calls for a look at the outbox.
    """

    def __init__(
        self,
        latch: StopLatch,
        *,
        outlet: Outlet,
        announcing: Announcing,
        connect: Callable[[Listeners], MqttBus],
        on_change: Callable[[], None],
    ) -> None:
        self._latch = latch
        self._outlet = outlet
        self._announcing = announcing
        self._topics = announcing.topics
        self._on_change = on_change
        self._telling = threading.Lock()
        self._bus = connect(Listeners(message=self._receive, connected=self._on_connected))
        self._bus.subscribe({self._topics.stops: 1})
        latch.on_reset = self.tell

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        return self._bus.alive

    @property
    def idle_s(self) -> float:
        """Seconds since its thread last came round."""
        return self._bus.idle_s

    @property
    def listening(self) -> bool:
        """Whether a stop would be heard now."""
        return self._bus.listening

    @property
    def durable(self) -> bool:
        """Whether what is latched is on the disk."""
        return self._latch.durable

    @property
    def why(self) -> str:
        """Why a command that is kept back ends, in a sentence."""
        return self._latch.why or f"it was decided before the last operational stop ({self._latch.status})"

    def start(self) -> None:
        """Connect, and stay connected until `stop`."""
        self._bus.start()

    def stop(self) -> None:
        """Say good-bye; the broker keeps what is sent to stop this edge meanwhile."""
        self._bus.stop()

    def tell(self, correlation: str = "", *, under_way: int = 0) -> None:
        """Publish the retained state as it is now."""
        with self._telling:
            record = self._latch.record
            data: dict[str, Any] = {
                "state": record.state,
                "id": record.id,
                "by": record.user,
                "reason": record.reason,
                "at": stamp(record.at) if record.id else None,
                "boot": self._latch.boot,
                "durable": self._latch.durable,
                "under_way": under_way,
                "text": self._latch.status,
                "final": True,
            }
            state = self._announcing.envelope(
                self._topics.stop_state, "stop", data, corr=correlation, retain=True
            )
            try:
                self._bus.publish(state, on_acknowledged=self._on_change)
            except BusError as error:
                log.debug("stop_state_waits", reason=str(error))

    # The rest runs on the network thread of the connection.

    def _receive(self, message: Message, receipt: Receipt) -> None:
        if message.topic == self._topics.stop_state:
            self._bus.acknowledge(receipt)
            return
        self._outlet.shut()
        said = _said(message)
        user = message.topic.rpartition("/")[2][:_MAX_USER]
        try:
            record = self._latch.stop(user=user, reason=said.reason)
        except LatchError as error:
            # Not acknowledged: the broker sends it again, and so it is tried again.
            log.critical("stop_not_on_disk", by=user, reason=str(error), consequence="blocks until a restart")
            self.tell(said.correlation)
            raise
        finally:
            self._on_change()
        self._bus.acknowledge(receipt)
        under_way = self._outlet.wait_landed(timeout_s=_LANDING_S)
        log.warning("stopped_by_operator", by=user, reason=said.reason, id=record.id, under_way=under_way)
        self.tell(said.correlation, under_way=under_way)

    def _on_connected(self, session_present: bool) -> None:  # noqa: FBT001 - a callback
        log.info("stop_line_connected", session_present=session_present)
        self.tell()


def withdraw_leftovers(latch: StopLatch, *, journal: Journal) -> tuple[Command, ...]:
    """Return the commands that a stop before this start ends; nobody knows which of them had left.

    What was asked before a reset and is not finished yet leads to no command either.
    """
    record = latch.record
    if record.id:
        latch.distrust(each.id for each in journal.unfinished() if each.received_at <= record.at)
    if not (latch.record.stopped or latch.record.sweep):
        return ()

    def ending(command: Command) -> CommandState:
        may_have_left = command.idempotent and command.state is CommandState.SENT
        return CommandState.UNKNOWN if may_have_left else CommandState.CANCELLED

    withdrawn = journal.withdraw(ending, detail=f"{latch.status}, and a restart")
    latch.swept()
    return withdrawn


def _said(message: Message) -> _Said:
    """Return what a stop says; one that cannot be read stops all the same."""
    payload, reason, correlation = message.payload, "", ""
    try:
        correlation = read_correlation(message.correlation, own="")
        if payload.lstrip().startswith(b"{"):
            body = read_json(payload, max_bytes=_MAX_BYTES, max_depth=_MAX_DEPTH)
            reason = body["reason"] if isinstance(body.get("reason"), str) else ""
            own = body["correlation"] if isinstance(body.get("correlation"), str) else ""
            correlation = read_correlation(message.correlation, own=own)
            return _Said(_readable(reason), correlation)
    except InputError as error:
        log.warning("stop_unreadable", topic=message.topic, reason=str(error), consequence="it stops")
    return _Said(_readable(payload[: MAX_REASON * 4].decode("utf-8", "replace")), correlation)


def _readable(text: str) -> str:
    words = "".join(sign if sign.isprintable() else " " for sign in text)
    return " ".join(words.split())[:MAX_REASON]
