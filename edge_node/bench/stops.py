"""How long an operational stop takes while the model and every queue are busy, seen from outside.

From the publication of a stop until its outputs were shut, by the time that the state tells; and until that
retained state is heard, which the runtime tells once the latch is on the disk and what had left before has
arrived. Knows topics and envelopes; knows no stage.
"""

from __future__ import annotations

import json
import math
import queue
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from itertools import cycle
from typing import TYPE_CHECKING, Any, NamedTuple

from edge_node.bench.message import REQUESTS
from edge_node.bus.client import Listeners, MqttBus
from edge_node.errors import EdgeSilent
from edge_node.messages import Outgoing
from edge_node.topics import EdgeTopics

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edge_node.bench.pressure import Pressure
    from edge_node.bus.receipt import Receipt
    from edge_node.config.models import BrokerConfig
    from edge_node.messages import Message
    from edge_node.protocols import Progress

USER = "bench"
"""Who stops and resets; the runtime file must allow the latter."""
_ANSWER_S = 30.0
_FIRST_REQUESTS = 20


class _State(NamedTuple):
    """When the edge told its state, what it is, and since when: seconds since the epoch."""

    heard_s: float
    state: str
    at_s: float


class StopBench:
    """One stop after the other, each reset before the next.

    Args:
        broker: The broker that the runtime is on.
        edge: Identifier of the runtime.
        stops: How many.
        progress: Told how far it is.
    """

    def __init__(self, broker: BrokerConfig, *, edge: str, stops: int, progress: Progress) -> None:
        root = EdgeTopics(edge).root
        self._edge = edge
        self._stop = f"{root}/stop/{USER}"
        self._reset = f"{root}/op/{USER}/request/reset_stop"
        self._ask = EdgeTopics(edge).ask(USER)
        self._stops = stops
        self._progress = progress
        self._states: queue.Queue[_State] = queue.Queue()
        self._bus = MqttBus(broker, client_id="edge-node-stop-bench", listeners=Listeners(message=self._hear))
        self._bus.subscribe({f"{root}/stop/state": 1})
        self._requests = cycle(REQUESTS["pump-guard"])

    def run(self, pressure: Pressure) -> dict[str, Any]:
        """Return `stop_p99_ms` and `stop_told_p99_ms`, and both medians, under this pressure.

        Raises:
            EdgeSilent: A stop or a reset was not answered.
        """
        self._bus.start()
        self._bus.wait_subscribed(_ANSWER_S)
        for _ in range(_FIRST_REQUESTS):
            self._make_busy()
        with _in_background(pressure):
            spent_ms = [self._one(number) for number in range(self._stops)]
        self._progress.finish()
        self._bus.stop()
        told_ms, blocked_ms = ([each[place] for each in spent_ms] for place in (0, 1))
        return _spread("stop", blocked_ms) | _spread("stop_told", told_ms)

    def _one(self, number: int) -> tuple[float, float]:
        """Return how long the edge took to tell that it is stopped, and to be so, in milliseconds."""
        if number == 0:
            self._progress.start("stops", self._stops)
        self._make_busy()
        began_s = time.time()
        self._bus.publish(Outgoing(self._stop, b"bench"))
        stopped = self._wait_for("stopped")
        self._bus.publish(Outgoing(self._reset, b"{}"))
        self._wait_for("clear")
        self._progress.advance(number + 1)
        return (stopped.heard_s - began_s) * 1000, (stopped.at_s - began_s) * 1000

    def _make_busy(self) -> None:
        said = next(self._requests).format(number=40)
        self._bus.publish(Outgoing(self._ask, said.encode(), content_type="text/plain"))

    def _wait_for(self, state: str) -> _State:
        """Return what the edge told last when it was heard to be in a state."""
        while True:
            try:
                heard = self._states.get(timeout=_ANSWER_S)
            except queue.Empty:
                raise EdgeSilent(self._edge, timeout_s=_ANSWER_S) from None
            if heard.state == state:
                return heard

    def _hear(self, message: Message, receipt: Receipt) -> None:
        data = json.loads(message.payload)["data"]
        at_s = datetime.fromisoformat(data["at"]).timestamp() if data["at"] else 0.0
        self._states.put(_State(time.time(), data["state"], at_s))
        self._bus.acknowledge(receipt)


@contextmanager
def _in_background(pressure: Pressure) -> Iterator[None]:
    """Keep the receiver busy within the block."""
    done = threading.Event()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="pressure") as pool:
        feeding = pool.submit(pressure.keep_up, seconds=math.inf, until=done)
        try:
            yield
        finally:
            done.set()
    feeding.result()


def _spread(name: str, spent_ms: Sequence[float]) -> dict[str, float]:
    """Return median and 99th percentile."""
    p99 = sorted(spent_ms)[math.ceil(len(spent_ms) * 0.99) - 1]
    return {f"{name}_p99_ms": round(p99, 1), f"{name}_p50_ms": round(statistics.median(spent_ms), 1)}
