from __future__ import annotations

import json
import re
import uuid
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_node.announcing import Announcing, cite, is_final
from edge_node.errors import Busy, PayloadInvalid
from edge_node.messages import (
    AnswerDraft,
    Command,
    CommandDraft,
    CommandState,
    Decision,
    Expectation,
    Message,
    NothingDraft,
    Operated,
    Origin,
    Outcome,
    Outgoing,
    Quotation,
    Request,
    RequestKind,
    RuleResult,
    Verdict,
)
from edge_node.topics import EdgeTopics

TOPICS = EdgeTopics("hall-3")
ANNOUNCING = Announcing(TOPICS, clock=lambda: 1_750_000_000.25)
ASK = Request(
    "r-1", RequestKind.ASK, "m-1", 1.0, text="…", user="ada", reply_to=TOPICS.reply("ada"), correlation="c-1"
)
ALARM = Request(
    "r-2",
    RequestKind.ALARM,
    "m-2",
    1.0,
    node="pump-guard",
    text="pump-2 is hot",
    trigger="overheating",
    device="pump-2",
)
DRAFT = CommandDraft("pump-guard", "set_speed", {"pump": "pump-2", "percent": 40}, Origin.TEMPLATE)
COMMAND = Command(
    id="cmd-1",
    node="pump-guard",
    name="set_speed",
    device="pump-2",
    arguments=DRAFT.arguments,
    state=CommandState.SENT,
    created_at=1000.0,
    expires_at=1030.0,
    idempotent=True,
    topic="plant/pump-2/set",
    payload=b'{"speed":40}',
    expectation=Expectation("speed", 40, 5.0),
    reply_to=ASK.reply_to,
    correlation=ASK.correlation,
)
ALLOWED = Verdict(Outcome.ALLOWED, (RuleResult("approve", passed=True, reason="no approval needed"),))
FINAL = {
    CommandState.PROPOSED: False,
    CommandState.DENIED: True,
    CommandState.AWAITING_APPROVAL: False,
    CommandState.SENT: False,
    CommandState.ACKNOWLEDGED: False,
    CommandState.VERIFIED: True,
    CommandState.UNVERIFIED: True,
    CommandState.EXPIRED: True,
    CommandState.CANCELLED: True,
    CommandState.UNKNOWN: True,
}


def body(outgoing: Outgoing) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(outgoing.payload)
    return content


def reply_to(decision: Decision) -> dict[str, Any]:
    """Return the envelope that the asker gets."""
    (reply,) = [told for told in ANNOUNCING.outgoing([decision], []) if told.topic == TOPICS.reply("ada")]
    return body(reply)


def test_an_envelope_has_these_keys_in_this_order() -> None:
    told = ANNOUNCING.envelope("t", "answer", {"text": "ü"}, corr="c-1", retain=True)

    assert list(body(told)) == ["v", "id", "ts", "src", "corr", "type", "data"]
    assert {**body(told), "id": ""} == {
        "v": 1,
        "id": "",
        "ts": "2025-06-15T15:06:40.250Z",
        "src": "hall-3",
        "corr": "c-1",
        "type": "answer",
        "data": {"text": "ü"},
    }
    assert (told.topic, told.retain, told.qos, told.content_type) == ("t", True, 1, "application/json")
    assert "ü".encode() in told.payload


@given(st.floats(min_value=0, max_value=4e9))
def test_the_time_is_utc_with_milliseconds_and_z(now: float) -> None:
    stamp = body(Announcing(TOPICS, clock=lambda: now).envelope("t", "answer", {}))["ts"]

    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", stamp)


def test_each_envelope_has_its_own_uuid_of_version_7_and_later_ones_sort_behind() -> None:
    identifiers = [body(ANNOUNCING.envelope("t", "answer", {}))["id"] for _ in range(50)]

    assert {uuid.UUID(identifier).version for identifier in identifiers} == {7}
    assert identifiers == sorted(set(identifiers))


@given(st.binary(max_size=64))
def test_a_correlation_comes_back_byte_for_byte(correlation: bytes) -> None:
    request = replace(ASK, correlation=correlation.decode("utf-8", "surrogateescape"))

    (reply,) = ANNOUNCING.outgoing([Decision(request, AnswerDraft("pump-guard"))], [])

    assert reply.correlation == correlation
    shown = body(reply)["corr"]
    assert shown.isprintable()
    assert correlation in {shown.encode(), bytes.fromhex(shown) if shown.encode() != correlation else b""}


