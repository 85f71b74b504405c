"""The service as users run it: a process of its own, its log, and people who speak to it over a broker."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest

from edge_node.bus.client import Listeners, MqttBus
from edge_node.client import Client
from edge_node.config.models import BrokerConfig
from edge_node.identifiers import new_id
from edge_node.messages import Outgoing
from edge_node.paths import models_folder
from edge_node.topics import EdgeTopics

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from edge_node.client import Reply
    from edge_node.demo.site import Observer
    from edge_node.messages import Message

ROOT = Path(__file__).parents[2]
NODES = ROOT / "nodes"
HOST = "127.0.0.1"
NAME = "hall-3"
# A start builds an index, on a machine that may be busy with other things.
READY_S = 120.0
ANSWER_S = 60.0
QUESTION = "How often is the drive-end bearing greased?"
"""A question to pump-guard that its manual answers."""


def link_models(home: Path, *, leave_out: Collection[str] = ()) -> None:
    """Give a home of its own the models of this machine, without copying them.

    Args:
        home: What EDGE_NODE_HOME is to be.
        leave_out: Files to leave out, relative to the folder of the models.
    """
    source = models_folder()
    for file in sorted(source.rglob("*")):
        name = file.relative_to(source).as_posix()
        if file.is_file() and file.name != ".lock" and name not in leave_out:
            link = home / "models" / name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file.resolve())


def environment(home: Path) -> dict[str, str]:
    """Return the environment of a process that keeps its models and its state in `home`."""
    return {**os.environ, "EDGE_NODE_HOME": str(home), "PYTHONPATH": str(ROOT)}


def edge_node(
    *words: str, home: Path, timeout_s: float = ANSWER_S, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Return what a command of edge_node printed, and its exit status."""
    return subprocess.run(
        [sys.executable, "-m", "edge_node", *words],
        env=environment(home),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def mosquitto_tool(name: str, port: int, *words: str, payload: bytes = b"") -> bytes:
    """Return what a client tool of mosquitto wrote; without it skip on a desk and fail in CI."""
    path = shutil.which(name)
    if path is None:
        if os.environ.get("CI"):
            pytest.fail(f"{name} is not installed")
        pytest.skip(f"{name} is not installed")
    done = subprocess.run(
        [path, "-h", HOST, "-p", str(port), *words],
        input=payload,
        capture_output=True,
        timeout=ANSWER_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def copy_nodes(folder: Path, *names: str) -> Path:
    """Return a folder with copies of the ready nodes named, or of all of them."""
    for name in names or [each.name for each in NODES.iterdir() if each.is_dir()]:
        shutil.copytree(NODES / name, folder / name)
    return folder


def small_nodes(folder: Path) -> Path:
    """Return a folder with pump-guard and rover, with short manuals, so that a start takes little time.

    The pump takes one order right after the other: what a test asked before must not deny what it asks now.
    """
    copy_nodes(folder, "pump-guard", "rover")
    pump_guard = folder / "pump-guard" / "node.yaml"
    pump_guard.write_text(pump_guard.read_text("utf-8").replace("    limit: {every: 2s}\n", ""), "utf-8")
    (folder / "pump-guard" / "manual" / "operation.md").unlink()
    (folder / "rover" / "manual" / "handbook.md").write_text("# Robot\n\nCharge the battery every evening.\n")
    return folder


def data_of(message: Message) -> dict[str, Any]:
    """Return what an envelope of edge_node holds."""
    data: dict[str, Any] = json.loads(message.payload)["data"]
    return data


def correlation_of(message: Message) -> str:
    """Return the correlation that an envelope of edge_node hands back."""
    return str(json.loads(message.payload)["corr"])


def stands_where_it_says(quotation: Mapping[str, Any], *, node: Path) -> bool:
    """Return whether the words of a quotation stand in the file and at the lines that it names."""
    lines = (node / quotation["file"]).read_text(encoding="utf-8").splitlines()
    cited = " ".join(lines[quotation["first_line"] - 1 : quotation["last_line"]])
    return bool(quotation["text"]) and quotation["text"] in " ".join(cited.split())


class Speaker:
    """A connection that publishes whatever it is given; use it in a `with` block."""

    def __init__(self, port: int) -> None:
        broker = BrokerConfig(host=HOST, port=port).model_copy(update={"session": 0.0})
        ignored = Listeners(message=lambda _message, _receipt: None)
        self._bus = MqttBus(broker, client_id=f"speaker-{new_id()}", listeners=ignored)

    def __enter__(self) -> Self:
        self._bus.start()
        assert self._bus.wait_connected(ANSWER_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._bus.stop()

    def say(self, topic: str, payload: bytes, *, retain: bool = False, correlation: str = "") -> None:
        """Publish at quality of service 1 and return once the broker has it."""
        has_it = threading.Event()
        outgoing = Outgoing(topic, payload, retain=retain, correlation=correlation.encode())
        self._bus.publish(outgoing, on_acknowledged=has_it.set)
        assert has_it.wait(ANSWER_S)


class Edge:
    """One `edge-node run` that can be started, stopped, killed and started again.

    Args:
        config_file: Its runtime file.
        port: Port of the broker.
        home: EDGE_NODE_HOME.
        name: Identifier of the edge.
    """

    def __init__(self, config_file: Path, *, port: int, home: Path, name: str = NAME) -> None:
        self.port = port
        self.topics = EdgeTopics(name)
        self.config_file = config_file
        self._home = home
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._process: subprocess.Popen[str] | None = None
        self._reader = threading.Thread()

    @classmethod
    def make(
        cls,
        folder: Path,
        *,
        port: int,
        home: Path,
        nodes: Path = NODES,
        broker: Mapping[str, Any] | None = None,
    ) -> Edge:
        """Return an edge with a runtime file of its own and its state in `folder`.

        Args:
            folder: Where both are to lie.
            port: Port of the broker.
            home: EDGE_NODE_HOME.
            nodes: Folder of the nodes.
            broker: Further keys of `broker`.
        """
        content = {
            "edge_node": 1,
            "edge": NAME,
            "broker": {"host": HOST, "port": port, **(broker or {})},
            "nodes": [f"{nodes}/*"],
            "state": str(folder / "state"),
            "log": {"format": "json"},
        }
        folder.mkdir(parents=True)
        file = folder / "edge-node.yaml"
        # JSON is YAML too, and quotes every path rightly.
        file.write_text(json.dumps(content), encoding="utf-8")
        return cls(file, port=port, home=home)

    @property
    def broker(self) -> BrokerConfig:
        """How to reach the broker."""
        return BrokerConfig(host=HOST, port=self.port)

    @property
    def lines(self) -> tuple[str, ...]:
        """Every line the process has written, over all its starts."""
        with self._changed:
            return tuple(self._lines)

    @property
    def log(self) -> tuple[dict[str, Any], ...]:
        """Every line of its log."""
        return tuple(json.loads(line) for line in self.lines if line.startswith("{"))

    def first(self, event: str) -> dict[str, Any]:
        """Return the first line of its log about an event, or an empty one."""
        return next((line for line in self.log if line["event"] == event), {})

    def client(self, user: str) -> Client:
        """Return a connection over which `user` asks."""
        return Client(self.broker, edge=self.topics.edge, user=user)

    def launch(self) -> None:
        """Start the process, and do not wait for anything."""
        process = subprocess.Popen(
            [sys.executable, "-m", "edge_node", "run", "--config", str(self.config_file)],
            env=environment(self._home),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._process = process
        self._reader = threading.Thread(target=self._read, args=(process,), daemon=True)
        self._reader.start()

    def start(self, observer: Observer) -> None:
        """Start the process and return once it has said on the bus that it is ready."""
        since = len(observer.said)
        self.launch()
        ready = observer.wait_for(self.tells("ready"), timeout_s=READY_S, since=since)
        assert ready is not None, self.lines

    def tells(self, state: str) -> Callable[[Message], bool]:
        """Return what is true for the message that tells a state of this edge."""
        return lambda message: message.topic == self.topics.status and message.payload == state.encode()

    def wait_for_log(self, wanted: Callable[[dict[str, Any]], bool], *, timeout_s: float = READY_S) -> bool:
        """Return whether a line for which `wanted` is true is in the log within `timeout_s`."""
        until_s = time.monotonic() + timeout_s
        with self._changed:
            while not any(wanted(json.loads(line)) for line in self._lines if line.startswith("{")):
                left_s = until_s - time.monotonic()
                if left_s <= 0 or not self._changed.wait(left_s):
                    return False
        return True

    def wait(self, *, timeout_s: float = READY_S) -> int:
        """Return the exit status once the process has ended and all that it wrote was read."""
        assert self._process is not None
        status = self._process.wait(timeout_s)
        self._reader.join(timeout_s)
        return status

    def stop(self, *, timeout_s: float = 30.0) -> int:
        """Ask the process to end, and return its exit status."""
        assert self._process is not None
        self._process.terminate()
        return self.wait(timeout_s=timeout_s)

    def kill(self) -> None:
        """End the process as a power cut would."""
        assert self._process is not None
        self._process.kill()
        self.wait()

    def close(self) -> None:
        """End the process if it still runs."""
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                with self._changed:
                    self._lines.append(line.rstrip("\n"))
                    self._changed.notify_all()


def last_reply(client: Client, text: str, *, node: str = "") -> Reply:
    """Return the final reply to a question or an order."""
    *_, last = client.ask(text, node=node, timeout_s=ANSWER_S)
    return last
