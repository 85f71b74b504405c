"""A whole site on one machine: broker, runtime and an observer of the bus, started and stopped together.

The runtime is a process of its own, started as `edge-node run` is anywhere else; what is known of it is
what it says on the bus.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Self

from edge_node.bus.client import Listeners, MqttBus
from edge_node.bus.embedded import EmbeddedBroker
from edge_node.client import Client
from edge_node.config.models import BrokerConfig
from edge_node.errors import SiteNotReady
from edge_node.topics import EdgeTopics

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from edge_node.bus.receipt import Receipt
    from edge_node.messages import Message

EDGE = "demo"
HOST = "127.0.0.1"
_LOG_LINES = 3
_STOP_S = 15.0


class Observer:
    """Everything that was said on the bus, in order; use it in a `with` block.

    Args:
        broker: The broker to listen to.
        tell: Called with each message as it comes, on the network thread.
    """

    def __init__(self, broker: BrokerConfig, *, tell: Callable[[Message], None] | None = None) -> None:
        self._tell = tell
        self._said: list[Message] = []
        self._changed = threading.Condition()
        self._bus = MqttBus(
            broker, client_id="edge-node-observer", listeners=Listeners(message=self._on_message)
        )
        self._bus.subscribe({"#": 0})

    def __enter__(self) -> Self:
        self._bus.start()
        self._bus.wait_subscribed(_STOP_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bus.stop()

    @property
    def said(self) -> tuple[Message, ...]:
        """Every message so far."""
        with self._changed:
            return tuple(self._said)

    def wait_for(
        self, wanted: Callable[[Message], bool], *, timeout_s: float, since: int = 0
    ) -> Message | None:
        """Return the first message from place `since` on that is `wanted`, or None if none comes in time."""
        deadline_s = time.monotonic() + timeout_s
        place = since
        with self._changed:
            while True:
                while place < len(self._said):
                    if wanted(self._said[place]):
                        return self._said[place]
                    place += 1
                left_s = deadline_s - time.monotonic()
                if left_s <= 0 or not self._changed.wait(left_s):
                    return None

    def _on_message(self, message: Message, _receipt: Receipt) -> None:
        if self._tell:
            self._tell(message)
        with self._changed:
            self._said.append(message)
            self._changed.notify_all()


class Site:
    """A broker and a runtime on loopback; use it in a `with` block.

    Args:
        folder: Where the runtime file, the log and the state are written.
        nodes: Folder with the nodes to run.
        tell: Called with each message on the bus.
        ready_timeout_s: Longest wait until the runtime is ready.
    """

    def __init__(
        self,
        folder: Path,
        *,
        nodes: Path,
        tell: Callable[[Message], None] | None = None,
        ready_timeout_s: float = 120.0,
    ) -> None:
        self.nodes = nodes
        self.config_file = folder / "edge-node.yaml"
        self.log_file = folder / "run.log"
        self.topics = EdgeTopics(EDGE)
        self.ready_s = 0.0
        self._folder = folder
        self._tell = tell
        self._ready_timeout_s = ready_timeout_s

    def __enter__(self) -> Self:
        """Start everything.

        Raises:
            Unavailable: The embedded broker is not installed.
            SiteNotReady: The runtime ended, or did not get ready in time.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        self._broker = EmbeddedBroker.start()
        self._write_config()
        self.observer = Observer(self.broker, tell=self._tell).__enter__()
        self._start_runtime()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop_runtime()
        self.observer.__exit__(kind, error, trace)
        self._broker.stop()
        self.config_file.unlink(missing_ok=True)

    @property
    def broker(self) -> BrokerConfig:
        """How to reach the broker."""
        return BrokerConfig(host=HOST, port=self._broker.port)

    @property
    def port(self) -> int:
        """TCP port for MQTT 5."""
        return self._broker.port

    @property
    def pid(self) -> int:
        """Process of the runtime."""
        return self._runtime.pid

    def client(self, user: str) -> Client:
        """Return a connection over which `user` asks the runtime."""
        return Client(self.broker, edge=EDGE, user=user)

    def _write_config(self) -> None:
        # JSON is YAML too, and quotes every path rightly.
        content: dict[str, Any] = {
            "edge_node": 1,
            "edge": EDGE,
            "broker": {"host": HOST, "port": self._broker.port},
            "nodes": [f"{self.nodes.resolve()}/*"],
            "state": str((self._folder / "state").resolve()),
            "log": {"format": "json"},
        }
        self.config_file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    def _start_runtime(self) -> None:
        began_s = time.monotonic()
        command = [sys.executable, "-m", "edge_node", "run", "--config", str(self.config_file)]
        with self.log_file.open("wb") as log:
            # A session of its own: Ctrl-C is for the demo, which then ends the runtime in order.
            self._runtime = subprocess.Popen(  # noqa: S603 - this program itself
                command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        threading.Thread(target=self._runtime.wait, name="runtime-end", daemon=True).start()
        while time.monotonic() - began_s < self._ready_timeout_s:
            if self.observer.wait_for(self._is_ready, timeout_s=0.5):
                self.ready_s = time.monotonic() - began_s
                return
            if self._runtime.poll() is not None:
                break
        self.__exit__(None, None, None)
        raise SiteNotReady(self.log_file, last_words=self._last_words())

    def _is_ready(self, message: Message) -> bool:
        return message.topic == self.topics.status and message.payload == b"ready"

    def _last_words(self) -> str:
        lines = self.log_file.read_text(encoding="utf-8", errors="replace").splitlines()
        return " | ".join(lines[-_LOG_LINES:])

    def _stop_runtime(self) -> None:
        self._runtime.terminate()
        try:
            self._runtime.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._runtime.kill()
            self._runtime.wait()
