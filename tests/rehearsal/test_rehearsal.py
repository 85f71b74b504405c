from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from edge_node.errors import ModelMissing
from edge_node.messages import Command, CommandState, Decision, NothingDraft, Outgoing, RequestKind
from edge_node.rehearsal import Props, Refusal, Rehearsal
from tests.rehearsal.stage import Quiet, configuration, rehearsing

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

TELEMETRY = {"speed_percent": 80, "temp": {"bearing": 70}, "vib_rms": 2.0, "valve": "open"}


def report(rehearsal: Rehearsal, pump: str = "pump-1", **values: Any) -> None:
    body = {**TELEMETRY, **values}
    rehearsal.feed(f"plant/{pump}/telemetry", json.dumps(body).encode())


def orders(rehearsal: Rehearsal) -> list[tuple[str, Any]]:
    left = [each.what for each in rehearsal.happenings if isinstance(each.what, Outgoing)]
    bodies = [(one.topic, json.loads(one.payload)) for one in left if one.command_id]
    return [(topic, {key: body[key] for key in body if key != "id"}) for topic, body in bodies]


def lives(rehearsal: Rehearsal) -> list[tuple[float, CommandState]]:
    return [
        (round(each.at_s, 3), each.what.state)
        for each in rehearsal.happenings
        if isinstance(each.what, Command)
    ]


def test_what_an_alarm_leads_to_leaves_at_once() -> None:
    with rehearsing("pump-guard") as rehearsal:
        report(rehearsal, temp={"bearing": 90})
        assert orders(rehearsal) == [("plant/pump-1/set", {"speed": 30})]


def test_a_device_that_obeys_verifies_its_command() -> None:
    with rehearsing("pump-guard") as rehearsal:
        report(rehearsal, temp={"bearing": 90})
        rehearsal.pass_time(2)
        report(rehearsal, temp={"bearing": 90}, speed_percent=30)
        assert lives(rehearsal) == [
            (0.0, CommandState.SENT),
            (0.0, CommandState.ACKNOWLEDGED),
            (2.0, CommandState.VERIFIED),
        ]


def test_time_that_passes_brings_what_falls_due() -> None:
    with rehearsing("pump-guard") as rehearsal:
        report(rehearsal)
        rehearsal.pass_time(119)
        assert not rehearsal.happenings
        rehearsal.pass_time(2)
        fired = [each for each in rehearsal.happenings if isinstance(each.what, Decision)]
        told = [(round(each.at_s), each.what.request.kind, each.what.request.trigger) for each in fired]
        assert told == [(120, RequestKind.ALERT, "silent"), (120, RequestKind.ALARM, "silent")]


def test_a_month_passes_in_few_steps() -> None:
    with rehearsing("pump-guard") as rehearsal:
        report(rehearsal)
        rehearsal.pass_time(30 * 86_400)
        assert rehearsal.elapsed_s == 30 * 86_400
        assert any(isinstance(each.what, Decision) for each in rehearsal.happenings)


def test_a_payload_that_cannot_be_read_is_refused_and_buried() -> None:
    with rehearsing("pump-guard") as rehearsal:
        rehearsal.feed("plant/pump-1/telemetry", b"{speed")
        assert isinstance(rehearsal.happenings[0].what, Refusal)
        left = [each.what.topic for each in rehearsal.happenings if isinstance(each.what, Outgoing)]
        assert left == ["edge/v1/stage/dead/payload_invalid"]


def test_a_payload_above_the_limit_is_refused() -> None:
    with rehearsing("pump-guard", limits={"payload": "1KiB"}) as rehearsal:
        report(rehearsal, note="x" * 2000)
        assert isinstance(rehearsal.happenings[0].what, Refusal)


def test_a_topic_that_nobody_listens_to_is_not_heard() -> None:
    with rehearsing("pump-guard") as rehearsal:
        assert not rehearsal.hears("plant/pump-1/weather")
        rehearsal.feed("plant/pump-1/weather", b"{")
        assert not rehearsal.happenings


def test_a_request_that_comes_twice_is_handled_once() -> None:
    with rehearsing("pump-guard") as rehearsal:
        report(rehearsal)
        for _ in range(2):
            rehearsal.feed("edge/v1/stage/ask/anna", b"set pump-1 to 50 percent", correlation=b"one")
        assert orders(rehearsal) == [("plant/pump-1/set", {"speed": 50})]


def test_what_was_open_goes_on_after_a_restart() -> None:
    with rehearsing("pump-guard", operators={"approve": ["anna"]}) as rehearsal:
        report(rehearsal)
        rehearsal.ask("ben", "open the valve of pump-1")
        waiting = rehearsal.happenings[1].what
        assert isinstance(waiting, Command)
        assert waiting.state is CommandState.AWAITING_APPROVAL
        rehearsal.restart()
        report(rehearsal)
        rehearsal.feed(
            rehearsal.topics.operation("anna", "approve"), json.dumps({"command_id": waiting.id}).encode()
        )
        assert orders(rehearsal) == [("plant/pump-1/set", {"valve": "open"})]


def test_a_stop_ends_what_waits_and_holds_over_a_restart() -> None:
    with rehearsing("pump-guard") as rehearsal:
        report(rehearsal)
        rehearsal.ask("ben", "open the valve of pump-1")
        rehearsal.stop(user="anna", reason="smoke")
        assert lives(rehearsal)[-1][1] is CommandState.CANCELLED
        rehearsal.restart()
        report(rehearsal, temp={"bearing": 90})
        assert not orders(rehearsal)
        assert lives(rehearsal)[-1][1] is CommandState.DENIED


def test_a_stop_ends_with_its_rehearsal() -> None:
    settings = configuration("pump-guard")
    props = Props(settings, progress=Quiet())
    first = Rehearsal(settings, props=props)
    first.stop(user="anna")
    first.close()
    second = Rehearsal(settings, props=props)
    report(second, temp={"bearing": 90})
    assert orders(second)
    second.close()
    props.close()


def test_a_model_that_is_missing_is_told_once_it_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_NODE_HOME", str(tmp_path))
    settings = configuration("pump-guard")
    props = Props(settings, progress=Quiet())
    rehearsal = Rehearsal(settings, props=props)
    report(rehearsal)
    rehearsal.ask("anna", "set pump-1 to 50 percent")
    assert props.missing is None
    rehearsal.ask("anna", "how often is the bearing greased?")
    assert isinstance(props.missing, ModelMissing)
    last = next(each.what for each in reversed(rehearsal.happenings) if isinstance(each.what, Decision))
    assert isinstance(last.draft, NothingDraft)
    rehearsal.close()
    props.close()
