from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from edge_node.config.load import load_node
from edge_node.config.loaded import Configuration
from edge_node.config.models import RuntimeConfig
from edge_node.config.scenario_check import load_scenarios
from edge_node.rehearsal import Props
from edge_node.rehearsal.trial import Finding, Trial, Trials, summary
from tests.rehearsal.stage import Quiet

if TYPE_CHECKING:
    from pathlib import Path

FAN: dict[str, Any] = {
    "edge_node": 1,
    "name": "fans",
    "ask": True,
    "listen": [{"topic": "house/{fan}/state", "fields": {"rpm": "rpm", "air_c": "air.temp"}}],
    "stale": "30s",
    "triggers": {
        "hot": {
            "when": "air_c > 30",
            "do": {"set_fan": {"fan": "{fan}", "rpm_wanted": 900}},
            "say": "{fan} is at {air_c} degrees.",
        },
        "quiet": {"absent": "20s"},
    },
    "commands": {
        "set_fan": {
            "description": "Change the speed of a fan.",
            "examples": ["set {fan} to {rpm_wanted}"],
            "args": {"fan": {"device": True}, "rpm_wanted": {"type": "integer", "minimum": 0}},
            "publish": {
                "topic": "house/{fan}/set",
                "payload": {"to": {"rpm": "{rpm_wanted}"}},
                "idempotent": True,
            },
            "require": ["rpm_wanted < 1000"],
            "expect": {"field": "rpm", "equals": "rpm_wanted", "within": "3s"},
        }
    },
}
HOT = [{"report": {"fan-1": {"air_c": 31}}}]
SET = {"command": "set_fan", "with": {"fan": "fan-1", "rpm_wanted": 900}}


def perform(
    folder: Path, scenario: dict[str, Any], *, node: dict[str, Any] | None = None, **top: Any
) -> Trial:
    (folder / "node.yaml").write_text(yaml.safe_dump(node or FAN), encoding="utf-8")
    body = {"edge_node": 1, "scenarios": {"it": scenario}, **top}
    (folder / "scenarios.yaml").write_text(yaml.safe_dump(body), encoding="utf-8")
    loaded = load_node(folder)
    scenarios = load_scenarios(loaded)
    assert scenarios is not None
    configuration = Configuration(RuntimeConfig(edge_node=1, edge="stage"), (loaded,), folder)
    props = Props(configuration, progress=Quiet())
    try:
        return next(Trials(configuration, node=loaded, scenarios=scenarios, props=props).run())
    finally:
        props.close()


@pytest.mark.parametrize(
    "then",
    [
        [SET],
        [SET | {"topic": "house/fan-1/set", "payload": {"to": {"rpm": 900.0}}}],
        [SET | {"state": "acknowledged"}, SET],
        [{"event": "hot", "device": "fan-1", "says": "31   DEGREES"}, {"command": "set_fan"}],
        [{"message": "house/+/set", "payload": {"to": {"rpm": 900}}}, SET],
        [SET | {"before": "1s"}],
    ],
)
def test_what_came_as_expected_passes(then: list[Any], tmp_path: Path) -> None:
    assert perform(tmp_path, {"when": HOT, "then": then}).differences == ()


@pytest.mark.parametrize(
    "then",
    [
        [],
        "nothing",
        [{"event": "hot"}],
        [{"command": "set_fan", "with": {"rpm_wanted": 901}}],
        [SET, SET],
        [SET | {"state": "verified"}, SET],
        [SET | {"topic": "house/fan-2/set"}],
        [SET | {"payload": {"to": {"rpm": 900, "way": "up"}}}],
        [SET | {"payload": {"to": {"rpm": True}}}],
        [SET | {"after": "1s"}],
        [{"denied": "set_fan"}],
        [SET, {"event": "hot", "device": "fan-2"}],
        [SET, {"event": "hot", "says": "cold"}],
        [SET, {"event": "quiet"}],
        [SET, {"refused": "payload_invalid"}],
        [SET, {"reply": ""}],
        [SET, {"declines": True}],
        [SET, {"answer": "fan"}],
        [SET, {"message": "house/fan-1/other"}],
    ],
)
def test_what_came_otherwise_fails(then: Any, tmp_path: Path) -> None:
    trial = perform(tmp_path, {"when": HOT, "then": then})
    assert trial.finding is Finding.FAILED
    assert trial.differences


