from __future__ import annotations

import json
import subprocess
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edge_node.bus.client import Listeners, MqttBus
from edge_node.config.models import BrokerConfig
from edge_node.errors import BrokerUnreachable, BusError, ConfigurationError
from edge_node.messages import Outgoing
from tests.battery.proxy import Proxy
from tests.brokers import DEADLINE_S, Mosquitto, embedded, free_port, mosquitto, require_mosquitto

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_node.bus.receipt import Receipt
    from edge_node.messages import Message

    MakeClient = Callable[..., Any]


def test_a_message_arrives_with_its_properties(port: int, make_client: MakeClient) -> None:
    listener = make_client(port, name="a", filters={"plant/+/telemetry": 1})
    speaker = make_client(port, name="b")
    speaker.publish(Outgoing("plant/p1/telemetry", b'{"speed": 1}', correlation=b"\x00\xff", expiry_s=60))
    message, receipt = listener.next()
    assert (message.topic, message.payload) == ("plant/p1/telemetry", b'{"speed": 1}')
    assert message.correlation == b"\x00\xff"
    assert message.expires_at is not None
    assert 0 < message.expires_at - message.received_at <= 61
    assert (message.qos, message.durable, message.retained) == (1, True, False)
    assert receipt.qos == 1


@pytest.mark.broker
def test_a_message_published_at_qos_0_is_not_durable(tmp_path: Path, make_client: MakeClient) -> None:
    with mosquitto(tmp_path / "mosquitto") as broker:
        listener = make_client(broker.port, name="a", filters={"t": 1})
        listener.publish(Outgoing("t", b"x", qos=0))
        message, _ = listener.next()
        assert (message.qos, message.durable) == (0, False)


def test_a_retained_message_is_marked_and_reaches_a_late_listener(port: int, make_client: MakeClient) -> None:
    make_client(port, name="b").publish(Outgoing("plant/state", b"on", retain=True))
    message, _ = make_client(port, name="a", filters={"plant/#": 1}).next()
    assert (message.payload, message.retained) == (b"on", True)


def test_the_will_is_published_when_asked_for_at_the_end(port: int, make_client: MakeClient) -> None:
    listener = make_client(port, name="a", filters={"status": 1})
    leaving = make_client(port, name="b", will=Outgoing("status", b"lost"))
    leaving.bus.stop(send_will=True)
    assert listener.next()[0].payload == b"lost"


def test_the_will_is_not_published_after_a_good_bye(port: int, make_client: MakeClient) -> None:
    listener = make_client(port, name="a", filters={"status": 1})
    make_client(port, name="b", will=Outgoing("status", b"lost")).bus.stop()
    listener.publish(Outgoing("status", b"marker"))
    assert listener.next()[0].payload == b"marker"


def test_what_was_not_acknowledged_is_delivered_again(port: int, make_client: MakeClient) -> None:
    listener = make_client(port, name="a", filters={"t": 1}, acknowledge=False)
    make_client(port, name="b").publish(Outgoing("t", b"once"))
    _, first = listener.next()
    listener.bus.reconnect()
    message, second = listener.next()
    assert message.payload == b"once"
    assert second.epoch > first.epoch


@pytest.mark.broker
def test_a_delivery_that_the_broker_repeats_says_so(tmp_path: Path, make_client: MakeClient) -> None:
    with mosquitto(tmp_path / "mosquitto") as broker:
        listener = make_client(broker.port, name="a", filters={"t": 1}, acknowledge=False)
        make_client(broker.port, name="b").publish(Outgoing("t", b"once"))
        original, _ = listener.next()
        listener.bus.reconnect()
        again, _ = listener.next()
    assert (original.redelivered, again.redelivered) == (False, True)
    assert original.packet_id == again.packet_id > 0


def test_a_receipt_of_an_earlier_connection_acknowledges_nothing(port: int, make_client: MakeClient) -> None:
    listener = make_client(port, name="a", filters={"t": 1}, acknowledge=False)
    speaker = make_client(port, name="b")
    speaker.publish(Outgoing("t", b"first"))
    _, stale = listener.next()
    listener.bus.reconnect()
    message, fresh = listener.next()
    assert message.payload == b"first"
    # The same packet identifier as the open delivery, but of the connection before.
    listener.bus.acknowledge(replace(fresh, epoch=stale.epoch))
    listener.bus.reconnect()
    message, receipt = listener.next()
    assert message.payload == b"first"
    listener.bus.acknowledge(receipt)
    listener.bus.reconnect()
    assert listener.connected.get(timeout=DEADLINE_S) is not None
    listener.bus.wait_subscribed(DEADLINE_S)
    speaker.publish(Outgoing("t", b"second"))
    assert listener.next()[0].payload == b"second"


