from __future__ import annotations

import queue
import subprocess
import threading
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from edge_node.bus.client import Listeners, MqttBus
from edge_node.cli.acl import acl
from edge_node.config.models import BrokerConfig
from edge_node.config.shipped import shipped_folder
from edge_node.errors import ConfigurationError
from edge_node.messages import Outgoing
from tests.brokers import DEADLINE_S, mosquitto, require_mosquitto

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from edge_node.errors import BusError
    from edge_node.messages import Message

USERS = ("edge", "ada", "bob", "pump-1", "pump-2", "state")
ROOT = "edge/v1/hall"


def config(folder: Path, **extra: Any) -> Path:
    file = folder / "edge-node.yaml"
    keys = {"edge_node": 1, "edge": "hall", "broker": {"username": "edge"}, **extra}
    keys.setdefault("nodes", [str(shipped_folder("nodes") / "pump-guard")])
    file.write_text("\n".join(f"{key}: {value}" for key, value in keys.items()), encoding="utf-8")
    return file


def printed(file: Path, *arguments: str) -> list[str]:
    result = CliRunner().invoke(
        acl, ["--broker", "mosquitto", "--config", str(file), *arguments], catch_exceptions=False
    )
    assert result.exit_code == 0
    return result.output.splitlines()


def test_the_list_gives_each_side_its_own_topics_and_no_more(tmp_path: Path) -> None:
    lines = printed(config(tmp_path))
    edge = lines[lines.index("user edge") : lines.index("", lines.index("user edge"))]
    assert {"topic read plant/+/telemetry", "topic write plant/+/set"} <= set(edge)
    assert f"topic read {ROOT}/ask/+" in edge
    assert not any(line.endswith(("write #", "/#")) for line in edge if "reply" not in line)
    patterns = [line for line in lines if line.startswith("pattern")]
    assert f"pattern write {ROOT}/ask/%u" in patterns
    assert {"pattern write plant/%u/telemetry", "pattern read plant/%u/set"} <= set(patterns)
    assert not any(line.startswith("pattern write") and "%u" not in line for line in patterns)
    assert not any("readwrite" in line for line in patterns)


def test_a_group_is_asked_and_answers_under_its_name_and_its_edges_claim(tmp_path: Path) -> None:
    lines = printed(config(tmp_path, group="halls"))
    assert "topic read edge/v1/halls/ask/+" in lines
    assert "topic write edge/v1/halls/reply/#" in lines
    assert "topic readwrite edge/v1/halls/claim/+" in lines
    assert f"pattern write {ROOT}/stop/%u" in lines
    assert not any(f"{ROOT}/ask" in line for line in lines)


def test_a_device_whose_name_is_part_of_a_level_is_left_to_a_person(tmp_path: Path) -> None:
    node = tmp_path / "nodes" / "lamp" / "node.yaml"
    node.parent.mkdir(parents=True)
    node.write_text(
        "edge_node: 1\nname: lamp\nlisten:\n  - {topic: 'house/{lamp}/{room}/state', fields: {on: on}}\n"
        "  - {topic: gate/state, fields: {open: open}}\n"
        "commands:\n  switch:\n    description: Switch it.\n    args: {lamp: {device: true}}\n"
        "    publish: {topic: 'house/lamp-{lamp}/set', payload: 1}\n",
        encoding="utf-8",
    )
    lines = printed(config(tmp_path, nodes=[str(node.parent)]))
    assert "pattern write house/%u/+/state" in lines
    assert "topic write house/+/set" in lines
    assert not any(line.startswith("pattern") and "set" in line for line in lines)
    notes = [line for line in lines if line.startswith(("# house", "# gate"))]
    assert [line.rpartition(": ")[2] for line in notes] == [
        "topic write gate/state",
        "topic read house/+/set",
    ]


def test_without_a_user_of_its_own_an_edge_has_no_list(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"broker\.username"):
        printed(config(tmp_path, broker={}))


@pytest.mark.parametrize("name", ["a/b", "+", "state", "edge", ""])
def test_an_operator_must_have_a_name_that_is_nobody_elses(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="operator"):
        printed(config(tmp_path), "--operator", name)


