from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

import pytest

from edge_node.bus.access_list import mosquitto_access_list
from edge_node.bus.client import Listeners, MqttBus
from edge_node.client import Client
from edge_node.config.load import load
from edge_node.config.models import BrokerConfig
from edge_node.messages import Outgoing
from tests.brokers import DEADLINE_S, Mosquitto, require_mosquitto
from tests.integration.runtimes import CHECKOUT, Runtime

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_node.bus.receipt import Receipt
    from edge_node.messages import Message

pytestmark = [pytest.mark.broker, pytest.mark.models]

READY_S = 60.0
USERS = ("edge", "ada", "pump-1")


class Plant:
    """A guarded broker, one runtime, and what it says of itself; use it in a `with` block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.passwords, self.access = folder / "passwords", folder / "access"
        for file in (self.passwords, self.access):
            file.touch(mode=0o600)
        for user in USERS:
            subprocess.run(["mosquitto_passwd", "-b", str(self.passwords), user, "secret"], check=True)
        (folder / "secret").touch(mode=0o600)
        (folder / "secret").write_text("secret\n", encoding="utf-8")
        guard = (
            f"allow_anonymous false\npassword_file {self.passwords}\nacl_file {self.access}\nlog_type all\n"
        )
        self.broker = Mosquitto(folder / "mosquitto", guard)
        self.runtime = Runtime(
            folder / "edge",
            "hall",
            {"port": self.broker.port, **self.login("edge")},
            [str(CHECKOUT / "nodes" / "pump-guard")],
        )
        self.runtime.write_config()
        self.states: queue.Queue[str] = queue.Queue()
        self.info: list[dict[str, object]] = []

    def login(self, user: str) -> dict[str, str]:
        return {"username": user, "password_file": str(self.folder / "secret")}

    def config(self, user: str) -> BrokerConfig:
        return BrokerConfig(port=self.broker.port, **self.login(user))

    def rules(self) -> str:
        return mosquitto_access_list(load(self.runtime.config_file), operators=["ada"])

    def allow(self, rules: str) -> None:
        """Put an access list in force, also while the broker runs."""
        self.access.write_text(rules, encoding="utf-8")
        if self.broker._process is not None:
            os.kill(self.broker._process.pid, signal.SIGHUP)

    def __enter__(self) -> Self:
        self.broker.start()
        self._watcher = MqttBus(self.config("ada"), client_id="watcher", listeners=Listeners(self._hear))
        self._watcher.subscribe({"edge/v1/hall/status": 1, "edge/v1/hall/info": 1})
        self._watcher.start()
        assert self._watcher.wait_subscribed(DEADLINE_S)
        self.runtime.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.runtime.kill()
        self._watcher.stop()
        self.broker.stop()

    def wait_for(self, word: str) -> list[str]:
        """Return the words of the edge up to and with this one."""
        words = [self.states.get(timeout=READY_S)]
        while words[-1] != word:
            words.append(self.states.get(timeout=READY_S))
        return words

    def _hear(self, message: Message, receipt: Receipt) -> None:
        self._watcher.acknowledge(receipt)
        if message.topic.endswith("/status"):
            self.states.put(message.payload.decode())
        else:
            self.info.append(json.loads(message.payload))


@contextmanager
def pump(plant: Plant, name: str) -> Iterator[MqttBus]:
    """Give a pump that reports, and does what it is told."""

    def hear(message: Message, receipt: Receipt) -> None:
        bus.acknowledge(receipt)
        report(json.loads(message.payload).get("speed", 100))

    def report(speed: int) -> None:
        state = {"speed_percent": speed, "temp": {"bearing": 40}, "vib_rms": 1, "valve": "open"}
        bus.publish(Outgoing(f"plant/{name}/telemetry", json.dumps(state).encode()))

    bus = MqttBus(plant.config(name), client_id=name, listeners=Listeners(hear))
    bus.subscribe({f"plant/{name}/set": 1})
    bus.start()
    try:
        assert bus.wait_subscribed(DEADLINE_S)
        report(80)
        yield bus
    finally:
        bus.stop()


def test_under_the_printed_list_an_order_is_asked_carried_out_and_verified(tmp_path: Path) -> None:
    require_mosquitto()
    plant = Plant(tmp_path / "plant")
    plant.allow(plant.rules())
    with plant:
        assert plant.wait_for("ready") == ["starting", "ready"]
        with pump(plant, "pump-1"), Client(plant.config("ada"), edge="hall", user="ada") as ada:
            states = [reply.data["state"] for reply in ada.ask("slow pump 1 down to 40 percent")]
        assert states == ["sent", "acknowledged", "verified"]
        plant.runtime.stop()
        assert plant.wait_for("offline") == ["draining", "offline"]
        assert "refused" not in plant.runtime.log
        assert plant.info[-1]["troubles"] == []
        assert "Denied" not in (plant.broker.folder / "mosquitto.log").read_text()


def test_an_edge_that_the_broker_does_not_let_hear_says_so_until_it_may(tmp_path: Path) -> None:
    require_mosquitto()
    plant = Plant(tmp_path / "plant")
    rules = plant.rules()
    plant.allow(rules.replace("topic readwrite edge/v1/hall/probe/+", "topic write edge/v1/hall/probe/+"))
    with plant:
        assert plant.wait_for("degraded") == ["starting", "degraded"]
        assert "edge/v1/hall/probe/" in str(plant.info[-1]["troubles"])
        plant.allow(rules)
        assert plant.wait_for("ready") == ["ready"]
        plant.runtime.stop()
        log = [json.loads(line) for line in plant.runtime.log.splitlines()]
        said = [line for line in log if line["event"] in ("degraded", "recovered")]
        assert [line["event"] for line in said] == ["degraded", "recovered"]
        assert "access list" in said[0]["reason"]


def test_an_edge_that_the_broker_does_not_let_speak_names_the_topic_at_once(tmp_path: Path) -> None:
    require_mosquitto()
    plant = Plant(tmp_path / "plant")
    plant.allow(plant.rules().replace("topic readwrite edge/v1/hall/probe/+\n", ""))
    with plant:
        plant.wait_for("degraded")
        assert "Not authorized" in str(plant.info[-1]["troubles"])


def test_each_run_of_an_edge_has_a_boot_id_of_its_own_and_a_killed_one_is_lost(tmp_path: Path) -> None:
    require_mosquitto()
    plant = Plant(tmp_path / "plant")
    plant.allow(plant.rules())
    with plant:
        plant.wait_for("ready")
        plant.runtime.kill()
        assert plant.wait_for("lost") == ["lost"]
        plant.runtime.start()
        assert plant.wait_for("ready") == ["starting", "ready"]
        assert len({about["boot"] for about in plant.info}) == 2
