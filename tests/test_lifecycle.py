from __future__ import annotations

import itertools
import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_node.config.loaded import Node
from edge_node.config.models import NodeConfig
from edge_node.errors import TopicInvalid, TransitionInvalid
from edge_node.lifecycle import CommandLifecycle
from edge_node.lifecycle.life import TRANSITIONS, moved
from edge_node.messages import (
    Command,
    CommandDraft,
    CommandState,
    Observation,
    Origin,
    Outcome,
    Request,
    RequestKind,
    RuleResult,
    Verdict,
)

if TYPE_CHECKING:
    from collections.abc import Callable

PUBLISH = {"topic": "plant/{pump}/set", "payload": {"speed": "{percent}", "id": "{command_id}"}}
EXPECT = {"field": "speed", "equals": "percent", "within": "5s"}
REQUEST = Request("r", RequestKind.ASK, "m", 0.0, user="anna", reply_to="reply/anna", correlation="c-1")


def verdict(outcome: Outcome) -> Verdict:
    return Verdict(outcome, (RuleResult("approve", passed=outcome is Outcome.ALLOWED, reason="because"),))


class Hall:
    """A lifecycle on a clock that the test turns."""

    def __init__(self, **changes: Any) -> None:
        self.now = 1000.0
        command = {
            "description": "Change the speed of a pump.",
            "args": {"pump": {"device": True}, "percent": {"type": "integer"}},
            "publish": PUBLISH,
            "expect": EXPECT,
            **changes,
        }
        spec = {"edge_node": 1, "name": "pump-guard", "commands": {"set_speed": command}}
        self._nodes = [Node(NodeConfig.model_validate(spec), Path())]
        self.life = self.restarted()

    def restarted(self) -> CommandLifecycle:
        names = (f"cmd-{number}" for number in itertools.count(1))
        return CommandLifecycle(self._nodes, clock=lambda: self.now, new_id=lambda: next(names))

    def issue(self, outcome: Outcome = Outcome.ALLOWED, **changes: Any) -> Command:
        arguments = {"pump": "pump-1", "percent": 40} | changes
        draft = CommandDraft("pump-guard", "set_speed", arguments, Origin.TEMPLATE)
        return self.life.issue(draft, verdict(outcome), REQUEST)

    def report(
        self, *, device: str = "pump-1", node: str = "pump-guard", **fields: Any
    ) -> tuple[Command, ...]:
        return self.life.observe([Observation(node, device, fields, self.now)])

    def wait(self, seconds: float) -> tuple[Command, ...]:
        self.now += seconds
        return self.life.due(self.now)


def test_an_allowed_command_is_sent_with_topic_and_payload_filled_in() -> None:
    command = Hall(publish={**PUBLISH, "idempotent": True}, expires="20s").issue()

    assert (command.id, command.state, command.device) == ("cmd-1", CommandState.SENT, "pump-1")
    assert (command.topic, json.loads(command.payload)) == ("plant/pump-1/set", {"speed": 40, "id": "cmd-1"})
    assert (command.created_at, command.expires_at, command.idempotent) == (1000.0, 1020.0, True)
    assert (command.reply_to, command.correlation) == ("reply/anna", "c-1")
    assert command.expectation is not None
    assert (command.expectation.value, command.expectation.within_s) == (40, 5.0)


@pytest.mark.parametrize("name", ["set_speed", "explode"])
def test_a_denied_command_goes_nowhere_and_says_why(name: str) -> None:
    hall = Hall()
    draft = CommandDraft("pump-guard", name, {"pump": "a/+/#", "percent": [1]}, Origin.MODEL)

    command = hall.life.issue(draft, verdict(Outcome.DENIED), REQUEST)

    assert (command.state, command.topic, command.payload) == (CommandState.DENIED, "", b"")
    assert command.detail == "because"
    assert hall.wait(1000) == ()
    assert hall.life.last_issued("pump-guard", "set_speed", "pump-1") is None


