from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from edge_node.errors import DecisionUnknown, JournalError
from edge_node.journal.archive import Archive
from edge_node.journal.bounds import MAX_ITEMS, MAX_RECORD, MAX_TEXT, bounded, cut
from edge_node.observe.explanation import explained, listed
from tests.runtime.hall import TOPICS, Hall

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[Hall]:
    made = Hall(tmp_path)
    made.walk(made.telemetry(rpm=80, c=60, vib=1.0))
    made.now += 3
    yield made
    made.journal.close()


def told(hall: Hall, key: str) -> str:
    (document,) = hall.journal.archive.explain(key)
    # What travels over the bus is what is told.
    return "\n".join(explained(json.loads(json.dumps(document))))


def test_an_order_is_told_from_its_message_to_what_the_device_showed(hall: Hall) -> None:
    message = hall.ask("set pump-1 to 40 percent", correlation=b"c-9")
    _, result = hall.walk(message)
    (decision,) = result.decisions
    assert decision.command is not None
    hall.now += 1
    hall.walk(hall.telemetry(rpm=40))

    lines = told(hall, decision.request.id).splitlines()

    assert lines[0].endswith("pump-guard: set_speed(pump = pump-1, percent = 40) allowed")
    labels = [line.split(" ")[0] for line in lines[2:] if not line.startswith(" ")]
    assert labels == ["message", "devices", "asked", "understood", "gate", "command", "times"]
    text = "\n".join(lines)
    assert "edge/v1/hall-3/ask/ada, 00:16:43.000Z, QoS 1, 24 bytes in utf-8" in text
    assert "pump-1: speed 80 (3 s old), bearing_c 60 (3 s old), vib 1 (3 s old)" in text
    assert "set_speed(pump = pump-1, percent = 40), as a sentence of the node file" in text
    assert "yes arguments: complete and within their ranges" in text
    assert "00:16:43.000Z sent\n            00:16:44.000Z verified: speed = 40" in text
    assert 'plant/pump-1/set {"speed":40}' in text


def test_a_denial_names_the_rule_and_how_old_the_values_were(hall: Hall) -> None:
    hall.walk(hall.telemetry(c=90))
    hall.now += 2
    _, result = hall.walk(hall.ask("set pump-1 to 40 percent"))

    text = told(hall, result.decisions[0].request.id)

    assert "denied by limit.every: set_speed to pump-1: expected 10 s after the last one, came 2.0 s" in text
    assert "NO  limit.every" in text
    assert "bearing_c 90 (2 s old)" in text


def test_an_alarm_tells_its_condition_and_what_it_saw(hall: Hall) -> None:
    _, result = hall.walk(hall.telemetry(c=90))

    text = told(hall, result.decisions[0].request.id)

    assert "overheating of pump-1: when bearing_c > 85" in text
    assert "it saw bearing_c = 90" in text
    assert "by what the node file says of the trigger" in text


def test_an_answer_tells_what_was_found_and_what_was_left_to_the_model(hall: Hall) -> None:
    _, result = hall.walk(hall.ask("how often is the bearing greased?"))

    text = told(hall, result.decisions[0].request.id)

    assert "manual/pump.md:12-14, score 0.0000, similarity 0.00: Grease the bearing every 500 hours." in text
    assert "the cheap tiers left it to the model: words of the manuals" in text
    assert "it wrote: what the model wrote" in text
    assert "“Grease the bearing every 500 hours.” (manual/pump.md:12-13)" in text


def test_a_decision_is_found_by_any_of_its_identifiers_and_their_beginnings(hall: Hall) -> None:
    message = hall.ask("set pump-1 to 40 percent", correlation=b"shift-7-order-1")
    _, result = hall.walk(message)
    (decision,) = result.decisions
    assert decision.command is not None
    whole = (decision.request.id, decision.command.id, message.id, "shift-7-order-1")

    for key in (*whole, *(name[:-2] for name in whole), "shift-7"):
        (document,) = hall.journal.archive.explain(key)
        assert document["decision"]["request"]["id"] == decision.request.id


