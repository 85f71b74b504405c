from __future__ import annotations

from pathlib import Path

import pytest

from edge_node.config.load import load_node
from edge_node.config.loaded import Node
from edge_node.config.scenario_check import load_scenarios
from edge_node.errors import ConfigurationInvalid

PUMP_GUARD = load_node(Path(__file__).parents[2] / "nodes" / "pump-guard")
MANUAL_DESK = load_node(Path(__file__).parents[2] / "nodes" / "manual-desk")


def problems(folder: Path, text: str, node: Node = PUMP_GUARD) -> list[str]:
    (folder / "scenarios.yaml").write_text(text, encoding="utf-8")
    try:
        load_scenarios(Node(node.spec, folder))
    except ConfigurationInvalid as error:
        return [str(problem).partition("scenarios.yaml:")[2] for problem in error.problems]
    return []


def scenario(body: str) -> str:
    return f"edge_node: 1\nscenarios:\n  it:\n{body}"


def test_a_node_may_have_no_scenarios(tmp_path: Path) -> None:
    assert load_scenarios(Node(PUMP_GUARD.spec, tmp_path)) is None


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (
            "    given: {pump-1: {sped: 80}}\n    then: nothing\n",
            (
                "4: scenarios.it.given.pump-1.sped: expected a field: bearing_c, note, speed, valve, "
                "vibration, came 'sped' (did you mean 'speed'?)"
            ),
        ),
        (
            "    when:\n      - report: {pump-1: {speed: 80}}\n        ask: stop pump-1\n    then: nothing\n",
            (
                "5: scenarios.it.when[0]: expected exactly one of report, topic, ask, wait, approve, "
                "cancel, stop, restart, came report and ask"
            ),
        ),
        (
            "    when:\n      - wait: 3s\n        user: anna\n    then: nothing\n",
            (
                "6: scenarios.it.when[0].user: expected 'user' beside ask or approve or cancel or "
                "stop only, came it beside wait"
            ),
        ),
        (
            "    when:\n      - topic: plant/pump-1/temetry\n    then: nothing\n",
            (
                "5: scenarios.it.when[0].topic: expected a topic that the node listens to: "
                "plant/{pump}/telemetry, came 'plant/pump-1/temetry'"
            ),
        ),
        (
            "    when:\n      - topic: plant/+/telemetry\n    then: nothing\n",
            (
                "5: scenarios.it.when[0].topic: expected a topic with no wildcard and no control "
                "character, came 'plant/+/telemetry'"
            ),
        ),
        (
            "    when:\n      - approve: open_valv\n    then: nothing\n",
            (
                "5: scenarios.it.when[0].approve: expected a command: close_valve, open_valve, "
                "set_speed, stop_pump, came 'open_valv' (did you mean 'open_valve'?)"
            ),
        ),
        (
            "    when:\n      - wait: 3\n    then: nothing\n",
            (
                "5: scenarios.it.when[0].wait: expected a duration with its unit, such as 500ms, "
                "30s, 2m, 1h or 30d, came 3 (integer)"
            ),
        ),
        (
            "    then:\n      - command: stop_pump\n        sent: true\n",
            (
                "6: scenarios.it.then[0].sent: expected one of after, answer, before, by, code, command, "
                "declines, denied, device, event, from, message, payload, refused, reply, says, state, "
                "topic, with, came the unknown key 'sent' (did you mean 'event'?)"
            ),
        ),
        (
            "    then:\n      - command: set_speed\n        with: {percentage: 3}\n",
            (
                "6: scenarios.it.then[0].with.percentage: expected an argument: percent, pump, came "
                "'percentage' (did you mean 'percent'?)"
            ),
        ),
        (
            "    then:\n      - event: overheat\n",
            (
                "5: scenarios.it.then[0].event: expected a trigger: overheating, shaking, silent, "
                "came 'overheat' (did you mean 'overheating'?)"
            ),
        ),
        (
            "    then:\n      - answer: words\n        by: arguments\n",
            "6: scenarios.it.then[0].by: expected 'by' beside denied only, came it beside answer",
        ),
        (
            "    when: []\n",
            "3: scenarios.it.then: expected nothing or a list, came nothing (the key is missing)",
        ),
    ],
)
def test_a_mistake_is_told_with_its_line_and_what_was_meant(body: str, told: str, tmp_path: Path) -> None:
    assert problems(tmp_path, scenario(body)) == [told]


def test_a_node_that_may_not_be_asked_is_not_asked(tmp_path: Path) -> None:
    node = Node(PUMP_GUARD.spec.model_copy(update={"ask": False}), tmp_path)
    text = scenario("    when:\n      - ask: stop pump-1\n    then: nothing\n")
    assert "expected a node with `ask: true`" in problems(tmp_path, text, node)[0]


def test_every_mistake_is_told_in_the_order_of_the_file(tmp_path: Path) -> None:
    body = "    when:\n      - approve: nothing_such\n    then:\n      - event: nothing_such\n"
    lines = [each.split(":")[0] for each in problems(tmp_path, scenario(body))]
    assert lines == ["5", "7"]


def test_a_file_without_scenarios_is_a_mistake(tmp_path: Path) -> None:
    assert problems(tmp_path, "edge_node: 1\nscenarios: {}\n")


def test_the_edges_own_topics_may_be_used_by_name(tmp_path: Path) -> None:
    body = "    when:\n      - topic: edge/v1/{edge}/ask/ben\n        payload: hello\n    then: nothing\n"
    assert problems(tmp_path, scenario(body), MANUAL_DESK) == []