def test_nothing_is_what_an_uneventful_scenario_leads_to(tmp_path: Path) -> None:
    assert perform(tmp_path, {"given": {"fan-1": {"air_c": 20}}, "then": "nothing"}).differences == ()


def test_what_comes_of_the_given_state_is_not_looked_at(tmp_path: Path) -> None:
    assert perform(tmp_path, {"given": {"fan-1": {"air_c": 40}}, "then": "nothing"}).differences == ()


def test_a_scenarios_own_values_count_over_those_of_all(tmp_path: Path) -> None:
    scenario = {
        "given": {"fan-1": {"rpm": 1}},
        "when": [{"ask": "set fan-1 to 500"}, {"report": {"fan-1": {"rpm": 500}}}],
        "then": [{"command": "set_fan"}, {"command": "set_fan", "state": "verified"}],
    }
    assert perform(tmp_path, scenario, given={"fan-1": {"rpm": 0, "air_c": 20}}).differences == ()


def test_a_denial_shows_what_every_rule_said(tmp_path: Path) -> None:
    scenario = {
        "given": {"fan-1": {"rpm": 1}},
        "when": [{"ask": "set fan-1 to 5000"}],
        "then": [{"command": "set_fan"}],
    }
    trial = perform(tmp_path, scenario)
    shown = "\n".join(trial.differences[0].came)
    assert "denied set_fan(fan=fan-1, rpm_wanted=5000) by require[0]" in shown
    assert "passed device: fan-1 online" in shown
    assert trial.differences[0].expected == "command set_fan()"


def test_a_denial_is_expected_by_its_rule(tmp_path: Path) -> None:
    scenario = {"given": {"fan-1": {"rpm": 1}}, "when": [{"ask": "set fan-1 to 5000"}]}
    good = scenario | {"then": [{"denied": "set_fan", "by": "require[0]", "says": "rpm_wanted < 1000"}]}
    assert perform(tmp_path, good).differences == ()
    assert perform(tmp_path, scenario | {"then": [{"denied": "set_fan", "by": "device"}]}).differences


def test_who_expects_a_command_to_wait_does_not_expect_it_to_leave(tmp_path: Path) -> None:
    waits = {"command": "slow", "state": "awaiting_approval"}
    steps = [{"report": {"fan-1": {"rpm": 9}}}, {"ask": "slow fan-1 down"}]
    node = json.loads(json.dumps(FAN))
    node["commands"]["slow"] = {
        "description": "Slow a fan down.",
        "examples": ["slow {fan} down"],
        "args": {"fan": {"device": True}},
        "publish": {"topic": "house/{fan}/slow", "payload": "slow"},
        "approve": "always",
    }
    operators = {"approve": ["anna"]}
    alone = {"when": steps, "then": [waits]}
    approved = {"when": [*steps, {"approve": "slow", "user": "anna"}], "then": [waits]}
    assert perform(tmp_path, alone, node=node, operators=operators).differences == ()
    (left,) = perform(tmp_path, approved, node=node, operators=operators).differences
    assert left.expected == "no other command to a device"


def test_steps_come_at_their_time_and_as_often_as_they_say(tmp_path: Path) -> None:
    scenario = {
        "when": [
            {"report": {"fan-1": {"air_c": 20}}, "times": 5, "every": "10s"},
            {"at": "1m", "report": {"fan-1": {"air_c": 40}}},
        ],
        "then": [{"event": "hot", "after": "59.9s", "before": "60.1s"}, SET],
    }
    assert perform(tmp_path, scenario).differences == ()


def test_silence_is_noticed_while_time_passes(tmp_path: Path) -> None:
    scenario = {
        "given": {"fan-1": {"air_c": 20}},
        "when": [{"wait": "25s"}],
        "then": [{"event": "quiet", "after": "19s", "before": "21s"}],
    }
    assert perform(tmp_path, scenario).differences == ()


def test_a_scenario_that_needs_a_missing_model_is_skipped_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_NODE_HOME", str(tmp_path / "none"))
    trial = perform(tmp_path, {"when": [{"ask": "why is it so warm?"}], "then": [{"declines": True}]})
    assert trial.finding is Finding.SKIPPED
    assert "model pull" in trial.reason


def test_a_trial_can_be_told_to_other_programs(tmp_path: Path) -> None:
    told = summary(perform(tmp_path, {"when": HOT, "then": "nothing"}))
    assert told["name"] == "it"
    assert told["finding"] == "failed"
    assert told["differences"][0]["expected"] == "nothing"