def test_an_exception_in_a_listener_leaves_the_thread_alive_and_the_message_unacknowledged(
    port: int, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_node.bus.client._REDELIVER_S", 0.05)
    failures = iter([True, False])

    def fail_once(message: Message, _receipt: Receipt) -> None:
        if message.payload == b"odd" and next(failures):
            raise RuntimeError("not foreseen")

    listener = make_client(port, name="a", filters={"t": 1}, on_message=fail_once)
    listener.publish(Outgoing("t", b"odd"))
    assert listener.next()[0].payload == b"odd"
    assert listener.next()[0].payload == b"odd"
    assert listener.bus.wait_connected(DEADLINE_S)
    assert listener.bus.alive


def test_an_oversized_payload_is_dropped_but_its_message_is_told(port: int, make_client: MakeClient) -> None:
    listener = make_client(port, name="a", filters={"t": 1}, max_payload_bytes=1000)
    speaker = make_client(port, name="b")
    speaker.publish(Outgoing("t", b"x" * 10_000_000))
    message, _ = listener.next()
    assert (message.payload, message.dropped_bytes) == (b"", 10_000_000)
    speaker.publish(Outgoing("t", b"small"))
    assert listener.next()[0].payload == b"small"


def test_subscriptions_that_are_no_longer_wanted_are_ended(port: int, make_client: MakeClient) -> None:
    listener = make_client(port, name="a", filters={"old": 1, "kept": 1})
    listener.bus.subscribe({"kept": 1, "new": 1})
    assert listener.bus.wait_subscribed(DEADLINE_S)
    for topic in ("old", "kept", "new"):
        listener.publish(Outgoing(topic, b""))
    assert [listener.next()[0].topic for _ in range(2)] == ["kept", "new"]


def test_many_messages_arrive_in_order_and_each_is_acknowledged(port: int, make_client: MakeClient) -> None:
    listener = make_client(port, name="a", filters={"t": 1})
    speaker = make_client(port, name="b")
    count = 500
    acknowledged = threading.Semaphore(0)
    for number in range(count):
        speaker.bus.publish(Outgoing("t", str(number).encode()), on_acknowledged=acknowledged.release)
    assert [int(listener.next()[0].payload) for _ in range(count)] == list(range(count))
    for _ in range(count):
        assert acknowledged.acquire(timeout=DEADLINE_S)


def test_publishing_without_a_connection_is_refused_and_nothing_is_kept(make_client: MakeClient) -> None:
    client = make_client(free_port(), wait=False)
    with pytest.raises(BrokerUnreachable):
        client.bus.publish(Outgoing("t", b"x"))


def test_a_topic_that_mqtt_does_not_allow_is_reported_and_harms_nothing(
    port: int, make_client: MakeClient
) -> None:
    client = make_client(port)
    failed: list[BusError] = []
    told = threading.Event()
    client.bus.publish(
        Outgoing("a/#", b"x"),
        on_failed=lambda error: (failed.append(error), told.set()),  # type: ignore[func-returns-value]
    )
    assert told.wait(DEADLINE_S)
    assert "a/#" in str(failed[0])
    assert client.bus.connected


@pytest.mark.broker
def test_an_absent_broker_is_waited_for(tmp_path: Path, make_client: MakeClient) -> None:
    broker = Mosquitto(tmp_path / "mosquitto")
    client = make_client(broker.port, wait=False)
    assert not client.bus.connected
    broker.start()
    try:
        assert client.bus.wait_connected(DEADLINE_S)
    finally:
        broker.stop()


@pytest.mark.broker
def test_a_restarted_broker_is_found_again_and_the_subscriptions_hold(
    tmp_path: Path, make_client: MakeClient
) -> None:
    with mosquitto(tmp_path / "mosquitto") as broker:
        client = make_client(broker.port, filters={"t": 1})
        assert client.connected.get(timeout=DEADLINE_S) is False
        first = client.bus.hears_since
        broker.stop()
        client.disconnected.get(timeout=DEADLINE_S)
        assert client.bus.hears_since is None
        with pytest.raises(BrokerUnreachable):
            client.bus.publish(Outgoing("t", b"x"))
        broker.start()
        assert client.connected.get(timeout=DEADLINE_S) is True
        assert first is not None
        assert client.bus.hears_since is not None
        assert client.bus.hears_since > first
        assert client.bus.wait_subscribed(DEADLINE_S)
        client.publish(Outgoing("t", b"back"))
        assert client.next()[0].payload == b"back"


@pytest.mark.broker
def test_messages_that_came_while_the_edge_was_away_are_delivered_by_the_session(
    tmp_path: Path, make_client: MakeClient
) -> None:
    with mosquitto(tmp_path / "mosquitto") as broker:
        make_client(broker.port, name="a", filters={"t": 1}).bus.stop()
        make_client(broker.port, name="b").publish(Outgoing("t", b"kept"))
        back = make_client(broker.port, name="a", filters={"t": 1})
        assert back.connected.get(timeout=DEADLINE_S) is True
        assert back.next()[0].payload == b"kept"


@pytest.mark.broker
def test_a_message_under_way_when_the_broker_dies_is_reported_as_failed(
    tmp_path: Path, make_client: MakeClient
) -> None:
    with mosquitto(tmp_path / "mosquitto") as broker:
        client = make_client(broker.port)
        settled = threading.Semaphore(0)
        broker.kill()
        outcomes = []

        def note(outcome: object) -> None:
            outcomes.append(outcome)
            settled.release()

        taken = 0
        for _ in range(10):
            try:
                client.bus.publish(Outgoing("t", b"x"), on_acknowledged=lambda: note("done"), on_failed=note)
            except BrokerUnreachable:
                continue
            taken += 1
        for _ in range(taken):
            assert settled.acquire(timeout=DEADLINE_S)
        assert all(isinstance(outcome, BrokerUnreachable) for outcome in outcomes)


@pytest.mark.broker
def test_a_wrong_password_is_final_and_the_right_one_is_let_in(
    tmp_path: Path, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_mosquitto()
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "edge", "right"], check=True)
    (tmp_path / "right").write_text("right\n")
    (tmp_path / "wrong").write_text("wrong\n")
    for name in ("right", "wrong"):
        (tmp_path / name).chmod(0o600)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    settings = f"allow_anonymous false\npassword_file {passwords}\n"
    with mosquitto(tmp_path / "mosquitto", settings=settings) as broker:
        login = {"username": "edge", "password_file": "$CREDENTIALS_DIRECTORY/wrong"}
        stranger = make_client(broker.port, wait=False, broker=login)
        error = stranger.refused.get(timeout=DEADLINE_S)
        assert error.exit_status == 78
        assert "not authori" in str(error).lower() or "password" in str(error).lower()
        allowed = {**login, "password_file": "$CREDENTIALS_DIRECTORY/right"}
        assert make_client(broker.port, broker=allowed).bus.connected


