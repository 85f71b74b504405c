"""A person's or a program's side of the bus: ask an edge, and hear what it answers.

Knows the wire layout and a bus; knows nothing of how an edge decides.
"""

from __future__ import annotations

import json
import queue
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import structlog

from edge_node.bus.client import Listeners, MqttBus
from edge_node.errors import BrokerRefused, BrokerUnreachable, EdgeSilent, OperationRefused, PayloadInvalid
from edge_node.identifiers import new_id
from edge_node.messages import Outgoing
from edge_node.payloads import read_json
from edge_node.topics import EdgeTopics

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

    from edge_node.bus.receipt import Receipt
    from edge_node.config.models import BrokerConfig
    from edge_node.errors import BusError
    from edge_node.messages import Message

log = structlog.get_logger(__name__)

_MAX_REPLY_BYTES = 4 * 1024 * 1024
_MAX_DEPTH = 32
_GLANCE_S = 0.1


@dataclass(frozen=True, slots=True)
class Reply:
    """One message of an edge to the person who asked.

    Attributes:
        kind: `answer`, `command`, `task` for several commands, `nothing` or `error`; `piece` for a quotation
            that the answer will hold.
        text: What it says, in words.
        final: Whether nothing more will follow.
        data: Everything it says.
    """

    kind: str
    text: str
    final: bool
    data: Mapping[str, Any]