def test_what_follows_from_one_message_is_told_together(hall: Hall) -> None:
    message = hall.telemetry(c=90, vib=9.0)
    _, result = hall.walk(message)

    found = hall.journal.archive.explain(message.id)

    assert [each["decision"]["request"]["id"] for each in found] == [
        each.request.id for each in result.decisions
    ]
    assert len(found) == 3


def test_a_beginning_that_several_share_and_an_unknown_name_are_refused(hall: Hall) -> None:
    for number in (1, 2):
        hall.walk(hall.ask("jog pump-1", correlation=f"shift-{number}".encode()))

    with pytest.raises(DecisionUnknown, match="more than one: "):
        hall.journal.archive.explain("shift-")
    for key in ("nothing", ""):
        with pytest.raises(DecisionUnknown):
            hall.journal.archive.explain(key)


def test_a_message_that_led_to_nothing_says_so(hall: Hall) -> None:
    message = hall.telemetry(c=61)
    hall.walk(message)
    hall.journal.pending()

    assert told(hall, message.id).startswith(f"message {message.id} led to no decision")


def test_history_lists_what_is_asked_for_newest_first(hall: Hall) -> None:
    hall.walk(hall.telemetry(c=90))
    hall.now += 60
    hall.walk(hall.ask("set pump-1 to 40 percent"))
    hall.walk(hall.ask("how often is the bearing greased?"))
    archive = hall.journal.archive
    alarm = "overheating: pump-1 (bearing_c 90, speed 80, vib 1)"

    lines = [listed(each) for each in archive.history()]

    assert [line.rpartition("  ")[2] for line in lines] == [
        "ada: how often is the bearing greased? → answered",
        "ada: set pump-1 to 40 percent → set_speed(pump = pump-1, percent = 40) sent",
        f"overheating pump-1: {alarm} → set_speed(pump = pump-1, percent = 30) sent",
    ]
    assert len(archive.history(since=hall.now - 30)) == 2
    assert len(archive.history(device="pump-1")) == 2
    assert archive.history(node="other") == ()
    assert len(archive.history(limit=1)) == 1


def test_the_file_is_read_while_the_edge_writes(hall: Hall, tmp_path: Path) -> None:
    archive = Archive.open(tmp_path / "journal.db")
    _, result = hall.walk(hall.ask("jog pump-1"))

    (document,) = archive.explain(result.decisions[0].request.id)
    archive.close()

    assert document["decision"]["request"]["text"] == "jog pump-1"
    with pytest.raises(JournalError):
        Archive.open(tmp_path / "absent.db")


def test_a_record_is_bounded_and_says_what_was_cut(hall: Hall) -> None:
    payload = json.dumps({"c": 90, "noise": "x" * 50_000})
    message = hall.telemetry(c=90, noise=["y" * 5000] * 40)
    _, result = hall.walk(message)

    record = hall.journal.archive.record(result.decisions[0].request.id)

    assert record is not None
    assert record["message"]["bytes"] > 200_000
    assert len(record["message"]["payload"]) < MAX_TEXT + 100
    assert f"{MAX_TEXT + 1} characters" in cut("x" * (MAX_TEXT + 1))
    assert len(json.dumps(bounded([payload] * 100))) < 2 * MAX_RECORD
    assert bounded(list(range(100)))[MAX_ITEMS:] == ["[…cut, 100 items]"]
    nested: dict[str, object] = {}
    for _ in range(4):
        nested = {f"{number}" * 100: nested for number in range(64)}
    assert len(json.dumps(bounded(nested))) < 3 * MAX_RECORD
    assert bounded({"a": 1.5, "b": None}) == {"a": 1.5, "b": None}


def test_the_life_of_a_command_is_told_with_its_decision(hall: Hall) -> None:
    _, result = hall.walk(hall.ask("set pump-1 to 40 percent"))
    (decision,) = result.decisions
    assert decision.command is not None

    (life,) = hall.bodies(TOPICS.command(decision.command.id))

    assert life["data"]["decision"] == decision.request.id