@pytest.mark.broker
def test_a_subscription_the_broker_refuses_is_named(tmp_path: Path, make_client: MakeClient) -> None:
    plugin = next(Path("/usr/lib").rglob("mosquitto_dynamic_security.so"), None)
    if plugin is None:
        pytest.skip("mosquitto's dynamic security plugin is not installed")
    rules = tmp_path / "rules.json"
    access = {
        "publishClientSend": True,
        "publishClientReceive": True,
        "subscribe": False,
        "unsubscribe": True,
    }
    rules.write_text(json.dumps({"defaultACLAccess": access}))
    settings = f"allow_anonymous true\nplugin {plugin}\nplugin_opt_config_file {rules}\n"
    with mosquitto(tmp_path / "mosquitto", settings=settings) as broker:
        client = make_client(broker.port, filters={"denied/x": 1})
        assert list(client.bus.refused_filters) == ["denied/x"]


@pytest.mark.broker
def test_a_broker_that_gives_less_than_the_message_needs_is_not_sent_it(
    tmp_path: Path, make_client: MakeClient
) -> None:
    settings = "allow_anonymous true\nmax_packet_size 2000\n"
    with mosquitto(tmp_path / "mosquitto", settings=settings) as broker:
        client = make_client(broker.port)
        failed = threading.Event()
        client.bus.publish(Outgoing("t", b"x" * 3000), on_failed=lambda _: failed.set())
        assert failed.wait(DEADLINE_S)
        client.publish(Outgoing("t", b"x"))
        assert client.disconnected.empty()


def test_a_broker_that_knows_only_3_1_1_is_spoken_to_in_it(make_client: MakeClient) -> None:
    with embedded() as broker:
        client = make_client(broker.port_v4, filters={"t": 1})
        client.publish(Outgoing("t", b"old", correlation=b"c"))
        message, _ = client.next()
        assert (message.payload, message.correlation) == (b"old", b"")


@pytest.mark.broker
def test_a_broker_that_has_spoken_mqtt_5_is_not_taken_for_an_older_one_when_it_closes_without_a_word(
    tmp_path: Path, make_client: MakeClient
) -> None:
    with mosquitto(tmp_path / "mosquitto") as broker:
        proxy = Proxy(broker.port)
        try:
            listener = make_client(proxy.port, name="a", filters={"t": 1})
            proxy.slams = 1
            listener.bus.reconnect()
            for _ in range(2):
                assert listener.connected.get(timeout=DEADLINE_S) is not None
            assert listener.bus.wait_subscribed(DEADLINE_S)
            make_client(broker.port, name="b").publish(Outgoing("t", b"x", correlation=b"c"))
            assert listener.next()[0].correlation == b"c"
            listener.bus.stop()
        finally:
            proxy.close()


def test_plain_tcp_beyond_this_machine_needs_to_be_allowed() -> None:
    broker = BrokerConfig(host="192.0.2.1")
    with pytest.raises(ConfigurationError, match=r"broker\.tls") as caught:
        MqttBus(broker, client_id="a", listeners=Listeners(lambda *_: None))
    assert caught.value.field == "broker.plaintext"
    MqttBus(
        broker.model_copy(update={"plaintext": True}), client_id="a", listeners=Listeners(lambda *_: None)
    )


def test_a_missing_password_file_is_a_configuration_error(tmp_path: Path) -> None:
    broker = BrokerConfig(username="u", password_file=str(tmp_path / "none"))
    with pytest.raises(ConfigurationError, match="password_file"):
        MqttBus(broker, client_id="a", listeners=Listeners(lambda *_: None))
