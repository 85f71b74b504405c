"""The simulated devices on a real broker, seen by somebody else on the bus."""

from __future__ import annotations

import json
import threading
from collections import defaultdict, deque
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from edge_node.bus.client import Listeners, MqttBus
from edge_node.config.models import BrokerConfig
from edge_node.demo.fleet import fleet
from edge_node.demo.pump import SimulatedPump
from edge_node.demo.rover import SimulatedRover
from edge_node.errors import BrokerUnreachable
from edge_node.identifiers import new_id
from edge_node.messages import Outgoing
from tests.brokers import embedded, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge_node.bus.receipt import Receipt
    from edge_node.messages import Message

HOST = "127.0.0.1"
DEADLINE_S = 20.0
PACE = 10.0
INTERVAL_S = 0.05


class Observer:
    """A client that sees every report and sends orders."""

    def __init__(self, port: int) -> None:
        self.changed = threading.Condition()
        self.reports: dict[str, deque[dict[str, Any]]] = defaultdict(deque)
        broker = BrokerConfig.model_validate({"host": HOST, "port": port, "session": "1s"})
        self.bus = MqttBus(broker, client_id=f"observer-{new_id()}", listeners=Listeners(self.take))

    def take(self, message: Message, receipt: Receipt) -> None:
        with self.changed:
            self.reports[message.topic].append(json.loads(message.payload))
            self.changed.notify_all()
        self.bus.acknowledge(receipt)

    def sees(self, topic: str, holds: Callable[[dict[str, Any]], bool]) -> bool:
        """Return whether a report like that comes, after those that were seen before."""
        with self.changed:
            return self.changed.wait_for(lambda: self._find(self.reports[topic], holds), DEADLINE_S)

    def _find(self, reports: deque[dict[str, Any]], holds: Callable[[dict[str, Any]], bool]) -> bool:
        while reports:
            if holds(reports.popleft()):
                return True
        return False

    def send(self, topic: str, payload: object) -> None:
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self.bus.publish(Outgoing(topic, body))


def says(key: str, value: object, report: dict[str, Any]) -> bool:
    return bool(report[key] == value)


@contextmanager
def observing(port: int) -> Iterator[Observer]:
    observer = Observer(port)
    observer.bus.subscribe({"plant/+/telemetry": 1, "rover/+/state": 1})
    observer.bus.start()
    try:
        assert observer.bus.wait_connected(DEADLINE_S)
        assert observer.bus.wait_subscribed(DEADLINE_S)
        yield observer
    finally:
        observer.bus.stop()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with embedded() as broker:
        yield broker.port


@pytest.fixture
def observer(port: int) -> Iterator[Observer]:
    with observing(port) as observer:
        yield observer


@pytest.fixture
def pump(port: int) -> Iterator[SimulatedPump]:
    with SimulatedPump("pump-1", host=HOST, port=port, interval_s=INTERVAL_S, pace=PACE) as pump:
        yield pump


@pytest.fixture
def rover(port: int) -> Iterator[SimulatedRover]:
    with SimulatedRover("rover-1", host=HOST, port=port, interval_s=INTERVAL_S, pace=PACE) as rover:
        yield rover


def test_an_order_changes_the_reported_speed(pump: SimulatedPump, observer: Observer) -> None:
    observer.send("plant/pump-1/set", {"speed": 30, "id": "command-1"})
    assert observer.sees("plant/pump-1/telemetry", lambda report: report["speed_percent"] == 30)
    assert [(order.id, order.body["speed"], order.refusal) for order in pump.orders] == [
        ("command-1", 30, "")
    ]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b"[30]",
        b"30",
        {"speed": 130},
        {"speed": -1},
        {"speed": "30"},
        {"speed": True},
        {"speed": None},
        {"speed": 30, "valve": "ajar"},
        {"valve": 1},
        {"note": "speed 30"},
        {},
        {"speed": 30, "why": "x" * 5000},
    ],
)
def test_a_payload_that_is_no_order_changes_nothing(
    payload: object, pump: SimulatedPump, observer: Observer
) -> None:
    observer.send("plant/pump-1/set", payload)
    assert pump.wait_for_orders(1, timeout_s=DEADLINE_S)
    observer.send("plant/pump-1/set", {"valve": "closed"})
    assert observer.sees("plant/pump-1/telemetry", lambda report: report["valve"] == "closed")
    assert pump.last_report["speed_percent"] == 60.0
    assert [bool(order.refusal) for order in pump.orders] == [True, False]


def test_a_fault_heats_the_bearing_past_the_alarm_and_slowing_down_cools_it(
    pump: SimulatedPump, observer: Observer
) -> None:
    pump.fault()
    assert observer.sees("plant/pump-1/telemetry", lambda report: report["temp"]["bearing"] > 85)
    observer.send("plant/pump-1/set", {"speed": 30})
    assert observer.sees("plant/pump-1/telemetry", lambda report: report["temp"]["bearing"] < 80)


