from __future__ import annotations

import threading
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from edge_node.errors import ContextExceeded, EnvelopeInvalid, JournalError, PayloadInvalid
from edge_node.messages import AnswerDraft, CommandDraft, CommandState, Message, NothingDraft, Origin, Wanted
from edge_node.path import trace as tracing
from edge_node.path.trace import Trace
from tests.runtime.hall import PASSAGE, TOPICS, Hall

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from edge_node.messages import Draft, Open, Outgoing, Passage, Request
    from edge_node.pipeline import Result


SLOWER = CommandDraft("pump-guard", "set_speed", {"pump": "pump-1", "percent": 20}, Origin.MODEL)


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[Hall]:
    made = Hall(tmp_path)
    made.walk(made.telemetry(rpm=80, c=60, vib=1.0))
    yield made
    made.journal.close()


def topics(told: list[Outgoing]) -> list[str]:
    return [outgoing.topic for outgoing in told]


def test_a_reading_that_alarms_no_one_only_ends(hall: Hall) -> None:
    hops, result = hall.walk(hall.telemetry(rpm=75, c=61))

    assert (hops, result.decisions, result.moved) == (0, (), ())
    assert hall.journal.unfinished() == ()
    assert hall.told() == []


def test_what_leads_to_nothing_has_its_end_as_soon_as_it_has_begun(hall: Hall) -> None:
    assert hall.pipeline.begin(hall.telemetry(rpm=75, c=61), now=hall.now) is None
    assert hall.journal.unfinished() == ()
    assert hall.told() == []


def test_what_leads_to_something_goes_on_from_where_it_has_begun(hall: Hall) -> None:
    message = hall.telemetry(c=90)

    path = hall.pipeline.begin(message, now=hall.now)

    assert [open_still.id for open_still in hall.journal.unfinished()] == [message.id]
    assert path is not None
    (result,) = path
    assert [decision.request.trigger for decision in result.decisions] == ["overheating"]
    assert hall.journal.unfinished() == ()


def test_what_cannot_be_read_is_refused_as_it_begins(hall: Hall) -> None:
    message = Message("odd", "plant/pump-1/telemetry", b"{", hall.now)

    with pytest.raises(PayloadInvalid):
        hall.pipeline.begin(message, now=hall.now)


def test_an_alarm_leaves_decision_command_and_outbox_and_ends_its_message(hall: Hall) -> None:
    hops, result = hall.walk(hall.telemetry(c=90))

    assert hops == 0
    (decision,) = result.decisions
    command = decision.command
    assert command is not None
    assert (command.state, command.device) == (CommandState.SENT, "pump-1")
    assert hall.journal.unfinished() == ()
    assert hall.journal.archive.record(decision.request.id) is not None
    assert hall.journal.command(command.id) == command
    assert topics(hall.told()) == [
        "plant/pump-1/set",
        TOPICS.event("overheating"),
        TOPICS.command(command.id),
    ]
    to_device = hall.told()[0]
    assert (to_device.payload, to_device.command_id, to_device.expiry_s) == (b'{"speed":30}', command.id, 30)


def test_what_cannot_be_written_whole_is_not_written_at_all(hall: Hall) -> None:
    unknown = Message("never-received", "plant/pump-1/telemetry", b'{"c": 90}', hall.now, 1, durable=True)

    with pytest.raises(JournalError, match="expected it to be open"):
        hall.walk(unknown)

    assert hall.told() == []
    assert hall.journal.archive.records() == ()
    assert hall.journal.open_commands() == ()


def test_a_question_hops_once_and_ends_with_an_answer_to_the_asker(hall: Hall) -> None:
    message = hall.ask("how often is the bearing greased?", correlation=b"c-1")

    hops, result = hall.walk(message)

    assert hops == 1
    (decision,) = result.decisions
    assert isinstance(decision.draft, AnswerDraft)
    assert decision.passages == (PASSAGE,)
    assert hall.manuals.looked_for == [("how often is the bearing greased?", "", 3)]
    (answer,) = hall.told()
    assert (answer.topic, answer.correlation) == (TOPICS.reply("ada"), b"c-1")
    assert hall.journal.unfinished() == ()


def test_nothing_is_retrieved_and_nothing_ends_before_the_hop(hall: Hall) -> None:
    message = hall.ask("how often is the bearing greased?")

    path = hall.pipeline.path(message, now=hall.now)

    assert isinstance(next(path), Wanted)
    assert hall.manuals.looked_for == []
    assert hall.drafting.asked == []
    assert hall.journal.unfinished() == (message,)


def test_the_rest_of_a_path_may_run_on_another_thread(hall: Hall) -> None:
    path = hall.pipeline.path(hall.ask("how often is the bearing greased?"), now=hall.now)
    next(path)
    rest: list[Result | None] = []

    thread = threading.Thread(target=lambda: rest.extend(path))
    thread.start()
    thread.join()

    assert len(rest) == 1
    assert topics(hall.told()) == [TOPICS.reply("ada")]


