from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from edge_node.config.load import load_node
from edge_node.config.loaded import Node
from edge_node.config.models import NodeConfig
from edge_node.errors import ConfigurationInvalid, PayloadInvalid
from edge_node.lifecycle import CommandLifecycle
from edge_node.messages import (
    CommandDraft,
    CommandState,
    Origin,
    Outcome,
    Request,
    RequestKind,
    RuleResult,
    Verdict,
)
from edge_node.paths import home

if TYPE_CHECKING:
    from pathlib import Path

SPEC: dict[str, Any] = {
    "edge_node": 1,
    "name": "fleet",
    "listen": [{"topic": "agv/{agv}/state", "fields": {"last_node": "lastNodeId"}}],
    "commands": {
        "send": {
            "description": "Send it.",
            "args": {"agv": {"device": True}, "station": {"type": "string", "enum": ["a", "b"]}},
            "publish": {
                "topic": "agv/{agv}/order",
                "payload": {
                    "headerId": "{command_count}",
                    "timestamp": "{command_time}",
                    "orderId": "order {command_id}",
                    "nodes": [{"nodeId": "{last_node}"}, {"nodeId": "{station}"}],
                },
            },
            "require": ["last_node != ''"],
        }
    },
}
REQUEST = Request("r", RequestKind.ASK, "m", created_at=0.0)
ALLOWED = Verdict(Outcome.ALLOWED, (RuleResult("approve", passed=True),))
DENIED = Verdict(Outcome.DENIED, (RuleResult("arguments", passed=False),))


def lifecycle(**fields: Any) -> CommandLifecycle:
    node = Node(NodeConfig.model_validate(SPEC), home())
    return CommandLifecycle(
        [node], clock=lambda: 1_767_261_600.5, new_id=lambda: "c-1", fields=lambda _node, _device: fields
    )


def draft(agv: str = "agv-1") -> CommandDraft:
    return CommandDraft("fleet", "send", {"agv": agv, "station": "a"}, Origin.TEMPLATE)


def body(life: CommandLifecycle, agv: str = "agv-1", verdict: Verdict = ALLOWED) -> Any:
    command = life.issue(draft(agv), verdict, REQUEST)
    return json.loads(command.payload) if command.state is not CommandState.DENIED else None


def test_a_payload_takes_up_fields_of_its_device_and_facts_of_its_command() -> None:
    assert body(lifecycle(last_node="dock")) == {
        "headerId": 0,
        "timestamp": "2026-01-01T10:00:00.500Z",
        "orderId": "order c-1",
        "nodes": [{"nodeId": "dock"}, {"nodeId": "a"}],
    }


def test_commands_are_counted_for_each_topic_and_denied_ones_are_not() -> None:
    life = lifecycle(last_node="dock")
    body(life, verdict=DENIED)
    assert [body(life, agv)["headerId"] for agv in ("agv-1", "agv-1", "agv-2", "agv-1")] == [0, 1, 0, 2]


def test_a_field_that_is_not_known_lets_no_command_out() -> None:
    life = lifecycle()
    with pytest.raises(PayloadInvalid, match="last_node"):
        life.issue(draft(), ALLOWED, REQUEST)
    assert life.open_ids() == ()


def test_what_a_field_says_is_never_taken_for_a_name() -> None:
    nodes = body(lifecycle(last_node="{station}"))["nodes"]
    assert nodes == [{"nodeId": "{station}"}, {"nodeId": "a"}]


def test_a_field_in_a_payload_must_be_required(tmp_path: Path) -> None:
    spec = json.loads(json.dumps(SPEC))
    del spec["commands"]["send"]["require"]
    (tmp_path / "node.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    with pytest.raises(ConfigurationInvalid) as caught:
        load_node(tmp_path)
    (problem,) = caught.value.problems
    assert problem.key == "commands.send.publish.payload"
    assert problem.expected == "a condition in 'require' over the field 'last_node'"