@pytest.mark.parametrize(
    ("payload", "value", "sent"),
    [
        ({"v": "{x}"}, 21.5, b'{"v":21.5}'),
        ({"v": "{x}"}, True, b'{"v":true}'),
        ({"v": "to {x}!"}, 21.5, b'{"v":"to 21.5!"}'),
        ({"v": ["{x}", {"w": "{x}"}], "n": None}, "ü", '{"v":["ü",{"w":"ü"}],"n":null}'.encode()),
        ("{x}", "ON", b"ON"),
        ("{x}", False, b"false"),
        ("speed={x} {other}", 40, b"speed=40 {other}"),
        (["{x}"], '", "admin": "', b'["\\", \\"admin\\": \\""]'),
        ({"v": "{x}"}, "{command_id}", b'{"v":"{command_id}"}'),
        (7, "unused", b"7"),
    ],
)
def test_a_payload_keeps_types_and_never_looks_into_values(payload: Any, value: Any, sent: bytes) -> None:
    hall = Hall(args={"x": {"type": "string"}}, publish={"topic": "t", "payload": payload}, expect=None)

    assert hall.issue(x=value).payload == sent


@pytest.mark.parametrize("pump", ["a/b", "+", "#", ""])
def test_a_value_that_would_change_the_topic_is_an_error(pump: str) -> None:
    with pytest.raises(TopicInvalid):
        Hall().issue(pump=pump)


def test_a_command_is_verified_by_its_devices_own_report() -> None:
    hall = Hall()
    hall.issue()
    hall.now += 1
    acknowledged = hall.life.acknowledged("cmd-1")
    assert acknowledged is not None
    assert acknowledged.state is CommandState.ACKNOWLEDGED

    assert hall.report(speed=60) == ()
    assert hall.report(temperature=40) == ()
    assert hall.report(device="pump-2", speed=40) == ()
    assert hall.report(node="rover", speed=40) == ()
    (command,) = hall.report(speed=40)

    assert (command.state, command.detail) == (CommandState.VERIFIED, "speed = 40")
    assert hall.report(speed=40) == ()
    assert hall.wait(1000) == ()


def test_a_report_from_before_the_command_proves_nothing() -> None:
    hall = Hall()
    hall.issue()

    assert hall.life.observe([Observation("pump-guard", "pump-1", {"speed": 40}, hall.now)]) == ()
    assert hall.life.observe([Observation("pump-guard", "pump-1", {"speed": 40}, hall.now - 5)]) == ()


def test_a_device_may_report_sooner_than_the_broker_acknowledges() -> None:
    hall = Hall()
    hall.issue()
    hall.now += 1

    assert [command.state for command in hall.report(speed=40)] == [CommandState.VERIFIED]
    assert hall.life.acknowledged("cmd-1") is None


@pytest.mark.parametrize(
    ("expected", "came", "same"),
    [
        (21.3, 21.299999237060547, True),
        (40, 40.0, True),
        (1500, 1501, False),
        (1, True, False),
        (True, 1, False),
        (True, True, True),
        ("open", "open", True),
        ("open", "Open", False),
        (40, "40", False),
    ],
)
def test_only_rounding_is_forgiven_when_a_report_is_compared(expected: Any, came: Any, *, same: bool) -> None:
    hall = Hall(expect={"field": "speed", "equals": expected})
    hall.issue()
    hall.now += 1

    assert bool(hall.report(speed=came)) is same


def test_a_command_that_is_not_shown_in_time_is_unverified_and_says_what_came() -> None:
    hall = Hall()
    hall.issue()
    hall.now += 10
    hall.life.acknowledged("cmd-1")
    hall.now += 1
    hall.report(speed=75)

    assert hall.wait(3.9) == ()
    (command,) = hall.wait(0.1)
    assert (command.state, command.detail) == (
        CommandState.UNVERIFIED,
        "expected speed = 40 within 5 s, came 75, 4.0 s old by then",
    )
    assert hall.report(speed=40) == ()


def test_silence_after_a_command_is_told_as_nothing() -> None:
    hall = Hall()
    hall.issue()
    hall.life.acknowledged("cmd-1")

    assert [command.detail for command in hall.wait(5)] == ["expected speed = 40 within 5 s, came nothing"]


def test_a_command_without_an_expectation_ends_with_the_broker() -> None:
    hall = Hall(expect=None)
    hall.issue()

    command = hall.life.acknowledged("cmd-1")

    assert command is not None
    assert command.state is CommandState.ACKNOWLEDGED
    assert hall.wait(1000) == ()
    assert hall.life.acknowledged("cmd-1") is None