def test_an_answer_tells_each_quotation_with_its_place() -> None:
    lines = Quotation("Grease it every 500 hours.", "manual/pump.md", 12, 14)
    line = replace(lines, text="Use lithium grease.", first_line=20, last_line=20)
    page = replace(lines, text="See below.", file="manual/plan.pdf", page=7)

    told = reply_to(Decision(ASK, AnswerDraft("pump-guard", (lines, line, page))))

    assert [cite(quotation) for quotation in (lines, line, page)] == [
        "manual/pump.md:12-14",
        "manual/pump.md:20",
        "manual/plan.pdf, page 7",
    ]
    assert (told["type"], told["data"]["found"], told["data"]["final"]) == ("answer", True, True)
    assert told["data"]["text"].splitlines()[0] == "“Grease it every 500 hours.” (manual/pump.md:12-14)"
    assert told["data"]["quotations"][2] == {
        "text": "See below.",
        "cite": "manual/plan.pdf, page 7",
        "file": "manual/plan.pdf",
        "first_line": 12,
        "last_line": 14,
        "page": 7,
    }
    assert (told["data"]["decision"], told["data"]["node"]) == ("r-1", "pump-guard")


def test_an_answer_without_quotations_says_that_the_manuals_do_not_tell() -> None:
    data = reply_to(Decision(ASK, AnswerDraft("pump-guard")))["data"]

    assert (data["found"], data["text"], data["final"]) == (False, "That is not in the manuals.", True)


def test_nothing_is_told_with_its_reason_and_code() -> None:
    told = reply_to(Decision(ASK, NothingDraft("pump-guard", "which pump?", code="ask_back")))

    assert told["type"] == "nothing"
    assert (told["data"]["text"], told["data"]["code"], told["data"]["final"]) == (
        "which pump?",
        "ask_back",
        True,
    )


def test_a_device_hears_its_command_before_anybody_reads_of_it() -> None:
    device, reply, life = ANNOUNCING.outgoing([Decision(ASK, DRAFT, ALLOWED, COMMAND)], [])

    assert (life.topic, device.topic, reply.topic) == (TOPICS.command("cmd-1"), COMMAND.topic, ASK.reply_to)
    assert (device.payload, device.expiry_s, device.command_id) == (COMMAND.payload, 30, "cmd-1")
    assert (life.command_id, reply.command_id) == ("", "")
    data = body(reply)["data"]
    assert data["text"] == "set_speed(pump = pump-2, percent = 40) sent"
    assert (data["origin"], data["rule"], data["final"]) == ("template", "approve", False)


@pytest.mark.parametrize("state", [CommandState.DENIED, CommandState.AWAITING_APPROVAL])
def test_a_command_that_is_not_sent_reaches_no_device(state: CommandState) -> None:
    command = replace(COMMAND, state=state, detail="too fast")

    told = ANNOUNCING.outgoing([Decision(ASK, DRAFT, ALLOWED, command)], [])

    assert [each.topic for each in told] == [TOPICS.reply("ada"), TOPICS.command("cmd-1")]
    assert body(told[0])["data"]["reason"] == "too fast"


@pytest.mark.parametrize("state", CommandState)
def test_each_state_says_whether_more_will_follow(state: CommandState) -> None:
    command = replace(COMMAND, state=state)

    life, reply = ANNOUNCING.outgoing((), [command])

    assert (life.topic, reply.topic, reply.correlation) == (TOPICS.command("cmd-1"), ASK.reply_to, b"c-1")
    for told in (life, reply):
        assert (body(told)["data"]["state"], body(told)["data"]["final"]) == (state.value, FINAL[state])


@pytest.mark.parametrize("state", [state for state in CommandState if state is not CommandState.VERIFIED])
def test_no_text_calls_a_command_done_that_its_device_has_not_shown(state: CommandState) -> None:
    command = replace(COMMAND, state=state)
    for one in (command, replace(command, expectation=None)):
        told = [
            *ANNOUNCING.life(one),
            *ANNOUNCING.response(Operated("approve", "ada", "c", "approved", (one,))),
        ]
        decision = Decision(ASK, DRAFT, ALLOWED, one)
        told += ANNOUNCING.outgoing([decision], [one])
        texts = [json.loads(each.payload)["data"]["text"] for each in told if each.topic != one.topic]
        assert texts
        assert not [
            text
            for text in texts
            if re.search(r"verified|done|carried out|complete", text.replace("unverified", ""))
        ]


def test_a_command_that_nothing_can_show_ends_at_the_broker() -> None:
    acknowledged = replace(COMMAND, state=CommandState.ACKNOWLEDGED)

    assert not is_final(acknowledged)
    assert is_final(replace(acknowledged, expectation=None))


