"""The agv node against a vehicle that speaks VDA 5050: what it gets is what the standard asks for."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from edge_node.config.load import load_node
from edge_node.messages import Command, CommandState, Decision, Outgoing
from tests.nodes.vda5050 import INSTANT_ACTIONS, ORDER, PUBLISHED, order_faults
from tests.rehearsal.stage import NODES, rehearsing

if TYPE_CHECKING:
    from edge_node.rehearsal import Rehearsal

TOPIC = "uagv/v2/acme/agv-7"
DRIVES_S = 6.0


@dataclass
class Vehicle:
    """A vehicle that checks what it gets, carries it out, and reports its state."""

    rehearsal: Rehearsal
    at: str = "goods_in"
    goal: str = ""
    order: str = ""
    paused: bool = False
    charging: bool = False
    got: list[dict[str, Any]] = field(default_factory=list)
    actions: list[dict[str, Any]] = field(default_factory=list)
    _heard: int = 0
    _reports: int = 0

    def announce(self) -> None:
        body = self._header() | {"connectionState": "ONLINE"}
        Draft202012Validator(PUBLISHED["connection"]).validate(body)
        self.rehearsal.feed(f"{TOPIC}/connection", json.dumps(body).encode(), retained=True)

    def report(self) -> None:
        body = self._header() | {
            "orderId": self.order,
            "orderUpdateId": 0,
            "lastNodeId": self.at,
            "lastNodeSequenceId": 0,
            "nodeStates": [{"nodeId": self.goal, "sequenceId": 2, "released": True}] if self.goal else [],
            "edgeStates": [],
            "driving": bool(self.goal) and not self.paused,
            "paused": self.paused,
            "actionStates": self.actions,
            "batteryState": {"batteryCharge": 74.5, "charging": self.charging},
            "operatingMode": "AUTOMATIC",
            "errors": [],
            "safetyState": {"eStop": "NONE", "fieldViolation": False},
        }
        Draft202012Validator(PUBLISHED["state"]).validate(body)
        self.rehearsal.feed(f"{TOPIC}/state", json.dumps(body).encode())

    def listen(self) -> None:
        """Take up everything that has left for this vehicle since the last time."""
        left = [each.what for each in self.rehearsal.happenings if isinstance(each.what, Outgoing)]
        for outgoing in left[self._heard :]:
            if outgoing.topic == f"{TOPIC}/order":
                self._take_order(json.loads(outgoing.payload))
            elif outgoing.topic == f"{TOPIC}/instantActions":
                self._take_actions(json.loads(outgoing.payload))
        self._heard = len(left)

    def arrive(self) -> None:
        self.rehearsal.pass_time(DRIVES_S)
        self.at, self.goal = self.goal, ""
        self.report()

    def _take_order(self, body: dict[str, Any]) -> None:
        Draft202012Validator(PUBLISHED["order"]).validate(body)
        Draft202012Validator(ORDER).validate(body)
        assert order_faults(body) == []
        assert body["nodes"][0]["nodeId"] == self.at
        assert body["serialNumber"] == "agv-7"
        self.got.append(body)
        self.order, self.goal = body["orderId"], body["nodes"][-1]["nodeId"]

    def _take_actions(self, body: dict[str, Any]) -> None:
        Draft202012Validator(PUBLISHED["instantActions"]).validate(body)
        Draft202012Validator(INSTANT_ACTIONS).validate(body)
        self.got.append(body)
        for action in body["actions"]:
            match action["actionType"]:
                case "startPause":
                    self.paused = True
                case "stopPause":
                    self.paused = False
                case "startCharging":
                    self.charging = True
                case "cancelOrder":
                    self.goal = ""
            self.actions = [
                {
                    "actionId": action["actionId"],
                    "actionType": action["actionType"],
                    "actionStatus": "FINISHED",
                }
            ]

    def _header(self) -> dict[str, Any]:
        self._reports += 1
        return {
            "headerId": self._reports,
            "timestamp": "2026-01-01T10:00:00.000Z",
            "version": "2.1.0",
            "manufacturer": "acme",
            "serialNumber": "agv-7",
        }


def lives(rehearsal: Rehearsal, name: str) -> list[CommandState]:
    moved = (each.what for each in rehearsal.happenings if isinstance(each.what, Command))
    return [command.state for command in moved if command.name == name]


def say(rehearsal: Rehearsal, vehicle: Vehicle, words: str) -> None:
    rehearsal.pass_time(1)
    vehicle.report()
    rehearsal.ask("anna", words)
    vehicle.listen()
    rehearsal.pass_time(1)
    vehicle.report()


def test_a_vehicle_that_obeys_verifies_everything_it_gets() -> None:
    with rehearsing("agv", operators={"approve": ["anna"]}) as rehearsal:
        vehicle = Vehicle(rehearsal)
        vehicle.announce()
        say(rehearsal, vehicle, "send agv-7 to packing")
        say(rehearsal, vehicle, "pause agv-7")
        say(rehearsal, vehicle, "resume agv-7")
        waiting = next(
            each.what.id
            for each in rehearsal.happenings
            if isinstance(each.what, Command) and each.what.state is CommandState.AWAITING_APPROVAL
        )
        approval = json.dumps({"command_id": waiting}).encode()
        rehearsal.feed(rehearsal.topics.operation("anna", "approve"), approval)
        vehicle.listen()
        rehearsal.pass_time(1)
        vehicle.report()
        vehicle.arrive()
        say(rehearsal, vehicle, "agv-7 to charger 1")
        vehicle.arrive()
        say(rehearsal, vehicle, "start charging agv-7")
        for name in ("send_to", "pause", "resume", "charge"):
            assert lives(rehearsal, name)[-1] is CommandState.VERIFIED, name
        assert (vehicle.at, vehicle.charging) == ("charger_1", True)
        assert [body["headerId"] for body in vehicle.got if "nodes" in body] == [0, 1]
        assert [body["headerId"] for body in vehicle.got if "actions" in body] == [0, 1, 2]
        assert len({body["orderId"] for body in vehicle.got if "nodes" in body}) == 2


def test_an_order_that_is_cancelled_ends_where_the_vehicle_stands() -> None:
    with rehearsing("agv") as rehearsal:
        vehicle = Vehicle(rehearsal)
        vehicle.announce()
        say(rehearsal, vehicle, "send agv-7 to press 1")
        say(rehearsal, vehicle, "cancel the order of agv-7")
        assert lives(rehearsal, "cancel_order")[-1] is CommandState.VERIFIED
        assert vehicle.at == "goods_in"


@pytest.mark.parametrize("command", sorted(load_node(NODES / "agv").spec.commands))
def test_every_payload_template_has_the_shape_of_the_standard(command: str) -> None:
    spec = load_node(NODES / "agv").spec.commands[command].publish
    shape = ORDER if spec.topic.endswith("/order") else INSTANT_ACTIONS
    assert set(spec.payload) == set(shape["required"])


def test_a_vehicle_that_reports_nonsense_gets_nothing() -> None:
    with rehearsing("agv") as rehearsal:
        for body in ({"driving": "no"}, {"batteryState": []}, {"errors": {"0": "FATAL"}}, {"lastNodeId": 7}):
            rehearsal.feed(f"{TOPIC}/state", json.dumps(body).encode())
        rehearsal.ask("anna", "send agv-7 to packing")
        decided = [each.what for each in rehearsal.happenings if isinstance(each.what, Decision)]
        assert [each.command.state for each in decided if each.command] == [CommandState.DENIED]