class Guarded:
    """A mosquitto with passwords and an access list, and users who sign in to it."""

    def __init__(self, port: int, folder: Path) -> None:
        self._port = port
        self._folder = folder
        self._buses: list[MqttBus] = []

    def may_publish(self, user: str, topic: str, *, retain: bool = False) -> bool:
        """Return whether the broker takes a message from a user."""
        outcome: queue.Queue[BusError | None] = queue.Queue()
        self._sign_in(user).publish(
            Outgoing(topic, b"x", retain=retain),
            on_acknowledged=partial(outcome.put, None),
            on_failed=outcome.put,
        )
        return outcome.get(timeout=DEADLINE_S) is None

    def may_hear(self, user: str, topic: str, *, speaker: str, by: str = "") -> bool:
        """Return whether what a speaker may say on a topic reaches a user who listens to it, or to `by`."""
        heard: list[Message] = []
        filters = {by or topic: 1}
        listener = self._sign_in(user, heard.append)
        listener.subscribe(filters)
        assert listener.wait_subscribed(DEADLINE_S)
        assert self.may_publish(speaker, topic)
        # The answer to one more request comes behind what was delivered before it.
        listener.subscribe({**filters, "marker": 0})
        assert listener.wait_subscribed(DEADLINE_S)
        return bool(heard)

    def refuses(self, **login: str) -> bool:
        """Return whether the broker lets nobody in under a login."""
        refused = threading.Event()
        self._bus(login, Listeners(lambda *_: None, refused=lambda _: refused.set()))
        return refused.wait(DEADLINE_S)

    def sign_out(self) -> None:
        """End every connection."""
        for bus in self._buses:
            bus.stop()

    def _sign_in(self, user: str, hear: Callable[[Message], object] = lambda _: None) -> MqttBus:
        login = {"username": user, "password_file": str(self._folder / f"{user}.password")}
        bus = self._bus(login, Listeners(lambda message, _: hear(message)))  # type: ignore[func-returns-value]
        assert bus.wait_connected(DEADLINE_S)
        return bus

    def _bus(self, login: dict[str, str], listeners: Listeners) -> MqttBus:
        name = f"client-{len(self._buses)}"
        bus = MqttBus(BrokerConfig(port=self._port, **login), client_id=name, listeners=listeners)
        self._buses.append(bus)
        bus.start()
        return bus


@contextmanager
def guarded(folder: Path, access: list[str]) -> Iterator[Guarded]:
    require_mosquitto()
    passwords = folder / "passwords"
    passwords.touch(mode=0o600)
    for user in USERS:
        subprocess.run(["mosquitto_passwd", "-b", str(passwords), user, f"{user}-secret"], check=True)
        secret = folder / f"{user}.password"
        secret.touch(mode=0o600)
        secret.write_text(f"{user}-secret\n", encoding="utf-8")
    file = folder / "access"
    file.touch(mode=0o600)
    file.write_text("\n".join(access) + "\n", encoding="utf-8")
    settings = f"allow_anonymous false\npassword_file {passwords}\nacl_file {file}\n"
    with mosquitto(folder / "mosquitto", settings=settings) as broker:
        users = Guarded(broker.port, folder)
        try:
            yield users
        finally:
            users.sign_out()


@pytest.mark.broker
@pytest.mark.parametrize("named", [(), ("--operator", "ada", "--operator", "bob")], ids=["open", "named"])
def test_on_a_broker_with_the_list_everyone_has_their_own_topics_only(
    tmp_path: Path, named: tuple[str, ...]
) -> None:
    with guarded(tmp_path, printed(config(tmp_path), *named)) as users:
        assert users.may_publish("ada", f"{ROOT}/ask/ada")
        assert users.may_publish("ada", f"{ROOT}/stop/ada")
        assert users.may_publish("ada", f"{ROOT}/op/ada/request/approve")
        for topic in ("ask/bob", "stop/bob", "op/bob/request/approve", "reply/ada", "status", "cmd/c-1"):
            assert not users.may_publish("ada", f"{ROOT}/{topic}"), topic
        for topic in ("plant/pump-1/set", "plant/pump-1/telemetry", f"{ROOT}/stop/state"):
            assert not users.may_publish("ada", topic), topic
        assert users.may_hear("ada", f"{ROOT}/reply/ada/stream", speaker="edge", by=f"{ROOT}/reply/ada/#")
        assert users.may_hear("ada", f"{ROOT}/cmd/c-1", speaker="edge")
        assert not users.may_hear("ada", f"{ROOT}/reply/bob", speaker="edge")
        assert not users.may_hear("ada", f"{ROOT}/ask/bob", speaker="bob", by="#")
        assert not users.may_hear("ada", "plant/pump-1/telemetry", speaker="pump-1", by="#")

        assert users.may_publish("pump-1", "plant/pump-1/telemetry")
        assert not users.may_publish("pump-1", "plant/pump-2/telemetry")
        assert not users.may_publish("pump-1", "plant/pump-1/set")
        assert not users.may_publish("pump-1", f"{ROOT}/ask/ada")
        assert users.may_publish("pump-1", f"{ROOT}/ask/pump-1") is not bool(named)
        assert users.may_hear("pump-1", "plant/pump-1/set", speaker="edge")
        assert not users.may_hear("pump-1", "plant/pump-2/set", speaker="edge", by="plant/+/set")

        assert users.may_hear("edge", f"{ROOT}/ask/ada", speaker="ada", by=f"{ROOT}/ask/+")
        assert users.may_hear("edge", "plant/pump-1/telemetry", speaker="pump-1", by="plant/+/telemetry")
        assert not users.may_publish("edge", "plant/pump-1/telemetry")
        assert not users.may_publish("edge", f"{ROOT}/ask/ada")
        assert not users.may_publish("edge", "somewhere/else")
        assert not users.may_publish("state", f"{ROOT}/stop/state", retain=True)
        assert users.refuses()


@pytest.mark.broker
def test_a_named_operator_cannot_speak_for_a_device_of_the_same_name(tmp_path: Path) -> None:
    access = printed(config(tmp_path), "--operator", "ada")
    with guarded(tmp_path, access) as users:
        assert not users.may_publish("ada", "plant/ada/telemetry")
        assert users.may_publish("ada", f"{ROOT}/ask/ada")
        assert not users.may_publish("bob", f"{ROOT}/ask/bob")