def test_a_command_the_broker_never_took_expires() -> None:
    hall = Hall()
    hall.issue()

    assert hall.wait(29) == ()
    (command,) = hall.wait(1)
    assert command.state is CommandState.EXPIRED
    assert command.detail == "expected the broker to take it within 30 s, came nothing"
    assert hall.life.acknowledged("cmd-1") is None


def test_a_command_that_names_no_device_is_shown_by_the_nodes_own() -> None:
    hall = Hall(args={"percent": {"type": "integer"}}, publish={"topic": "t", "payload": 1})
    hall.issue()
    hall.now += 1

    assert hall.report(device="pump-1", speed=40) == ()
    assert [command.device for command in hall.report(device="pump-guard", speed=40)] == [""]


def test_an_approved_command_is_sent_once_and_watched_from_then_on() -> None:
    hall = Hall()
    assert hall.issue(Outcome.NEEDS_APPROVAL).state is CommandState.AWAITING_APPROVAL
    hall.now += 10
    assert hall.report(speed=40) == ()

    (command,) = hall.life.approve("cmd-1", user="anna")

    assert (command.state, command.detail) == (CommandState.SENT, "approved by anna")
    assert hall.life.last_issued("pump-guard", "set_speed", "pump-1") == 1010.0
    with pytest.raises(TransitionInvalid, match="expected one that awaits approval, came sent"):
        hall.life.approve("cmd-1", user="ben")
    assert hall.report(speed=40) == ()
    hall.now += 1
    assert [each.state for each in hall.report(speed=40)] == [CommandState.VERIFIED]
    with pytest.raises(TransitionInvalid, match="over, or none of this edge"):
        hall.life.approve("cmd-1", user="ben")


def test_a_cancelled_command_cannot_be_approved() -> None:
    hall = Hall()
    hall.issue(Outcome.NEEDS_APPROVAL)

    (command,) = hall.life.cancel("cmd-1", user="ben")

    assert (command.state, command.detail) == (CommandState.CANCELLED, "cancelled by ben")
    with pytest.raises(TransitionInvalid):
        hall.life.approve("cmd-1", user="anna")


def test_a_command_that_was_sent_cannot_be_cancelled() -> None:
    hall = Hall()
    hall.issue()

    with pytest.raises(TransitionInvalid):
        hall.life.cancel("cmd-1", user="ben")


def test_an_approval_comes_too_late_once_the_command_expired_even_before_anyone_looked() -> None:
    hall = Hall()
    hall.issue(Outcome.NEEDS_APPROVAL)
    hall.now += 30

    with pytest.raises(TransitionInvalid, match="after it expired"):
        hall.life.approve("cmd-1", user="anna")
    assert [command.detail for command in hall.wait(0)] == ["expected an approval within 30 s, came nothing"]


def test_after_a_restart_open_commands_are_watched_again() -> None:
    hall = Hall()
    sent, awaiting = hall.issue(), hall.issue(Outcome.NEEDS_APPROVAL)
    third = hall.issue()
    taken = hall.life.acknowledged(third.id)
    assert taken is not None
    hall.life = hall.restarted()
    hall.now += 20

    hall.life.restore([sent, awaiting, taken])

    assert hall.life.last_issued("pump-guard", "set_speed", "pump-1") == 1000.0
    assert hall.life.approve(awaiting.id, user="anna")[0].state is CommandState.SENT
    assert [command.id for command in hall.wait(4)] == []
    assert [command.id for command in hall.wait(1)] == [taken.id]
    assert {command.id for command in hall.report(speed=40)} == {sent.id, awaiting.id}


def test_a_command_that_may_have_left_before_a_crash_is_reported_unknown() -> None:
    hall = Hall()
    hall.issue()

    command = hall.life.uncertain("cmd-1")

    assert command is not None
    assert command.state is CommandState.UNKNOWN
    assert hall.life.uncertain("cmd-1") is None
    assert hall.wait(1000) == ()


def test_what_has_ended_is_not_watched_after_a_restart_but_counts_for_the_pace() -> None:
    hall = Hall()
    hall.issue()
    (expired,) = hall.wait(30)
    hall.life = hall.restarted()

    hall.life.restore([expired])

    assert hall.wait(1000) == ()
    assert hall.life.last_issued("pump-guard", "set_speed", "pump-1") == 1000.0