def test_a_plain_order_needs_neither_manuals_nor_model(hall: Hall) -> None:
    hops, result = hall.walk(hall.ask("set pump-1 to 40 percent"))

    assert (hops, hall.manuals.looked_for, hall.drafting.asked) == (0, [], [])
    (decision,) = result.decisions
    assert isinstance(decision.draft, CommandDraft)
    assert decision.draft.origin is Origin.TEMPLATE


def test_a_command_of_the_model_passes_the_gate_like_any_other(hall: Hall) -> None:
    hall.drafting.say = lambda *_: replace(SLOWER, arguments={"pump": "pump-1", "percent": 900})
    hops, result = hall.walk(hall.telemetry(vib=8.0))

    assert hops == 1
    (decision,) = result.decisions
    assert decision.verdict is not None
    assert decision.verdict.rule == "arguments"
    assert decision.command is not None
    assert decision.command.state is CommandState.DENIED
    assert topics(hall.told()) == [TOPICS.event("shaking"), TOPICS.command(decision.command.id)]


def test_an_error_in_one_request_leaves_the_others_of_the_message_alone(hall: Hall) -> None:
    def too_long(request: Request, matter: Open, passages: Sequence[Passage]) -> Draft:
        del request, matter, passages
        raise ContextExceeded(tokens=3000, limit=2048)

    hall.drafting.say = too_long
    hops, result = hall.walk(hall.telemetry(vib=8.0, c=90))

    assert hops == 1
    failed, handled = result.decisions
    assert (failed.request.trigger, handled.request.trigger) == ("shaking", "overheating")
    assert failed.draft == NothingDraft(
        "pump-guard", "prompt: expected at most 2048 tokens, came 3000", code="context_exceeded"
    )
    assert handled.command is not None
    assert handled.command.state is CommandState.SENT
    (event,) = hall.bodies(TOPICS.event("shaking"))
    assert (event["data"]["code"], event["data"]["final"]) == ("context_exceeded", True)
    assert "plant/pump-1/set" in topics(hall.told())
    assert hall.journal.unfinished() == ()


def test_what_one_verdict_allowed_counts_for_the_next_of_the_same_message(hall: Hall) -> None:
    hall.drafting.say = lambda *_: SLOWER
    hops, result = hall.walk(hall.telemetry(vib=9.0))

    assert hops == 2
    first, second = result.decisions
    assert first.verdict is not None
    assert second.verdict is not None
    assert (first.verdict.outcome.value, second.verdict.outcome.value) == ("allowed", "denied")
    assert second.verdict.rule == "limit.every"
    assert topics(hall.told()).count("plant/pump-1/set") == 1


def test_a_reading_that_cannot_be_read_raises_and_stays_open(hall: Hall) -> None:
    message = hall.received(Message("m", "plant/pump-1/telemetry", b"{", hall.now, qos=1, durable=True))

    with pytest.raises(PayloadInvalid):
        hall.walk(message)

    assert hall.journal.unfinished() == (message,)
    assert hall.told() == []


def test_a_buried_question_leaves_a_dead_letter_and_tells_who_asked(hall: Hall) -> None:
    message = hall.ask('{"text": "hi", "colour": "red"}', correlation=b"c-7")

    with pytest.raises(EnvelopeInvalid) as caught:
        hall.walk(message)
    hall.pipeline.bury(message, caught.value)

    assert hall.journal.unfinished() == ()
    letter, reply = hall.told()
    assert (letter.topic, reply.topic) == (TOPICS.dead("envelope_invalid"), TOPICS.reply("ada"))
    assert reply.correlation == b"c-7"
    (body,) = hall.bodies(reply.topic)
    assert body["data"]["error"] == caught.value.as_dict()


def test_a_tick_reports_a_command_that_its_device_never_showed(hall: Hall) -> None:
    _, ordered = hall.walk(hall.ask("set pump-1 to 40 percent", correlation=b"c-2"))
    command = ordered.decisions[0].command
    assert command is not None
    hall.lifecycle.acknowledged(command.id)
    hall.now += 4.9
    assert hall.walk(None)[1].moved == ()

    hall.now += 0.2
    hops, result = hall.walk(None)

    assert (hops, result.decisions) == (0, ())
    assert [moved.state for moved in result.moved] == [CommandState.UNVERIFIED]
    kept = hall.journal.command(command.id)
    assert kept is not None
    assert (kept.state, kept.detail) == (
        CommandState.UNVERIFIED,
        "expected speed = 40 within 5 s, came nothing",
    )
    assert topics(hall.told())[-2:] == [TOPICS.command(command.id), TOPICS.reply("ada")]
    assert hall.told()[-1].correlation == b"c-2"
    assert hall.bodies(TOPICS.reply("ada"))[-1]["data"]["final"] is True


def test_a_tick_at_which_nothing_falls_due_writes_nothing(hall: Hall) -> None:
    hops, result = hall.walk(None)

    assert (hops, result.decisions, result.moved, hall.told()) == (0, (), (), [])


