from __future__ import annotations

import queue
import sqlite3
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from edge_node.errors import JournalError
from edge_node.journal.journal import Journal, Retention
from edge_node.journal.schema import KEPT_TABLES, MIGRATIONS
from edge_node.messages import (
    AnswerDraft,
    Command,
    CommandDraft,
    CommandState,
    Decision,
    Expectation,
    Message,
    Origin,
    Outcome,
    Outgoing,
    Quotation,
    Request,
    RequestKind,
    RuleResult,
    Verdict,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DEADLINE_S = 10.0


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def open_journal(tmp_path: Path, clock: Clock) -> Iterator[Callable[..., Journal]]:
    """Open the same file again and again; without a close in between it is as after a crash."""
    journals: list[Journal] = []

    def open_it(**retention: Any) -> Journal:
        journals.append(Journal.open(tmp_path / "journal.db", clock=clock, retention=Retention(**retention)))
        return journals[-1]

    yield open_it
    for journal in journals:
        journal.close()


@pytest.fixture
def journal(open_journal: Callable[..., Journal]) -> Journal:
    return open_journal()


def message(name: str = "m1", **values: Any) -> Message:
    given = {"id": name, "topic": "plant/p1/telemetry", "payload": b"{}", "received_at": 1_000_000.0}
    return Message(**{**given, "qos": 1, "durable": True, **values})


def receive(journal: Journal, *messages: Message) -> list[str]:
    """Take in messages and return what the journal said of each."""
    told: queue.Queue[str] = queue.Queue()
    for each in messages:
        journal.receive(
            each, on_durable=lambda: told.put("durable"), on_duplicate=lambda: told.put("duplicate")
        )
    return [told.get(timeout=DEADLINE_S) for _ in messages]


def command(name: str = "c1", **values: Any) -> Command:
    given: dict[str, Any] = {
        "id": name,
        "node": "pump-guard",
        "name": "set_speed",
        "device": "p1",
        "arguments": {"pump": "p1", "percent": 20},
        "state": CommandState.SENT,
        "created_at": 1.0,
        "expires_at": 31.0,
        "idempotent": True,
        "topic": "plant/p1/set",
        "payload": b"\x00{}",
        "expectation": Expectation("speed", 20, 5.0),
    }
    return Command(**{**given, **values})


def to_device(name: str = "c1") -> Outgoing:
    return Outgoing("plant/p1/set", b"{}", command_id=name)


def decision(name: str = "r1", **values: Any) -> Decision:
    request = Request(name, RequestKind.ASK, "m1", 1.0, node="pump-guard", text="slow p1")
    draft = CommandDraft("pump-guard", "set_speed", {"percent": 20}, Origin.TEMPLATE)
    return Decision(request, draft, **values)


def test_a_received_message_is_there_after_a_crash_in_the_order_of_arrival(
    open_journal: Callable[..., Journal],
) -> None:
    sent = [
        message(f"m{number}", payload=bytes([number]), response_topic="r", correlation=bytes([number, 255]))
        for number in range(200)
    ]
    assert receive(open_journal(), *sent) == ["durable"] * 200
    assert list(open_journal().unfinished()) == sent


def test_a_concluded_message_is_not_unfinished_after_a_crash(open_journal: Callable[..., Journal]) -> None:
    before = open_journal()
    receive(before, message("m1"), message("m2"), message("m3"))
    before.conclude(message("m2"))
    before.conclude(message("m3"), dead="payload_invalid")
    assert [each.id for each in open_journal().unfinished()] == ["m1"]


def test_it_is_on_the_disk_before_it_is_called_durable(journal: Journal, tmp_path: Path) -> None:
    seen: queue.Queue[int] = queue.Queue()

    def look() -> None:
        other = sqlite3.connect(tmp_path / "journal.db")
        seen.put(other.execute("SELECT count(*) FROM inbox").fetchone()[0])
        other.close()

    journal.receive(message(), on_durable=look, on_duplicate=look)
    assert seen.get(timeout=DEADLINE_S) == 1


def test_a_message_that_is_not_durable_is_never_written(journal: Journal) -> None:
    fleeting = message(durable=False, qos=0)
    assert receive(journal, fleeting) == ["durable"]
    journal.conclude(fleeting)
    assert journal._database.execute("SELECT count(*) FROM inbox") == [(0,)]


def test_what_came_of_a_message_that_is_not_durable_is_written(journal: Journal) -> None:
    journal.conclude(message(durable=False), commands=[command()], outgoing=[to_device()])
    assert journal.command("c1") == command()
    assert len(journal.pending()) == 1


def test_a_request_sent_twice_ends_at_once_as_a_duplicate(journal: Journal) -> None:
    ask = message("m1", topic="edge/v1/e/ask/anna", correlation=b"7", payload=b"slow p1")
    assert receive(journal, ask, replace(ask, id="m2")) == ["durable", "duplicate"]
    journal.conclude(ask)
    assert receive(journal, replace(ask, id="m3")) == ["duplicate"]
    assert journal.unfinished() == ()


@pytest.mark.parametrize(
    "change",
    [
        {"correlation": b"8"},
        {"topic": "edge/v1/e/ask/bert"},
        {"payload": b"slow p2"},
        {"correlation": b""},
        {"received_at": 1_000_061.0},
    ],
)
def test_another_request_is_no_duplicate(
    open_journal: Callable[..., Journal], change: dict[str, Any]
) -> None:
    journal = open_journal(request_s=60.0)
    ask = message("m1", topic="edge/v1/e/ask/anna", correlation=b"7", payload=b"slow p1")
    assert receive(journal, ask, replace(ask, id="m2", **change)) == ["durable", "durable"]


def test_what_the_broker_delivers_again_ends_at_once_as_a_duplicate(
    open_journal: Callable[..., Journal],
) -> None:
    first = message("m1", payload=b"1", packet_id=7)
    again = replace(first, id="m3", redelivered=True)
    journal = open_journal()
    assert receive(journal, first, message("m2", payload=b"2", packet_id=8)) == ["durable", "durable"]
    assert receive(open_journal(), again, replace(again, id="m4")) == ["duplicate", "duplicate"]
    assert [each.id for each in journal.unfinished()] == ["m1", "m2"]


def test_what_the_broker_delivers_again_is_known_behind_a_thousand_others(journal: Journal) -> None:
    first = message("m0", payload=b"1", packet_id=7)
    others = [message(f"o{number}", payload=b"x", packet_id=100 + number) for number in range(1000)]
    assert receive(journal, first, *others) == ["durable"] * 1001
    assert receive(journal, replace(first, id="m1", redelivered=True)) == ["duplicate"]


def test_what_the_broker_delivers_again_is_known_however_often_the_edge_has_died_since(
    journal: Journal,
) -> None:
    first = message("m0", payload=b"0", packet_id=100)
    others = [message(f"m{number}", payload=b"%d" % number, packet_id=number) for number in range(1, 65)]
    assert receive(journal, first, *others) == ["durable"] * 65
    for death in range(100):
        again = [replace(each, id=f"{each.id}-{death}", redelivered=True) for each in others]
        assert receive(journal, *again) == ["duplicate"] * 64
    assert receive(journal, replace(first, id="m0-100", redelivered=True)) == ["duplicate"]


@pytest.mark.parametrize(
    "other",
    [{"redelivered": False}, {"packet_id": 8}, {"payload": b"2"}, {"topic": "plant/p2/telemetry"}],
)
def test_another_delivery_is_no_duplicate(journal: Journal, other: dict[str, Any]) -> None:
    first = message("m1", payload=b"1", packet_id=7)
    second = replace(first, **{"id": "m2", "redelivered": True, **other})
    assert receive(journal, first, second) == ["durable", "durable"]


def test_a_packet_identifier_that_was_used_again_since_tells_deliveries_apart(journal: Journal) -> None:
    first = message("m1", payload=b"1", packet_id=7)
    second = replace(first, id="m2", payload=b"2")
    again = replace(first, id="m3", redelivered=True)
    assert receive(journal, first, second, again) == ["durable"] * 3


def test_messages_without_correlation_are_never_duplicates(journal: Journal) -> None:
    assert receive(journal, message("m1"), message("m2")) == ["durable", "durable"]


@pytest.mark.parametrize("unwritable", ["half \ud800 a character", 2**70])
def test_what_cannot_be_written_is_told_and_the_next_message_is_taken_in(
    open_journal: Callable[..., Journal], unwritable: Any
) -> None:
    journal = open_journal()
    receive(journal, message())
    with pytest.raises(JournalError):
        journal.conclude(message(), outgoing=[Outgoing("t", b"x", content_type=unwritable)])

    assert journal.alive
    assert receive(journal, message("m2")) == ["durable"]


def test_an_error_in_the_middle_of_a_conclusion_leaves_nothing_of_it(
    open_journal: Callable[..., Journal],
) -> None:
    journal = open_journal()
    receive(journal, message())
    impossible = Outgoing("t", b"x", qos="high" * 2, correlation=object())  # type: ignore[arg-type]
    with pytest.raises(JournalError):
        journal.conclude(
            message(), decisions=[decision()], commands=[command()], outgoing=[to_device(), impossible]
        )
    for each in (journal, open_journal()):
        assert [left.id for left in each.unfinished()] == ["m1"]
        assert each.command("c1") is None
        assert each.archive.record("r1") is None
        assert each.pending() == ()
    journal.conclude(message(), commands=[command()])
    assert journal.unfinished() == ()


def test_a_failed_write_does_not_fail_those_beside_it(journal: Journal) -> None:
    receive(journal, message("m1"), message("m2"))
    outcomes: queue.Queue[str] = queue.Queue()

    def conclude(name: str) -> None:
        try:
            journal.conclude(message(name), commands=[command(name)])
        except JournalError:
            outcomes.put(f"{name} failed")
        else:
            outcomes.put(f"{name} written")

    threads = [threading.Thread(target=conclude, args=(name,)) for name in ("m1", "absent", "m2")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert {outcomes.get(timeout=DEADLINE_S) for _ in threads} == {
        "m1 written",
        "absent failed",
        "m2 written",
    }


def test_the_end_of_a_message_that_led_to_nothing_waits_for_no_disk(
    open_journal: Callable[..., Journal],
) -> None:
    journal = open_journal()
    receive(journal, *(message(f"m{number}") for number in range(50)))
    for number in range(50):
        journal.conclude(message(f"m{number}"))
    assert journal.unfinished() == ()
    assert open_journal().unfinished() == ()


def test_what_has_ended_is_unfinished_to_nobody_even_before_it_is_on_the_disk(journal: Journal) -> None:
    receive(journal, message("m1"), message("m2"))
    held, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        held.set()
        go_on.wait(DEADLINE_S)

    journal.receive(message("m3"), on_durable=hold, on_duplicate=hold)
    assert held.wait(DEADLINE_S)
    journal.conclude(message("m1"))  # the writer is busy, and this returns all the same
    go_on.set()
    assert [left.id for left in journal.unfinished()] == ["m2", "m3"]


def test_the_second_end_of_a_message_that_led_to_nothing_is_told_to_the_log(journal: Journal) -> None:
    receive(journal, message())
    with capture_logs() as lines:
        journal.conclude(message())
        journal.conclude(message())
        assert journal.unfinished() == ()
    assert [line["event"] for line in lines] == ["end_not_journaled"]
    assert "expected it to be open" in lines[0]["reason"]


def test_a_message_cannot_end_twice_and_the_second_outcome_is_not_written(journal: Journal) -> None:
    receive(journal, message())
    journal.conclude(message(), commands=[command("c1")], outgoing=[to_device("c1")])
    with pytest.raises(JournalError, match="expected it to be open"):
        journal.conclude(message(), commands=[command("c2")], outgoing=[to_device("c2")])
    assert journal.command("c2") is None
    assert len(journal.pending()) == 1


def test_the_outbox_gives_what_is_to_leave_in_order_until_it_is_delivered(
    open_journal: Callable[..., Journal],
) -> None:
    journal = open_journal()
    leaving = [Outgoing(f"t/{number}", bytes([number]), correlation=b"c", retain=True) for number in range(5)]
    journal.conclude(None, outgoing=leaving)
    parcels = journal.pending()
    assert [parcel.outgoing for parcel in parcels] == leaving
    assert [parcel.outgoing.topic for parcel in journal.pending(after=parcels[2].row_id)] == ["t/3", "t/4"]
    journal.mark_delivered(parcels[0].row_id)
    journal.mark_refused(parcels[1].row_id, reason="not authorised")
    assert [parcel.outgoing for parcel in journal.pending(limit=2)] == leaving[2:4]
    assert [parcel.outgoing for parcel in open_journal().pending()] == leaving[2:]


def test_time_spent_waiting_is_taken_off_the_expiry_and_what_expired_stays(
    journal: Journal, clock: Clock
) -> None:
    journal.conclude(None, outgoing=[Outgoing("short", b"", expiry_s=5), Outgoing("long", b"", expiry_s=60)])
    clock.now += 10.0
    (parcel,) = journal.pending()
    assert (parcel.outgoing.topic, parcel.outgoing.expiry_s) == ("long", 50)


def test_a_command_that_may_run_twice_is_sent_again_after_a_crash(
    open_journal: Callable[..., Journal],
) -> None:
    before = open_journal()
    before.conclude(None, commands=[command(idempotent=True)], outgoing=[to_device()])
    before.mark_sent(before.pending()[0].row_id)
    after = open_journal()
    assert after.recover() == ()
    assert [parcel.outgoing for parcel in after.pending()] == [to_device()]


def test_a_command_that_must_not_run_twice_is_unknown_after_a_crash_and_never_sent_again(
    open_journal: Callable[..., Journal],
) -> None:
    before = open_journal()
    once = command(idempotent=False)
    before.conclude(None, commands=[once], outgoing=[to_device()])
    (parcel,) = before.pending()
    assert not parcel.idempotent
    before.mark_sent(parcel.row_id)
    after = open_journal()
    (unknown,) = after.recover()
    assert (unknown.id, unknown.state) == ("c1", CommandState.UNKNOWN)
    assert replace(unknown, state=once.state, detail="") == once
    assert after.pending() == ()
    assert after.command("c1") == unknown
    assert after.open_commands() == ()
    assert open_journal().recover() == ()


def test_a_command_that_must_not_run_twice_and_did_not_leave_is_sent_after_a_crash(
    open_journal: Callable[..., Journal],
) -> None:
    before = open_journal()
    before.conclude(None, commands=[command(idempotent=False)], outgoing=[to_device()])
    after = open_journal()
    assert after.recover() == ()
    (parcel,) = after.pending()
    after.mark_sent(parcel.row_id)
    assert after.pending() == ()
    after.mark_unsent(parcel.row_id)
    assert after.pending() == (parcel,)


def test_a_delivered_command_is_not_unknown_after_a_crash(open_journal: Callable[..., Journal]) -> None:
    before = open_journal()
    before.conclude(None, commands=[command(idempotent=False)], outgoing=[to_device()])
    (parcel,) = before.pending()
    before.mark_sent(parcel.row_id)
    before.mark_delivered(parcel.row_id)
    before.close()
    after = open_journal()
    assert after.recover() == ()
    assert after.open_commands() == (command(idempotent=False),)


def test_a_command_whose_device_has_shown_it_keeps_its_state_after_a_crash(
    open_journal: Callable[..., Journal],
) -> None:
    before = open_journal()
    before.conclude(None, commands=[command(idempotent=False)], outgoing=[to_device()])
    before.mark_sent(before.pending()[0].row_id)
    before.conclude(None, commands=[command(idempotent=False, state=CommandState.VERIFIED)])
    after = open_journal()
    assert after.recover() == ()
    assert after.pending() == ()
    known = after.command("c1")
    assert known is not None
    assert known.state is CommandState.VERIFIED


def test_a_connection_lost_under_way_makes_only_that_command_unknown(journal: Journal) -> None:
    journal.conclude(
        None,
        commands=[command("c1", idempotent=False), command("c2", idempotent=False)],
        outgoing=[to_device("c1"), to_device("c2")],
    )
    first, second = journal.pending()
    journal.mark_sent(first.row_id)
    journal.mark_sent(second.row_id)
    assert [each.id for each in journal.mark_doubtful(second.row_id)] == ["c2"]
    assert [each.id for each in journal.open_commands()] == ["c1"]


def test_nothing_leaves_twice_by_being_marked_as_sent_twice(journal: Journal) -> None:
    journal.conclude(None, commands=[command(idempotent=False)], outgoing=[to_device()])
    (parcel,) = journal.pending()
    journal.mark_sent(parcel.row_id)
    with pytest.raises(JournalError, match="expected it to be pending"):
        journal.mark_sent(parcel.row_id)


def test_a_command_is_read_as_it_was_written_and_its_last_state_counts(journal: Journal) -> None:
    journal.conclude(None, commands=[command()])
    assert journal.command("c1") == command()
    later = command(state=CommandState.DENIED, detail="too fast", expectation=None)
    journal.conclude(None, commands=[later])
    assert journal.command("c1") == later
    assert journal.open_commands() == ()
    assert journal.command("absent") is None


def test_decisions_are_kept_with_all_that_led_to_them(journal: Journal) -> None:
    verdict = Verdict(Outcome.DENIED, (RuleResult("require[0]", passed=False, reason="p1 is offline"),))
    record = {"prompt": "…", "odd": float("nan"), "bytes": b"\xff"}
    states = {"p1": {"speed": 1.5}}
    journal.conclude(
        None, decisions=[decision("r1", verdict=verdict, command=command(), states=states, model=record)]
    )
    kept = journal.archive.record("r1")
    assert kept is not None
    assert kept["request"]["text"] == "slow p1"
    assert kept["draft"] == {
        "type": "CommandDraft",
        "node": "pump-guard",
        "name": "set_speed",
        "arguments": {"percent": 20},
        "origin": "template",
        "confidence": 1.0,
    }
    assert kept["verdict"]["rules"][0]["reason"] == "p1 is offline"
    assert kept["states"] == states
    assert kept["model"]["odd"] == "NaN"
    assert journal.archive.record("absent") is None


def test_history_is_newest_first(journal: Journal) -> None:
    quotation = Quotation("Stop the pump.", "manual/pump.md", 3, 4)
    answer = replace(decision("r3"), draft=AnswerDraft("pump-guard", (quotation,)))
    journal.conclude(None, decisions=[decision("r1"), decision("r2"), answer])
    assert [each["request"]["id"] for each in journal.archive.records(limit=2)] == ["r3", "r2"]
    assert journal.archive.records(limit=1)[0]["draft"]["quotations"][0]["first_line"] == 3


def test_a_note_is_there_in_the_next_run(open_journal: Callable[..., Journal]) -> None:
    journal = open_journal()
    assert journal.recall("filters") is None
    journal.remember("filters", "a")
    journal.remember("filters", "b")
    assert open_journal().recall("filters") == "b"


def test_what_ended_long_ago_is_forgotten_and_what_is_open_is_not(
    open_journal: Callable[..., Journal], clock: Clock
) -> None:
    journal = open_journal(age_s=100.0)
    receive(journal, message("old"), message("open"))
    journal.conclude(message("old"), decisions=[decision("old")], commands=[command("open")])
    clock.now += 101.0
    for number in range(64):
        journal.conclude(None, decisions=[decision(f"r{number}")])
    assert journal.archive.record("old") is None
    assert [each.id for each in journal.unfinished()] == ["open"]
    assert [each.id for each in journal.open_commands()] == ["open"]
    assert journal._database.execute("SELECT id FROM inbox") == [("open",)]


def test_the_journal_stays_bounded(open_journal: Callable[..., Journal]) -> None:
    journal = open_journal(rows=20)
    for number in range(300):
        journal.conclude(None, decisions=[decision(f"r{number}")])
    assert len(journal.archive.records(limit=1000)) <= 20 + 64


def test_a_corrupt_journal_is_set_aside_and_a_new_one_begun(
    open_journal: Callable[..., Journal], tmp_path: Path
) -> None:
    (tmp_path / "journal.db").write_bytes(b"\x00garbage" * 1000)
    journal = open_journal()
    assert receive(journal, message()) == ["durable"]
    assert len(list(tmp_path.glob("journal.db.corrupt-*"))) == 1


def test_closing_writes_what_is_queued(open_journal: Callable[..., Journal]) -> None:
    journal = open_journal()
    told: queue.Queue[None] = queue.Queue()
    for number in range(100):
        journal.receive(
            message(f"m{number}"), on_durable=lambda: told.put(None), on_duplicate=lambda: told.put(None)
        )
    journal.close()
    assert told.qsize() == 100
    assert len(open_journal().unfinished()) == 100
    with pytest.raises(JournalError, match="closed"):
        journal.conclude(None, outgoing=[to_device()])


def test_waiting_for_the_disk_on_the_thread_that_writes_is_refused(journal: Journal) -> None:
    outcome: queue.Queue[Exception | None] = queue.Queue()

    def wait_for_itself() -> None:
        try:
            journal.conclude(None, outgoing=[to_device()])
        except JournalError as error:
            outcome.put(error)

    journal.receive(message(), on_durable=wait_for_itself, on_duplicate=wait_for_itself)
    assert "wait for itself" in str(outcome.get(timeout=DEADLINE_S))


def test_a_full_disk_is_reported_nothing_is_acknowledged_and_writing_goes_on_later(journal: Journal) -> None:
    pages = journal._database.execute("PRAGMA page_count")[0][0]
    journal._database.execute(f"PRAGMA max_page_count = {pages}")
    told: queue.Queue[str] = queue.Queue()
    journal.receive(
        message(payload=b"x" * 100_000),
        on_durable=lambda: told.put("durable"),
        on_duplicate=lambda: told.put("duplicate"),
    )
    with pytest.raises(JournalError, match="full") as caught:
        journal.conclude(None, outgoing=[Outgoing("t", b"x" * 100_000)])
    assert "disk" in caught.value.hint
    assert told.empty()
    journal._database.execute("PRAGMA max_page_count = 100000")
    assert receive(journal, message("m2")) == ["durable"]
    assert journal.failure is None
    assert [each.id for each in journal.unfinished()] == ["m2"]


@pytest.mark.parametrize("table", KEPT_TABLES)
def test_old_rows_are_found_by_an_index_and_not_by_reading_the_table(table: str) -> None:
    connection = sqlite3.connect(":memory:")
    for statements in MIGRATIONS:
        for statement in statements:
            connection.execute(statement)
    old = f"SELECT sequence FROM {table} WHERE {KEPT_TABLES[table]} AND ended_at < 1"  # noqa: S608 - names of the package
    plan = connection.execute(f"EXPLAIN QUERY PLAN {old}").fetchall()
    connection.close()
    assert all(step[3].startswith("SEARCH") for step in plan)


def test_a_command_that_has_ended_stays_ended(journal: Journal) -> None:
    journal.conclude(None, commands=[command(state=CommandState.CANCELLED, detail="operational stop")])

    journal.conclude(None, commands=[command(state=CommandState.SENT)])

    kept = journal.command("c1")
    assert kept is not None
    assert (kept.state, kept.detail) == (CommandState.CANCELLED, "operational stop")
    assert journal.open_commands() == ()


def test_announcements_that_nobody_takes_are_given_up_oldest_first_but_never_commands(
    open_journal: Callable[..., Journal],
) -> None:
    journal = open_journal(rows=10)
    journal.conclude(None, commands=[command()], outgoing=[to_device()])
    for number in range(70):
        journal.conclude(None, outgoing=[Outgoing(f"said/{number}", b"{}")])

    left = [parcel.outgoing.topic for parcel in journal.pending(limit=1000)]

    assert left[0] == to_device().topic
    assert left[-1] == "said/69"
    assert journal.crowded_out == 71 - len(left)
    assert journal.crowded_out > 0


def test_a_command_tells_who_ordered_it_after_a_restart(open_journal: Callable[..., Journal]) -> None:
    ordered = command(origin=Origin.TEMPLATE, user="ada", trigger="")
    open_journal().conclude(None, commands=[ordered])

    assert open_journal().command("c1") == ordered


def test_a_message_is_not_wanted_longer_after_a_restart(open_journal: Callable[..., Journal]) -> None:
    receive(open_journal(), message("m1", expires_at=1234.5))

    assert [each.expires_at for each in open_journal().unfinished()] == [1234.5]