def test_what_was_denied_does_not_count_for_the_pace_after_a_restart() -> None:
    hall = Hall()
    denied = hall.issue(Outcome.DENIED)

    hall.life.restore([denied])

    assert hall.life.last_issued("pump-guard", "set_speed", "pump-1") is None


@pytest.mark.parametrize("state", list(CommandState))
@pytest.mark.parametrize("following", list(CommandState))
def test_no_state_follows_another_unless_the_table_says_so(
    state: CommandState, following: CommandState
) -> None:
    command = Command("id", "n", "c", "", {}, state, 0.0, 0.0, idempotent=False, topic="t", payload=b"")

    if following in TRANSITIONS[state]:
        assert moved(command, following, detail="d").state is following
    else:
        with pytest.raises(TransitionInvalid):
            moved(command, following, detail="d")


STEPS: dict[str, Callable[[Hall], Any]] = {
    "acknowledge": lambda hall: hall.life.acknowledged("cmd-1"),
    "right": lambda hall: hall.report(speed=40),
    "wrong": lambda hall: hall.report(speed=75),
    "wait": lambda hall: hall.wait(3),
    "approve": lambda hall: hall.life.approve("cmd-1", user="anna"),
    "cancel": lambda hall: hall.life.cancel("cmd-1", user="ben"),
    "uncertain": lambda hall: hall.life.uncertain("cmd-1"),
}


@given(
    outcome=st.sampled_from(Outcome),
    expects=st.booleans(),
    steps=st.lists(st.sampled_from(sorted(STEPS)), max_size=30),
)
def test_whatever_happens_a_command_walks_the_table_and_says_verified_only_when_shown(
    outcome: Outcome, *, expects: bool, steps: list[str]
) -> None:
    hall = Hall() if expects else Hall(expect=None)
    state = hall.issue(outcome).state
    for step in steps:
        hall.now += 1
        try:
            result = STEPS[step](hall)
        except TransitionInvalid:
            assert state is not CommandState.AWAITING_APPROVAL or hall.now >= 1030
            continue
        for command in result if isinstance(result, tuple) else [result]:
            if command is None:
                continue
            assert command.state in TRANSITIONS[state]
            assert command.state is not CommandState.VERIFIED or (step == "right" and expects)
            state = command.state
    hall.wait(1000)
    hall.wait(1000)
    assert hall.wait(1000) == ()


def test_a_command_can_be_approved_by_only_one_of_many_at_once() -> None:
    hall = Hall()
    hall.issue(Outcome.NEEDS_APPROVAL)
    approved: list[str] = []
    start = threading.Barrier(8)

    def approve(user: str) -> None:
        start.wait(timeout=10)
        try:
            hall.life.approve("cmd-1", user=user)
        except TransitionInvalid:
            return
        approved.append(user)

    threads = [threading.Thread(target=approve, args=(f"user-{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)

    assert len(approved) == 1


def test_what_was_issued_within_the_hour_is_counted_over_a_restart_and_a_reload() -> None:
    hall = Hall()
    first = hall.issue()
    hall.now += 3000.0
    hall.issue(Outcome.NEEDS_APPROVAL)
    hall.issue(Outcome.DENIED)
    assert hall.life.issued("pump-guard", "set_speed", "pump-1") == (1000.0,)
    second = hall.issue()
    assert hall.life.issued("pump-guard", "set_speed", "pump-1") == (1000.0, 4000.0)

    reloaded = hall.life.renewed(hall._nodes)
    assert reloaded.issued("pump-guard", "set_speed", "pump-1") == (1000.0, 4000.0)
    again = hall.restarted()
    again.restore([first, second])
    assert again.issued("pump-guard", "set_speed", "pump-1") == (1000.0, 4000.0)

    hall.now += 1000.0
    hall.issue()
    assert hall.life.issued("pump-guard", "set_speed", "pump-1") == (4000.0, 5000.0)


def test_what_its_node_would_not_give_any_more_is_not_approved() -> None:
    hall = Hall()
    waiting = hall.issue(Outcome.NEEDS_APPROVAL)
    other = Hall(publish={**PUBLISH, "topic": "plant/{pump}/elsewhere"})
    changed = hall.life.renewed(other._nodes)

    with pytest.raises(TransitionInvalid, match="older configuration"):
        changed.approve(waiting.id, user="ada")
    assert hall.life.renewed(hall._nodes).approve(waiting.id, user="ada")[0].state is CommandState.SENT