def test_the_devices_own_report_verifies_a_command(hall: Hall) -> None:
    _, ordered = hall.walk(hall.ask("set pump-1 to 40 percent"))
    command = ordered.decisions[0].command
    assert command is not None
    hall.now += 1.0

    _, result = hall.walk(hall.telemetry(rpm=40))

    assert [moved.state for moved in result.moved] == [CommandState.VERIFIED]
    kept = hall.journal.command(command.id)
    assert kept is not None
    assert kept.state is CommandState.VERIFIED
    assert hall.bodies(TOPICS.reply("ada"))[-1]["data"]["text"].endswith("verified: speed = 40")


def test_each_stage_that_ran_has_its_time_in_order(hall: Hall) -> None:
    _, order = hall.walk(hall.ask("set pump-1 to 40 percent"))
    _, question = hall.walk(hall.ask("how often is the bearing greased?"))

    assert list(order.stages_ms) == ["twin", "trigger", "understand", "gate", "journal"]
    assert list(question.stages_ms) == ["twin", "trigger", "understand", "retrieve", "generate", "journal"]
    assert all(spent_ms >= 0 for spent_ms in (*order.stages_ms.values(), *question.stages_ms.values()))
    assert "journal" not in question.decisions[0].stages_ms


def test_a_stage_that_ran_twice_has_the_sum_and_waiting_is_nobodys(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([1.0, 4.0, 104.0, 105.0])
    monkeypatch.setattr(tracing, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    trace = Trace(_last_s=0.0)

    trace.lap("gate")
    trace.lap("understand")
    trace.skip()
    trace.lap("gate")

    assert trace.stages_ms == {"gate": 2000.0, "understand": 3000.0}


def test_the_time_a_question_waited_for_the_model_belongs_to_no_stage(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = [1e9]
    monkeypatch.setattr(tracing, "time", SimpleNamespace(perf_counter=lambda: now_s[0]))
    path = hall.pipeline.path(hall.ask("how often is the bearing greased?"), now=hall.now)
    next(path)

    now_s[0] += 60.0
    (result,) = path

    assert result is not None
    waited = [result.stages_ms[stage] for stage in ("understand", "retrieve", "generate", "journal")]
    assert waited == [0.0, 0.0, 0.0, 0.0]


def test_the_record_of_an_order_tells_who_what_why_and_how_it_stood(hall: Hall) -> None:
    message = hall.ask("set pump-1 to 40 percent", correlation=b"c-3")
    _, result = hall.walk(message)

    record = hall.journal.archive.record(result.decisions[0].request.id)

    assert record is not None
    request, draft = record["request"], record["draft"]
    assert (request["message_id"], request["user"], request["text"], request["correlation"]) == (
        message.id,
        "ada",
        "set pump-1 to 40 percent",
        "c-3",
    )
    assert (draft["type"], draft["name"], draft["origin"]) == ("CommandDraft", "set_speed", "template")
    assert draft["arguments"] == {"pump": "pump-1", "percent": 40}
    assert record["verdict"]["outcome"] == "allowed"
    assert [rule["rule"] for rule in record["verdict"]["rules"]][:3] == ["command", "arguments", "device"]
    assert record["command"]["state"] == "sent"
    assert record["states"] == {"pump-1": {"speed": 80, "bearing_c": 60, "vib": 1.0}}
    assert set(record["stages_ms"]) == {"twin", "trigger", "understand", "gate"}
    assert (record["passages"], record["model"]) == ([], {})


def test_the_record_of_an_answer_holds_what_was_found_and_what_the_model_wrote(hall: Hall) -> None:
    _, result = hall.walk(hall.ask("how often is the bearing greased?"))

    record = hall.journal.archive.record(result.decisions[0].request.id)

    assert record is not None
    assert [passage["file"] for passage in record["passages"]] == ["manual/pump.md"]
    assert record["model"] == {"text": "what the model wrote"}
    assert (record["verdict"], record["command"], record["states"]) == (None, None, {})


def test_a_correlation_that_is_no_text_reaches_the_journal_and_goes_back_as_it_came(hall: Hall) -> None:
    hall.walk(hall.ask("set pump-1 to 40", correlation=b"\xff\xfe"))
    replies = [told for told in hall.told() if told.topic == TOPICS.reply("ada")]
    assert [told.correlation for told in replies] == [b"\xff\xfe"]
    assert len(hall.journal.archive.explain("fffe")) == 1


def test_what_a_draft_holds_that_no_json_and_no_disk_takes_is_denied_and_told(hall: Hall) -> None:
    for odd in ("\ud800", float("nan"), float("-inf")):
        arguments = {"pump": odd, "percent": odd}
        hall.drafting.say = lambda *_, held=arguments: CommandDraft(
            "pump-guard", "set_speed", held, Origin.MODEL
        )
        _, result = hall.walk(hall.ask("please make pump-1 run a bit slower somehow"))
        assert [decision.verdict and decision.verdict.rule for decision in result.decisions] == ["arguments"]
    bodies = hall.bodies(TOPICS.reply("ada"))
    assert [body["data"]["arguments"]["percent"] for body in bodies] == ["?", "NaN", "-Infinity"]
