"""Several commands that come of one sentence: judged, approved and told as one thing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from edge_node.announcing import Announcing
from edge_node.errors import Denied, InputError, NotPermitted, TransitionInvalid
from edge_node.messages import CommandState, NothingDraft
from edge_node.observe.explanation import explained
from tests.runtime.hall import SPEC, TOPICS, Hall

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_node.messages import Command
    from edge_node.pipeline import Result

VALVE: dict[str, Any] = {
    "description": "Open the valve of a pump.",
    "examples": ["open [the] valve (of|on) {pump}"],
    "args": {"pump": {"device": True}},
    "publish": {"topic": "plant/{pump}/set", "payload": {"valve": "open"}},
    "require": ["bearing_c < 85"],
    "approve": {"when": "always", "by": ["keeper"]},
}


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[Hall]:
    spec = {**SPEC, "commands": {**SPEC["commands"], "open_valve": VALVE}}
    made = Hall(tmp_path, spec=spec, operators={"roles": {"keeper": ["ada", "cem"]}})
    for pump in ("pump-1", "pump-2", "pump-3"):
        made.walk(made.telemetry(pump, rpm=80, c=60, vib=1.0))
    yield made
    made.journal.close()


def ordered(hall: Hall, words: str, *, user: str = "bob") -> tuple[Result, list[Command]]:
    _, result = hall.walk(hall.ask(words, user=user))
    return result, [each.command for each in result.decisions if each.command]


def devices_got(hall: Hall) -> list[str]:
    return [each.topic for each in hall.told() if each.topic.startswith("plant/")]


def calls(commands: list[Command]) -> list[tuple[str, str, CommandState]]:
    return [(each.name, each.device, each.state) for each in commands]


def test_each_order_of_a_sentence_has_its_own_verdict_and_they_leave_in_order(hall: Hall) -> None:
    result, commands = ordered(hall, "set pump one to 30 and jog pump two")

    assert calls(commands) == [
        ("set_speed", "pump-1", CommandState.SENT),
        ("jog", "pump-2", CommandState.SENT),
    ]
    assert all(each.verdict is not None for each in result.decisions)
    assert devices_got(hall) == ["plant/pump-1/set", "plant/pump-2/jog"]
    (reply,) = hall.bodies(TOPICS.reply("bob"))
    assert reply["type"] == "task"
    assert [each["device"] for each in reply["data"]["commands"]] == ["pump-1", "pump-2"]
    found = hall.journal.archive.explain(reply["data"]["task"])
    assert [each["decision"]["command"]["name"] for each in found] == ["set_speed", "jog"]


def test_all_devices_of_a_kind_get_a_command_each(hall: Hall) -> None:
    _, commands = ordered(hall, "set all pumps to 30 percent")

    assert [each.device for each in commands] == ["pump-1", "pump-2", "pump-3"]
    assert {each.state for each in commands} == {CommandState.SENT}


def test_nothing_leaves_if_one_order_is_denied_and_the_reply_says_which_and_why(hall: Hall) -> None:
    result, commands = ordered(hall, "set pump one to 30 and set pump two to 101")

    assert {each.state for each in commands} == {CommandState.DENIED}
    assert [each.verdict and each.verdict.rule for each in result.decisions] == ["task", "arguments"]
    assert devices_got(hall) == []
    (reply,) = hall.bodies(TOPICS.reply("bob"))
    assert reply["data"]["final"] is True
    assert reply["data"]["text"].startswith(
        "nothing was done: set_speed(pump = pump-2, percent = 101) denied"
    )
    assert "so neither was set_speed(pump = pump-1, percent = 30)" in reply["data"]["text"]


def test_what_stands_before_an_approval_leaves_and_what_stands_behind_waits_with_it(hall: Hall) -> None:
    _, commands = ordered(hall, "jog pump one, open the valve of pump two and set pump two to 30")

    assert [each.state for each in commands] == [
        CommandState.SENT,
        CommandState.AWAITING_APPROVAL,
        CommandState.AWAITING_APPROVAL,
    ]
    assert devices_got(hall) == ["plant/pump-1/jog"]
    assert [each.behind for each in commands] == [False, False, True]


def test_one_identifier_approves_all_and_explain_says_who_gave_it(hall: Hall) -> None:
    _, commands = ordered(hall, "open the valve of pump one and open the valve of pump two")
    task = commands[0].task
    (request,) = hall.bodies(TOPICS.operation_response("ada", "approval"))
    assert (request["data"]["command_id"], len(request["data"]["commands"])) == (task, 2)

    _, result = hall.walk(hall.operate("approve", user="ada", command_id=task))

    assert result.operated is not None
    assert [each.state for each in result.operated.commands] == [CommandState.SENT] * 2
    assert devices_got(hall) == ["plant/pump-1/set", "plant/pump-2/set"]
    for document in hall.journal.archive.explain(task):
        lines = "\n".join(explained(document))
        assert "approval    by ada at" in lines
        assert "yes require[0]" in lines.partition("approval    by")[2]


def test_an_approval_judges_each_again_and_lets_none_go_if_one_is_denied(hall: Hall) -> None:
    _, commands = ordered(hall, "open the valve of pump one and open the valve of pump two")
    hall.walk(hall.telemetry("pump-2", rpm=80, c=90))

    with pytest.raises(Denied, match="require"):
        hall.walk(hall.operate("approve", user="ada", command_id=commands[0].task))

    assert "plant/pump-1/set" not in devices_got(hall)
    assert len(hall.lifecycle.awaiting(commands[0].task)) == 2


def test_the_identifier_of_one_command_does_not_approve_the_others(hall: Hall) -> None:
    _, commands = ordered(hall, "open the valve of pump one and open the valve of pump two")

    with pytest.raises(TransitionInvalid, match=commands[0].task):
        hall.walk(hall.operate("approve", user="ada", command_id=commands[1].id))
    with pytest.raises(NotPermitted):
        hall.walk(hall.operate("approve", user="bob", command_id=commands[0].task))


def test_cancelling_one_cancels_the_whole_task_and_the_last_reply_is_final(hall: Hall) -> None:
    _, commands = ordered(hall, "open the valve of pump one and open the valve of pump two")

    _, result = hall.walk(hall.operate("cancel", user="bob", command_id=commands[1].id))

    assert result.operated is not None
    assert [each.state for each in result.operated.commands] == [CommandState.CANCELLED] * 2
    replies = hall.bodies(TOPICS.reply("bob"))
    assert [each["data"]["final"] for each in replies] == [False, False, True]


def test_an_approval_survives_a_restart_as_one(hall: Hall) -> None:
    _, commands = ordered(hall, "open the valve of pump one and open the valve of pump two")
    again = hall.lifecycle.renewed(())
    again._open.clear()
    again.restore(hall.journal.open_commands())

    assert [each.id for each in again.awaiting(commands[0].task)] == [each.id for each in commands]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("set pump one to 30 and dance", "'dance' was not understood"),
        ("if it is hot then jog pump one", "'if it is hot' was not understood"),
        ("jog pump one and tell me why it is hot", "is a question"),
        ("set pump one to 30 and set pump one to 40", "contradict"),
        ("set both pumps to 30", "which do you mean"),
    ],
)
def test_a_sentence_of_which_one_part_is_not_sure_is_asked_back(hall: Hall, words: str, told: str) -> None:
    result, commands = ordered(hall, words)

    assert commands == []
    (decision,) = result.decisions
    assert isinstance(decision.draft, NothingDraft)
    assert decision.draft.code == "ask_back"
    assert told in decision.draft.reason


@pytest.mark.parametrize(
    "words", ['"jog pump one" and "jog pump two"', 'write "jog pump one" and jog pump two']
)
def test_an_order_in_quotation_marks_moves_nothing(hall: Hall, words: str) -> None:
    assert ordered(hall, words)[1] == []


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("set pump one and pump two to 30", ["pump-1", "pump-2"]),
        ("set pump one, pump two and pump three to 30", ["pump-1", "pump-2", "pump-3"]),
        ("set pump one to 30 and pump two to 40", ["pump-1", "pump-2"]),
        ("please set every pump to 30", ["pump-1", "pump-2", "pump-3"]),
        ("set all 3 pumps to 30; jog pump one", ["pump-1", "pump-2", "pump-3", "pump-1"]),
        ("set pump two to 30 and open the valve", ["pump-2", "pump-2"]),
    ],
)
def test_what_is_left_out_is_carried_over(hall: Hall, words: str, meant: list[str]) -> None:
    assert [each.device for each in ordered(hall, words)[1]] == meant


def test_a_budget_counts_what_was_sent(hall: Hall) -> None:
    ordered(hall, "open the valve of pump one")
    assert hall.lifecycle.issued("pump-guard", "open_valve", "pump-1") == ()
    (command,) = hall.lifecycle.awaiting(hall.journal.open_commands()[-1].id)

    hall.now += 5.0
    hall.walk(hall.operate("approve", user="cem", command_id=command.id))

    assert hall.lifecycle.issued("pump-guard", "open_valve", "pump-1") == (hall.now,)


def test_when_one_of_a_task_expires_unapproved_all_of_it_does(hall: Hall) -> None:
    ordered(hall, "open the valve of pump one and set pump two to 30")
    hall.now += 3600.0

    _, result = hall.walk(None)

    assert [each.state for each in result.moved] == [CommandState.EXPIRED] * 2
    assert json.loads(Announcing(TOPICS, clock=hall.clock).life(result.moved[-1])[1].payload)["data"]["final"]


def refused(hall: Hall, command_id: str, *, user: str, by: type[InputError]) -> None:
    message = hall.operate("approve", user=user, command_id=command_id)
    with pytest.raises(by) as problem:
        hall.pipeline.begin(message, now=hall.now)
    hall.pipeline.bury(message, problem.value)


def test_a_refused_approval_is_kept_with_the_command_and_told(hall: Hall) -> None:
    _, (command,) = ordered(hall, "open the valve of pump one")
    refused(hall, command.id, user="eve", by=NotPermitted)
    hall.walk(hall.telemetry("pump-1", rpm=80, c=90))
    refused(hall, command.id, user="ada", by=Denied)
    (document,) = hall.journal.archive.explain(command.id)
    kept = [(each["user"], each["rule"], each["at"]) for each in document["command"]["refusals"]]
    assert kept == [("eve", "operators.approve", hall.now), ("ada", "require[0]", hall.now)]
    hall.walk(hall.telemetry("pump-1", rpm=80, c=60))

    hall.walk(hall.operate("approve", user="ada", command_id=command.id))

    (document,) = hall.journal.archive.explain(command.id)
    assert [step["state"] for step in document["command"]["life"]] == ["awaiting_approval", "sent"]
    lines = list(explained(document))
    (first,) = [number for number, line in enumerate(lines) if line.startswith("refused ")]
    assert "the approval by eve at" in lines[first]
    assert "the approval by ada at" in lines[first + 1]
    assert "by require[0]: " in lines[first + 1]
    assert lines[first + 2].startswith("approval    by ada")


def test_a_refused_approval_of_a_task_is_kept_with_each_command_and_survives_a_restart(hall: Hall) -> None:
    _, commands = ordered(hall, "open the valve of pump one and open the valve of pump two")
    for _ in range(3):
        refused(hall, commands[0].task, user="bob", by=NotPermitted)
        hall.now += 1

    kept = hall.journal.open_commands()

    assert [len(each.refusals) for each in kept] == [1, 1]
    assert kept[0].refusals[0].at == hall.now - 1
    assert hall.lifecycle.take_refused() == ()


def test_a_refused_approval_of_nothing_leaves_no_trace(hall: Hall) -> None:
    refused(hall, "no-such-command", user="eve", by=NotPermitted)

    assert hall.lifecycle.take_refused() == ()


def test_a_final_reply_does_not_overtake_a_sibling_whose_message_waits_for_the_model(hall: Hall) -> None:
    ordered(hall, "set pump one to 30 and set pump two to 30")
    hall.now += 1
    waiting = hall.pipeline.path(hall.telemetry("pump-1", rpm=30, c=60, vib=8), now=hall.now)
    next(waiting)

    hall.walk(hall.telemetry("pump-2", rpm=30, c=60, vib=1))
    for _ in waiting:
        pass

    told = [each["data"] for each in hall.bodies(TOPICS.reply("bob"))[1:]]
    assert [(each["device"], each["state"], each["final"]) for each in told] == [
        ("pump-1", "verified", False),
        ("pump-2", "verified", True),
    ]