class Client:
    """A connection over which one user asks one edge; use it in a `with` block.

    Example:
        with Client(BrokerConfig(), edge="hall-3", user="ada") as client:
            for reply in client.ask("slow pump two down to forty percent"):
                print(reply.text)
    """

    def __init__(
        self, broker: BrokerConfig, *, edge: str, user: str, connect_timeout_s: float = 10.0
    ) -> None:
        self._topics = EdgeTopics(edge)
        self._user = user
        self._address = f"{broker.host}:{broker.port}"
        self._connect_timeout_s = connect_timeout_s
        self._replies: dict[str, queue.Queue[Reply]] = {}
        self._heard: dict[str, set[str]] = {}
        self._lock = threading.Lock()
        self._refusal: BrokerRefused | None = None
        self._stop_id = ""
        self._stop_known = threading.Event()
        self._bus = MqttBus(
            broker.model_copy(update={"session": 0.0}),
            client_id=f"edge-node-ask-{new_id()}",
            listeners=Listeners(message=self._on_message, refused=self._on_refused),
            max_payload_bytes=_MAX_REPLY_BYTES,
        )
        self._filters = {self._topics.reply(user): 1}
        self._bus.subscribe(self._filters)

    def __enter__(self) -> Self:
        """Connect.

        Raises:
            BrokerUnreachable: No connection came about in time.
            BrokerRefused: The broker does not let this user in, or not hear what is answered.
        """
        self._bus.start()
        until_s = time.monotonic() + self._connect_timeout_s
        problem: BusError | None = None
        while problem is None and not self._bus.wait_subscribed(_GLANCE_S):
            problem = self._refusal
            if problem is None and time.monotonic() >= until_s:
                reason = self._bus.trouble or f"no answer within {self._connect_timeout_s:g} s"
                problem = BrokerUnreachable(self._address, reason=reason)
        for name, reason in self._bus.refused_filters.items():
            problem = BrokerRefused(self._address, reason=f"{name}: {reason}")
        if problem is not None:
            self._bus.stop()
            raise problem
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bus.stop()

    def ask(
        self,
        text: str,
        *,
        node: str = "",
        timeout_s: float = 60.0,
        deadline: str = "",
        stream: bool = False,
        context: Mapping[str, str] | None = None,
    ) -> Iterator[Reply]:
        """Yield what the edge answers, until it says that nothing more will follow.

        Args:
            text: A question or an order.
            node: The node that is to answer; left out, the words tell.
            timeout_s: Longest wait for the next reply.
            deadline: How long the edge may take to decide, such as `10s`; then it drops the request and says
                so. By the edge's configuration where left out.
            stream: Whether to hear pieces of an answer as they come; what the last reply says counts.
            context: Where it is said, as in `{"area": "kitchen"}`.

        Raises:
            EdgeSilent: No reply came in time.
        """
        if stream:
            self._listen(self._topics.stream(self._user))
        correlation = new_id()
        replies: queue.Queue[Reply] = queue.Queue()
        with self._lock:
            self._replies[correlation], self._heard[correlation] = replies, set()
        wishes = {"node": node, "deadline": deadline, "stream": stream, "context": dict(context or {})}
        asked = {"text": text, "correlation": correlation} | {
            key: wish for key, wish in wishes.items() if wish
        }
        try:
            self._bus.publish(
                Outgoing(
                    self._topics.ask(self._user),
                    json.dumps(asked, ensure_ascii=False).encode(),
                    correlation=correlation.encode(),
                )
            )
            yield from self._collected(replies, timeout_s=timeout_s)
        finally:
            with self._lock:
                del self._replies[correlation], self._heard[correlation]

    def stop(self, reason: str = "", *, timeout_s: float = 10.0) -> Reply:
        """Stop the edge: no command leaves it any more; return its state once it is latched.

        Raises:
            EdgeSilent: The edge did not say that it is stopped; the broker may still have the stop for it.
        """
        self._listen(self._topics.stop_state)
        return self._exchange(self._topics.stop(self._user), {"reason": reason}, timeout_s=timeout_s)

    def reset_stop(self, *, timeout_s: float = 10.0) -> Reply:
        """Reset the stop that is latched now, and no later one; return what the edge says.

        Raises:
            EdgeSilent: The edge did not say whether it is stopped, or did not answer.
        """
        self._listen(self._topics.stop_state)
        if not self._stop_known.wait(timeout_s):
            raise EdgeSilent(self._topics.edge, timeout_s=timeout_s)
        return self.operate("reset_stop", timeout_s=timeout_s, stop_id=self._stop_id)

    def devices(self, *, node: str = "", timeout_s: float = 10.0) -> list[dict[str, Any]]:
        """Return what the edge knows of devices, in the order of nodes and names.

        Each has `node`, `device`, `online`, `seen_at` and `fields`: name to `value`, `at`, `age_s`, `fresh`,
        `topic`, `entry`, and where something was ordered and not reported since `desired`.

        Args:
            node: The devices of one node; of all where left out.
            timeout_s: Longest wait for each answer.

        Raises:
            EdgeSilent: No answer came in time.
            OperationRefused: The edge does not know the operation, or not the node.
        """
        known: list[dict[str, Any]] = []
        after = ""
        while True:
            reply = self.operate("devices", timeout_s=timeout_s, node=node, after=after)
            if reply.kind == "error":
                raise OperationRefused("devices", reason=reply.text)
            known += reply.data.get("devices", [])
            after = reply.data.get("after", "")
            if not after:
                return known

    def operate(self, operation: str, *, timeout_s: float = 10.0, **body: str) -> Reply:
        """Ask the edge for an operation, such as `approve`, and return what it answers.

        Args:
            operation: Name of the operation.
            timeout_s: Longest wait.
            body: What the operation is about, such as `command_id`.

        Raises:
            EdgeSilent: No answer came in time.
        """
        self._listen(self._topics.operation_response(self._user, "+"))
        return self._exchange(self._topics.operation(self._user, operation), body, timeout_s=timeout_s)

    def _listen(self, topic: str) -> None:
        """Subscribe to what only some callers need, so that a broker's list need not allow it to all."""
        if topic not in self._filters:
            self._filters[topic] = 1
            self._bus.subscribe(self._filters)
            self._bus.wait_subscribed(self._connect_timeout_s)

    def _exchange(self, topic: str, body: Mapping[str, str], *, timeout_s: float) -> Reply:
        """Return the last reply to a message with this body."""
        correlation = new_id()
        replies: queue.Queue[Reply] = queue.Queue()
        with self._lock:
            self._replies[correlation] = replies
        payload = json.dumps({**body, "correlation": correlation}, ensure_ascii=False).encode()
        try:
            self._bus.publish(Outgoing(topic, payload, correlation=correlation.encode()))
            *_, last = self._collected(replies, timeout_s=timeout_s)
            return last
        finally:
            with self._lock:
                del self._replies[correlation]

    def _collected(self, replies: queue.Queue[Reply], *, timeout_s: float) -> Iterator[Reply]:
        while True:
            try:
                reply = replies.get(timeout=timeout_s)
            except queue.Empty:
                raise EdgeSilent(self._topics.edge, timeout_s=timeout_s) from None
            yield reply
            if reply.final:
                return

    def _on_message(self, message: Message, receipt: Receipt) -> None:
        self._bus.acknowledge(receipt)
        try:
            body = read_json(message.payload, max_bytes=_MAX_REPLY_BYTES, max_depth=_MAX_DEPTH)
        except PayloadInvalid as error:
            log.warning("reply_unreadable", topic=message.topic, reason=str(error))
            return
        data = body.get("data") if isinstance(body, dict) else None
        if not isinstance(data, dict):
            log.warning("reply_unreadable", topic=message.topic, reason="it is no envelope")
            return
        if message.topic == self._topics.stop_state:
            self._stop_id = str(data.get("id", ""))
            self._stop_known.set()
        with self._lock:
            correlation, reply_id = str(body.get("corr")), str(body.get("id"))
            replies = self._replies.get(correlation)
            heard = self._heard.get(correlation, set())
            # An edge that was cut off while it answered says the same again, under the same id.
            again = reply_id in heard
            heard.add(reply_id)
        if replies is not None and not again:
            text, final = str(data.get("text", "")), bool(data.get("final"))
            replies.put(Reply(str(body.get("type", "")), text, final, data))

    def _on_refused(self, refusal: BrokerRefused) -> None:
        self._refusal = refusal
