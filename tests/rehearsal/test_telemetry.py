from __future__ import annotations

import json
from typing import Any

import pytest

from edge_node.config.loaded import Node
from edge_node.config.models import LimitsConfig, NodeConfig
from edge_node.messages import Message
from edge_node.paths import home
from edge_node.rehearsal.telemetry import telemetry
from edge_node.twin import DeviceTwin

SPEC: dict[str, Any] = {
    "edge_node": 1,
    "name": "cell",
    "listen": [
        {
            "topic": "cell/+/{arm}/state",
            "fields": {"load": "axis.0.load", "heat": "axis.1.heat", "mode": "m", "axes": "axis.#"},
        },
        {"topic": "cell/{arm}/alive", "fields": {"alive": "$"}},
        {"topic": "cell/hall/#", "fields": {"hall_c": "hall.temp"}},
    ],
}
NODE = Node(NodeConfig.model_validate(SPEC), home())


@pytest.mark.parametrize(
    ("device", "fields"),
    [
        ("arm-1", {"load": 3.5}),
        ("arm-1", {"heat": 60, "mode": "run"}),
        ("arm-1", {"load": 1, "heat": 2, "mode": "x", "alive": "yes"}),
        ("arm-1", {"alive": True}),
        ("arm-1", {"axes": 3}),
        ("arm-1", {"axes": 2, "heat": 60}),
        ("arm-1", {"axes": 0}),
        ("cell", {"hall_c": 21}),
    ],
)
def test_the_twin_knows_the_fields_that_were_told(device: str, fields: dict[str, Any]) -> None:
    twin = DeviceTwin([NODE], limits=LimitsConfig(), clock=lambda: 0.0)
    for topic, payload in telemetry(NODE, device, fields):
        twin.observe(Message("m", topic, payload, received_at=0.0))
    state = twin.state("cell", device)
    assert state is not None
    told = {name: value for name, value in state.fields.items() if name != "axes" or name in fields}
    assert told == fields


def test_a_device_without_fields_is_heard_on_its_first_topic() -> None:
    assert list(telemetry(NODE, "arm-1", {})) == [("cell/any/arm-1/state", b"{}")]


def test_fields_of_one_topic_come_in_one_message() -> None:
    ((_, payload),) = telemetry(NODE, "arm-1", {"load": 1, "mode": "run"})
    assert json.loads(payload) == {"axis": [{"load": 1}], "m": "run"}