def test_a_command_that_nobody_ordered_is_told_on_its_own_topic_only() -> None:
    (life,) = ANNOUNCING.outgoing((), [replace(COMMAND, reply_to="")])

    assert life.topic == TOPICS.command("cmd-1")


def test_what_moved_is_told_before_what_was_decided() -> None:
    moved = replace(COMMAND, id="cmd-0", state=CommandState.VERIFIED, reply_to="")

    told = ANNOUNCING.outgoing([Decision(ASK, AnswerDraft("pump-guard"))], [moved])

    assert [each.topic for each in told] == [TOPICS.command("cmd-0"), TOPICS.reply("ada")]


@pytest.mark.parametrize(
    "draft", [AnswerDraft("pump-guard"), NothingDraft("pump-guard", "no command fits"), DRAFT]
)
def test_an_alarm_becomes_an_event_of_its_trigger_and_no_reply(draft: Any) -> None:
    command = replace(COMMAND, reply_to="", correlation="") if draft is DRAFT else None

    told = ANNOUNCING.outgoing([Decision(ALARM, draft, command=command)], [])

    (event,) = [each for each in told if each.topic == "edge/v1/hall-3/event/overheating"]
    assert not any("/reply/" in each.topic for each in told)
    data = body(event)["data"]
    assert (body(event)["type"], data["trigger"], data["device"]) == ("event", "overheating", "pump-2")
    assert (data["alarm"], data["decision"]) == ("pump-2 is hot", "r-2")


def test_a_refused_reading_goes_to_dead_under_its_code_only() -> None:
    error = PayloadInvalid(expected="JSON", came="nothing")

    (letter,) = ANNOUNCING.refusal(Message("m", "plant/pump-2/telemetry", b"", 1.0), error)

    assert letter.topic == "edge/v1/hall-3/dead/payload_invalid"
    assert body(letter)["type"] == "error"
    assert body(letter)["data"] == {
        "topic": "plant/pump-2/telemetry",
        "error": error.as_dict(),
        "text": str(error),
        "final": True,
    }


@pytest.mark.parametrize("correlation", [b"", b"c-1", b"\xff\x00"])
def test_a_refused_question_is_also_answered_with_its_correlation(correlation: bytes) -> None:
    message = Message("m", TOPICS.ask("ada"), b"?", 1.0, correlation=correlation)

    letter, reply = ANNOUNCING.refusal(message, Busy(waiting=4))

    assert (letter.topic, reply.topic) == (TOPICS.dead("busy"), TOPICS.reply("ada"))
    assert reply.correlation == correlation
    assert body(reply)["data"]["error"]["retryable"] is True
    assert body(reply)["data"]["final"] is True


@pytest.mark.parametrize(
    ("payload", "shown"),
    [
        (b'{"text": 7, "correlation": "c-9"}', "c-9"),
        (b'{"text": 7, "correlation": 9}', ""),
        (b'{"correlation": "c-9"', ""),
        (b"plain text", ""),
    ],
)
def test_a_caller_without_properties_is_answered_with_the_correlation_of_the_json(
    payload: bytes, shown: str
) -> None:
    message = Message("m", TOPICS.ask("ada"), payload, 1.0)

    _, reply = ANNOUNCING.refusal(message, Busy(waiting=4))

    assert body(reply)["corr"] == shown


def test_a_refusal_goes_to_the_response_topic_where_that_is_the_callers_own() -> None:
    message = Message("m", TOPICS.ask("ada"), b"?", 1.0)
    own, foreign = TOPICS.reply("ada") + "/desk", TOPICS.reply("bob")

    for wanted, expected in ((own, own), (foreign, TOPICS.reply("ada")), ("", TOPICS.reply("ada"))):
        _, reply = ANNOUNCING.refusal(replace(message, response_topic=wanted), Busy(waiting=4))
        assert reply.topic == expected


@pytest.mark.parametrize(
    "draft",
    [AnswerDraft("pump-guard", ()), NothingDraft("pump-guard", "none fits"), DRAFT],
    ids=lambda each: type(each).__name__,
)
def test_a_reply_says_what_the_model_did_not_see(draft: Any) -> None:
    command = COMMAND if isinstance(draft, CommandDraft) else None
    whole = reply_to(Decision(ASK, draft, command=command))

    cut = reply_to(Decision(ASK, draft, command=command, model={"left_out": {"devices": 18, "examples": 2}}))

    assert "left_out" not in whole["data"]
    assert cut["data"]["left_out"] == {"devices": 18, "examples": 2}
    assert cut["data"]["text"] == (
        f"{whole['data']['text']} (The model was not shown: 18 devices, 2 examples.)"
    )