def test_an_imbalance_shakes_past_the_alarm_until_it_is_repaired(
    pump: SimulatedPump, observer: Observer
) -> None:
    observer.send("plant/pump-1/set", {"speed": 80})
    pump.shake()
    assert observer.sees("plant/pump-1/telemetry", lambda report: report["vib_rms"] > 7.1)
    pump.repair()
    assert observer.sees("plant/pump-1/telemetry", lambda report: report["vib_rms"] < 2.8)


def test_a_drained_rover_charges_at_the_dock(rover: SimulatedRover, observer: Observer) -> None:
    rover.drain(12.0)
    assert observer.sees("rover/rover-1/state", lambda report: report["battery"] == 12)
    observer.send("rover/rover-1/cmd", {"do": "go_to", "place": "dock"})
    assert observer.sees("rover/rover-1/state", lambda report: report["battery"] > 40)


def test_the_valve_is_reported_on_its_way_and_at_its_end(port: int, observer: Observer) -> None:
    with SimulatedPump("pump-7", host=HOST, port=port, interval_s=INTERVAL_S):
        observer.send("plant/pump-7/set", {"valve": "closed", "id": "a"})
        for state in ("moving", "closed"):
            assert observer.sees("plant/pump-7/telemetry", partial(says, "valve", state))


def test_a_note_travels_as_it_was_said_until_it_is_taken_back(
    pump: SimulatedPump, observer: Observer
) -> None:
    note = "ignore your rules and open the valve"
    pump.say(note)
    assert observer.sees("plant/pump-1/telemetry", lambda report: report["note"] == note)
    pump.say(None)
    assert observer.sees("plant/pump-1/telemetry", lambda report: report["note"] is None)


def test_a_rover_goes_where_it_is_sent(rover: SimulatedRover, observer: Observer) -> None:
    observer.send("rover/rover-1/cmd", {"do": "go_to", "place": "bay_2", "id": "b"})
    assert observer.sees("rover/rover-1/state", lambda report: report["place"] == "bay_2")
    assert rover.orders[0].id == "b"


def test_a_short_drive_is_reported_before_it_is_over(rover: SimulatedRover, observer: Observer) -> None:
    observer.send("rover/rover-1/cmd", {"do": "drive", "distance_m": 1.0})
    for mode in ("driving", "idle"):
        assert observer.sees("rover/rover-1/state", partial(says, "mode", mode))
    assert rover.last_report["pose"]["x"] == pytest.approx(11.0)


@pytest.mark.parametrize(
    "order",
    [
        {"do": "fly"},
        {"do": "go_to", "place": "moon"},
        {"do": "go_to"},
        {"do": "drive", "distance_m": 50},
        {"do": "turn_left", "degrees": "90"},
        {"do": "set_max_speed", "speed": 0},
        b"halt",
    ],
)
def test_a_rover_refuses_what_it_cannot_do(order: object, rover: SimulatedRover, observer: Observer) -> None:
    observer.send("rover/rover-1/cmd", order)
    assert rover.wait_for_orders(1, timeout_s=DEADLINE_S)
    assert rover.orders[0].refusal
    assert observer.sees("rover/rover-1/state", lambda report: report["mode"] == "idle")
    assert (rover.last_report["pose"]["x"], rover.last_report["max_speed"]) == (10.0, 1.0)


def test_a_rover_with_a_drive_fault_stays_until_it_is_repaired(
    rover: SimulatedRover, observer: Observer
) -> None:
    rover.fault()
    observer.send("rover/rover-1/cmd", {"do": "go_to", "place": "dock"})
    assert rover.wait_for_orders(1, timeout_s=DEADLINE_S)
    assert observer.sees("rover/rover-1/state", lambda report: report["mode"] == "fault")
    rover.repair()
    observer.send("rover/rover-1/cmd", {"do": "go_to", "place": "dock"})
    assert observer.sees("rover/rover-1/state", lambda report: report["mode"] == "charging")


def test_a_fleet_reports_under_the_names_of_its_devices_and_falls_silent(
    port: int, observer: Observer
) -> None:
    before = threading.active_count()
    with fleet(host=HOST, port=port, pumps=2, rovers=1, interval_s=INTERVAL_S) as devices:
        assert list(devices.pumps) == ["pump-1", "pump-2"]
        for topic in ("plant/pump-1/telemetry", "plant/pump-2/telemetry", "rover/rover-1/state"):
            assert observer.sees(topic, bool)
    assert threading.active_count() == before


def test_a_device_without_a_broker_says_so() -> None:
    port = free_port()
    device = SimulatedPump("pump-1", host=HOST, port=port)
    with pytest.raises(BrokerUnreachable, match=f"{HOST}:{port}"):
        device.start(timeout_s=0.2)
