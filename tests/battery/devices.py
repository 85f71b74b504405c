"""The presses: they carry out what they are told, once for each identifier, and write down all of it."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

if TYPE_CHECKING:
    from collections.abc import Iterator

STAMP, TRIM = "stamp", "trim"
DEADLINE_S = 30.0


@dataclass(frozen=True, slots=True)
class Deed:
    """Something a press was told.

    Attributes:
        press: The press.
        name: `stamp` or `trim`.
        count: Number of the input that led to it.
        id: Identifier of the command.
        at_s: When it came, seconds of the monotonic clock.
    """

    press: str
    name: str
    count: int
    id: str
    at_s: float


class Presses:
    """All presses as one client of the broker, with a session that outlives its connections.

    A message that the broker itself marks as sent again was told before: the device that heard it does not
    carry it out anew. What comes without that mark was published again, and is carried out by a stamp again,
    because a stamp does not look at identifiers; a trim looks, as commands that may be sent again demand.

    Attributes:
        deeds: What was carried out, in order.
        told: Identifier of a command to how often it came without the broker's mark.
    """

    def __init__(self, port: int, *, edge: str) -> None:
        self.deeds: list[Deed] = []
        self.told: Counter[str] = Counter()
        self.replies: list[tuple[float, dict[str, Any]]] = []
        self._seen: set[str] = set()
        self.stop_states: queue.Queue[dict[str, Any]] = queue.Queue()
        self._replies = f"edge/v1/{edge}/reply/ada"
        self._stop_state = f"edge/v1/{edge}/stop/state"
        self._subscribed = threading.Event()
        self._client = Client(
            CallbackAPIVersion.VERSION2, client_id="presses", clean_session=False, reconnect_on_failure=True
        )
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._subscribed.wait(DEADLINE_S)

    def carried_out(self) -> Iterator[Deed]:
        """Yield what was carried out, in order."""
        yield from list(self.deeds)

    def forget(self) -> None:
        """Forget what was carried out and answered, but no identifier."""
        self.deeds.clear()
        self.replies.clear()
        self.told.clear()

    def close(self) -> None:
        """End the connection."""
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(self, client: Client, *_: Any) -> None:
        topics = ("plant/+/stamp", "plant/+/trim", self._replies, self._stop_state)
        client.subscribe([(topic, 1) for topic in topics])

    def _on_message(self, client: Client, _data: Any, came: MQTTMessage) -> None:
        now_s = time.monotonic()
        said = json.loads(came.payload)
        if came.topic == self._stop_state:
            self.stop_states.put(said["data"])
            return
        if came.topic == self._replies:
            self.replies.append((now_s, said))
            return
        _, press, name = came.topic.split("/")
        if said["id"] in self._seen and (came.dup or name == TRIM):
            self.told[said["id"]] += not came.dup
            return
        self._seen.add(said["id"])
        self.told[said["id"]] += 1
        self.deeds.append(Deed(press, name, said["count"], said["id"], now_s))
        if name == TRIM:
            client.publish(f"plant/{press}/report", json.dumps({"trimmed": said["count"]}), qos=1)
