from __future__ import annotations

import json
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from edge_node.announcing import Announcing
from edge_node.identifiers import new_id
from edge_node.messages import AnswerDraft, CommandDraft, CommandState, Message, Observation, Origin, Outgoing
from edge_node.runtime.backlog import Backlog
from edge_node.runtime.dispatcher import Dispatcher, Walk
from edge_node.runtime.model_queue import ModelQueue
from edge_node.runtime.streams import Streams
from tests.runtime.hall import DEADLINE_S as DEADLINE_OF_HALL_S
from tests.runtime.hall import QUOTATION, TOPICS, Hall

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEADLINE_S = 15.0
QUESTION = "how often is the bearing greased?"


class Desk:
    """A dispatcher over a hall, whose model can be made to think until it is let go."""

    def __init__(self, hall: Hall, *, limit: int = 100) -> None:
        self.hall = hall
        self.began = threading.Semaphore(0)
        self.may_end = threading.Event()
        self.backlog = Backlog(limit)
        self._concluded = threading.Condition()
        self.pieces: list[Outgoing] = []
        streams = Streams(Announcing(TOPICS, clock=hall.clock), publish=self.pieces.append)
        self.model_queue = ModelQueue[Walk](limit, clock=hall.clock, streams=streams)
        hall.take_back = self.model_queue.cancel
        self.dispatcher = Dispatcher(
            hall.pipeline,
            backlog=self.backlog,
            unfinished=hall.journal.unfinished,
            on_concluded=self._on_concluded,
            clock=hall.clock,
            model_queue=self.model_queue,
        )

    def _on_concluded(self) -> None:
        with self._concluded:
            self._concluded.notify_all()

    def wait_for(self, condition: Callable[[], Any]) -> None:
        """Return once something concluded has made a condition true."""
        with self._concluded:
            assert self._concluded.wait_for(condition, DEADLINE_S)

    def replies(self) -> list[dict[str, Any]]:
        return self.hall.bodies(TOPICS.reply("ada"))

    def think(self) -> None:
        """Let the model think about a question, and return once it does."""
        self.hall.drafting.say = self._think
        self.backlog.put(self.hall.ask(QUESTION, correlation=b"thinking"))
        assert self.began.acquire(timeout=DEADLINE_S)

    def _think(self, *_: Any) -> AnswerDraft:
        self.began.release()
        assert self.may_end.wait(DEADLINE_S)
        return AnswerDraft("pump-guard")

    def stop(self) -> None:
        self.may_end.set()
        self.dispatcher.stop(timeout_s=DEADLINE_S)


@pytest.fixture
def make_desk(hall: Hall) -> Iterator[Callable[..., Desk]]:
    """Give a function that makes desks; all are stopped at the end, also where a test fails."""
    desks: list[Desk] = []

    def make(*, limit: int = 100) -> Desk:
        desks.append(Desk(hall, limit=limit))
        return desks[-1]

    yield make
    for desk in desks:
        desk.stop()


@pytest.fixture
def desk(make_desk: Callable[..., Desk]) -> Desk:
    made = make_desk()
    made.dispatcher.start()
    return made


def test_orders_and_questions_are_handled_on_their_threads(desk: Desk) -> None:
    desk.backlog.put(desk.hall.ask(QUESTION))
    desk.backlog.put(desk.hall.ask("set pump-1 to 40 percent"))

    desk.wait_for(lambda: len(desk.replies()) == 2)

    assert {reply["type"] for reply in desk.replies()} == {"answer", "command"}
    assert desk.hall.journal.unfinished() == ()
    assert desk.dispatcher.alive


def test_what_needs_no_model_does_not_wait_for_it(desk: Desk) -> None:
    desk.think()

    desk.backlog.put(desk.hall.ask("set pump-1 to 40 percent"))
    desk.wait_for(desk.replies)

    assert [reply["type"] for reply in desk.replies()] == ["command"]


def test_time_passes_without_messages(desk: Desk) -> None:
    desk.backlog.put(desk.hall.ask("set pump-1 to 40 percent"))
    desk.wait_for(desk.replies)
    desk.hall.lifecycle.acknowledged(desk.replies()[0]["data"]["command_id"])

    desk.hall.now += 6.0
    desk.wait_for(lambda: len(desk.replies()) == 2)

    assert desk.replies()[1]["data"]["state"] == "unverified"


@pytest.mark.parametrize("where", ["dispatcher", "inference"])
def test_a_fault_in_one_message_is_logged_and_buried_and_the_next_one_is_handled(
    hall: Hall, make_desk: Callable[..., Desk], where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    desk = make_desk()
    with capture_logs() as lines:
        if where == "inference":
            hall.drafting.say = break_down
        else:
            monkeypatch.setattr(hall.twin, "observe", break_down)
        desk.dispatcher.start()
        desk.backlog.put(hall.ask(QUESTION, correlation=b"c-1"))
        desk.wait_for(desk.replies)
        assert desk.dispatcher.alive
        monkeypatch.undo()
        desk.backlog.put(hall.ask("set pump-1 to 40 percent"))
        desk.wait_for(lambda: len(desk.replies()) == 2)
        desk.stop()

    fault, handled = desk.replies()
    assert (fault["type"], fault["corr"], handled["type"]) == ("error", "c-1", "command")
    assert fault["data"]["error"]["code"] == "internal"
    assert "ZeroDivisionError" in fault["data"]["text"]
    assert len(hall.bodies(TOPICS.dead("internal"))) == 1
    assert hall.journal.unfinished() == ()
    (line,) = [line for line in lines if line["event"] == "message_failed"]
    assert (line["log_level"], line["exc_info"]) == ("error", True)


def test_a_message_that_cannot_be_read_is_buried_with_its_reason(desk: Desk) -> None:
    desk.backlog.put(desk.hall.ask('{"text": 7}'))

    desk.wait_for(desk.replies)

    (reply,) = desk.replies()
    assert (reply["type"], reply["data"]["error"]["code"]) == ("error", "envelope_invalid")
    assert len(desk.hall.bodies(TOPICS.dead("envelope_invalid"))) == 1


def test_a_payload_that_was_too_large_to_keep_is_refused_with_its_size(desk: Desk) -> None:
    desk.backlog.put(desk.hall.ask(b"", dropped_bytes=300_000))

    desk.wait_for(desk.replies)

    (reply,) = desk.replies()
    assert reply["data"]["error"]["code"] == "payload_invalid"
    assert "300000 bytes" in reply["data"]["text"]
    assert desk.hall.journal.unfinished() == ()


def test_a_request_that_finds_the_models_queue_full_is_answered_busy(
    hall: Hall, make_desk: Callable[..., Desk]
) -> None:
    desk = make_desk(limit=1)
    desk.dispatcher.start()
    desk.think()
    desk.backlog.put(hall.ask(QUESTION, correlation=b"queued"))
    desk.backlog.put(hall.ask(QUESTION, correlation=b"refused"))

    desk.wait_for(desk.replies)

    (reply,) = desk.replies()
    assert (reply["corr"], reply["data"]["code"], reply["data"]["final"]) == ("refused", "busy", True)
    desk.may_end.set()
    desk.wait_for(lambda: len(desk.replies()) == 3)


def test_a_full_queue_refuses_the_request_and_keeps_what_else_the_message_brought(
    hall: Hall, make_desk: Callable[..., Desk]
) -> None:
    _, ordered = hall.walk(hall.ask("set pump-1 to 40 percent"))
    command = ordered.decisions[0].command
    assert command is not None
    hall.now += 1.0
    desk = make_desk(limit=1)
    desk.dispatcher.start()
    desk.think()
    desk.backlog.put(hall.telemetry("pump-2", vib=8.0))

    desk.backlog.put(hall.telemetry(rpm=40, vib=8.0, c=90))
    desk.wait_for(lambda: hall.bodies(TOPICS.event("overheating")))

    kept = hall.journal.command(command.id)
    assert kept is not None
    assert kept.state is CommandState.VERIFIED
    (refused,) = hall.bodies(TOPICS.event("shaking"))
    assert refused["data"]["code"] == "busy"


def test_what_the_journal_held_at_the_start_is_handled_first_and_in_order(
    hall: Hall, make_desk: Callable[..., Desk]
) -> None:
    for number in range(5):
        hall.ask("set pump-1 to 40 percent", correlation=f"c-{number}".encode())
    desk = make_desk(limit=2)

    desk.dispatcher.start()
    desk.wait_for(lambda: len(desk.replies()) == 5)
    desk.stop()

    assert [reply["corr"] for reply in desk.replies()] == ["c-0", "c-1", "c-2", "c-3", "c-4"]


def test_more_messages_than_fit_are_all_handled_once(hall: Hall, make_desk: Callable[..., Desk]) -> None:
    desk = make_desk(limit=3)
    desk.dispatcher.start()

    for number in range(60):
        desk.backlog.put(hall.ask("jog pump-1", correlation=f"c-{number}".encode()))
    desk.wait_for(lambda: len(hall.journal.archive.records(limit=100)) == 60)
    desk.stop()

    handled = [
        record["request"]["correlation"] for record in reversed(hall.journal.archive.records(limit=100))
    ]
    assert handled == [f"c-{number}" for number in range(60)]
    assert hall.journal.unfinished() == ()


def test_what_is_unfinished_at_the_stop_stays_in_the_journal_for_the_next_run(
    hall: Hall, make_desk: Callable[..., Desk]
) -> None:
    first = make_desk()
    first.dispatcher.start()
    first.think()
    first.backlog.put(hall.ask(QUESTION, correlation=b"queued"))
    first.dispatcher.stop(timeout_s=0)  # both threads are told; the model still thinks
    first.stop()
    assert not first.dispatcher.alive

    assert [message.correlation for message in hall.journal.unfinished()] == [b"queued"]
    second = make_desk()
    second.may_end.set()
    second.dispatcher.start()
    second.wait_for(lambda: len(second.replies()) == 2)

    assert [reply["corr"] for reply in second.replies()] == ["thinking", "queued"]
    assert hall.journal.unfinished() == ()


def test_each_message_that_led_to_a_decision_is_told_in_one_line(
    hall: Hall, make_desk: Callable[..., Desk]
) -> None:
    desk = make_desk()
    with capture_logs() as lines:
        desk.dispatcher.start()
        desk.backlog.put(hall.ask("set pump-1 to 40 percent"))
        desk.wait_for(desk.replies)
        desk.stop()

    (line,) = [line for line in lines if line["event"] == "message"]
    assert (line["topic"], line["drafts"], line["verdicts"]) == (
        TOPICS.ask("ada"),
        ["CommandDraft"],
        ["allowed"],
    )
    assert list(line["stages_ms"]) == ["twin", "trigger", "understand", "gate", "journal"]
    assert line["commands"] == [desk.replies()[0]["data"]["command_id"]]


def test_a_reading_that_cannot_be_read_and_is_not_journaled_leaves_a_dead_letter(desk: Desk) -> None:
    desk.backlog.put(Message(new_id(), "plant/pump-1/telemetry", b"{", desk.hall.now))

    desk.wait_for(lambda: desk.hall.bodies(TOPICS.dead("payload_invalid")))


def test_an_order_overtakes_a_question_and_an_alarm_both_while_the_model_thinks(
    hall: Hall, make_desk: Callable[..., Desk]
) -> None:
    desk = make_desk()
    desk.dispatcher.start()
    desk.think()
    desk.backlog.put(hall.ask(QUESTION, correlation=b"question"))
    desk.backlog.put(hall.ask("bring pump-1 down to 40 percent", correlation=b"order"))
    desk.backlog.put(hall.telemetry("pump-2", vib=8.0))
    desk.backlog.put(hall.ask("jog pump-1", correlation=b"behind all"))
    desk.wait_for(desk.replies)

    desk.may_end.set()
    desk.wait_for(lambda: len(desk.replies()) == 4)

    assert [request.trigger or request.correlation for request in hall.drafting.asked] == [
        "thinking",
        "shaking",
        "order",
        "question",
    ]


def test_a_question_that_waits_past_its_deadline_is_told_so_and_never_shown_to_the_model(
    hall: Hall, make_desk: Callable[..., Desk]
) -> None:
    desk = make_desk()
    desk.dispatcher.start()
    desk.think()
    desk.backlog.put(hall.ask(QUESTION, correlation=b"waits"))
    desk.backlog.put(hall.ask("jog pump-1", correlation=b"behind"))
    desk.wait_for(desk.replies)

    def late() -> list[tuple[Any, ...]]:
        return [
            (reply["corr"], reply["data"]["code"], reply["data"]["final"])
            for reply in desk.replies()
            if reply["type"] == "nothing"
        ]

    hall.now += DEADLINE_OF_HALL_S + 1.0
    desk.wait_for(late)
    desk.may_end.set()
    desk.wait_for(lambda: len(late()) == 2)

    assert late() == [("waits", "deadline", True), ("thinking", "deadline", True)]
    assert [request.correlation for request in hall.drafting.asked] == ["thinking"]
    assert hall.journal.unfinished() == ()


def test_a_command_that_the_model_makes_too_late_is_not_issued(
    hall: Hall, make_desk: Callable[..., Desk]
) -> None:
    desk = make_desk()

    def too_late(*_: Any) -> CommandDraft:
        hall.now += DEADLINE_OF_HALL_S + 1.0
        return CommandDraft("pump-guard", "set_speed", {"pump": "pump-1", "percent": 20}, Origin.MODEL)

    hall.drafting.say = too_late
    desk.dispatcher.start()
    desk.backlog.put(hall.ask("bring pump-1 down to 20 percent"))
    desk.wait_for(desk.replies)

    (reply,) = desk.replies()
    assert (reply["type"], reply["data"]["code"]) == ("nothing", "deadline")
    assert hall.journal.open_commands() == ()


def test_an_alarm_that_fires_again_while_it_waits_is_decided_once_and_both_are_told(
    hall: Hall, make_desk: Callable[..., Desk]
) -> None:
    desk = make_desk()
    desk.dispatcher.start()
    desk.think()
    for vib in (8.0, 1.0, 8.2):
        hall.now += 1.0
        desk.backlog.put(hall.telemetry(vib=vib))
    desk.wait_for(lambda: hall.bodies(TOPICS.event("shaking")))

    (event,) = hall.bodies(TOPICS.event("shaking"))
    assert (event["data"]["code"], event["data"]["final"]) == ("superseded", True)
    desk.may_end.set()
    desk.wait_for(lambda: len(hall.bodies(TOPICS.event("shaking"))) == 2)
    last = hall.bodies(TOPICS.event("shaking"))[1]
    assert last["data"]["decision"] in event["data"]["text"]
    assert [request.trigger for request in hall.drafting.asked] == ["", "shaking"]
    assert hall.journal.unfinished() == ()


def test_the_record_of_a_decision_tells_how_long_it_waited_for_the_model(
    hall: Hall, make_desk: Callable[..., Desk]
) -> None:
    desk = make_desk()
    desk.dispatcher.start()
    desk.think()
    desk.backlog.put(hall.ask(QUESTION, correlation=b"waits"))
    desk.backlog.put(hall.ask("jog pump-1"))
    desk.wait_for(desk.replies)
    hall.now += 2.5
    desk.may_end.set()
    desk.wait_for(lambda: len(desk.replies()) == 3)

    record = hall.journal.archive.record(desk.replies()[2]["data"]["decision"])

    assert record is not None
    assert record["model"]["waited_ms"] == 2500.0


def test_a_stop_ends_the_model_between_tokens_and_the_message_comes_again(
    hall: Hall, make_desk: Callable[..., Desk]
) -> None:
    first = make_desk()

    def generate(*_: Any) -> AnswerDraft:
        first.began.release()
        attention = hall.drafting.attention
        assert attention is not None
        try:
            while not first.may_end.wait(0.01):
                attention.check()
        finally:
            first.may_end.set()
        return AnswerDraft("pump-guard")

    hall.drafting.say = generate
    first.dispatcher.start()
    first.backlog.put(hall.ask(QUESTION, correlation=b"cut off"))
    assert first.began.acquire(timeout=DEADLINE_S)

    first.dispatcher.stop(timeout_s=0)
    assert first.may_end.wait(DEADLINE_S)
    first.dispatcher.stop(timeout_s=DEADLINE_S)

    assert not first.dispatcher.alive
    assert [message.correlation for message in hall.journal.unfinished()] == [b"cut off"]
    hall.drafting.say = lambda *_: AnswerDraft("pump-guard")
    second = make_desk()
    second.dispatcher.start()
    second.wait_for(second.replies)
    assert hall.journal.unfinished() == ()


def test_a_question_that_its_user_takes_back_is_not_shown_to_the_model(
    hall: Hall, make_desk: Callable[..., Desk]
) -> None:
    desk = make_desk()
    desk.dispatcher.start()
    desk.think()
    desk.backlog.put(hall.ask(QUESTION, correlation=b"waits"))
    desk.backlog.put(hall.operate("cancel", user="eve", request="waits"))
    desk.backlog.put(hall.operate("cancel", request="waits"))

    desk.wait_for(desk.replies)
    desk.may_end.set()
    desk.wait_for(lambda: len(desk.replies()) == 2)

    taken_back, thought = desk.replies()
    assert (taken_back["corr"], taken_back["data"]["code"]) == ("waits", "cancelled")
    assert (thought["corr"], thought["type"]) == ("thinking", "answer")
    (refused,) = hall.bodies(TOPICS.operation_response("eve", "cancel"))
    assert refused["data"]["error"]["code"] == "request_unknown"
    (done,) = hall.bodies(TOPICS.operation_response("ada", "cancel"))
    assert (done["type"], done["data"]["final"]) == ("response", True)
    assert [request.correlation for request in hall.drafting.asked] == ["thinking"]
    assert hall.journal.unfinished() == ()


def test_a_question_may_be_taken_back_while_the_model_thinks_and_not_afterwards(
    hall: Hall, make_desk: Callable[..., Desk]
) -> None:
    desk = make_desk()
    desk.dispatcher.start()
    desk.think()
    desk.backlog.put(hall.operate("cancel", request="thinking"))
    desk.wait_for(lambda: hall.bodies(TOPICS.operation_response("ada", "cancel")))
    desk.may_end.set()
    desk.wait_for(desk.replies)
    desk.backlog.put(hall.operate("cancel", request="thinking"))
    desk.wait_for(lambda: len(hall.bodies(TOPICS.operation_response("ada", "cancel"))) == 2)

    (reply,) = desk.replies()
    assert (reply["type"], reply["data"]["code"]) == ("nothing", "cancelled")
    _, late = hall.bodies(TOPICS.operation_response("ada", "cancel"))
    assert late["data"]["error"]["code"] == "request_unknown"


@pytest.mark.parametrize("wanted", [True, False])
def test_pieces_go_to_the_stream_of_who_asked_for_them(
    hall: Hall, make_desk: Callable[..., Desk], *, wanted: bool
) -> None:
    def tell(*_: Any) -> AnswerDraft:
        attention = hall.drafting.attention
        assert attention is not None
        for _ in range(2):
            attention.tell(QUOTATION)
        return AnswerDraft("pump-guard", (QUOTATION, QUOTATION))

    hall.drafting.say = tell
    desk = make_desk()
    desk.dispatcher.start()
    desk.backlog.put(
        hall.ask(f'{{"text": "{QUESTION}", "correlation": "c-1", "stream": {str(wanted).lower()}}}')
    )
    desk.wait_for(desk.replies)

    (reply,) = desk.replies()
    bodies = [json.loads(piece.payload) for piece in desk.pieces]
    assert {(piece.topic, piece.qos, piece.retain) for piece in desk.pieces} <= {
        ("edge/v1/hall-3/reply/ada/stream", 0, False)
    }
    assert [(body["type"], body["corr"], body["data"]["seq"], body["data"]["final"]) for body in bodies] == [
        ("piece", "c-1", 0, False),
        ("piece", "c-1", 1, False),
    ] * wanted
    assert all(body["data"]["text"] in reply["data"]["text"] for body in bodies)


def test_an_order_whose_own_deadline_passed_before_it_was_handled_is_not_done(
    hall: Hall, make_desk: Callable[..., Desk]
) -> None:
    hall.ask('{"text": "set pump-1 to 40 percent", "deadline": "10s"}', correlation=b"json")
    hall.ask("set pump-1 to 30 percent", correlation=b"property", expires_at=hall.now + 10.0)
    hall.now += 11.0
    desk = make_desk()

    desk.dispatcher.start()
    desk.wait_for(lambda: len(desk.replies()) == 2)

    assert [(reply["corr"], reply["data"]["code"]) for reply in desk.replies()] == [
        ("json", "deadline"),
        ("property", "deadline"),
    ]
    assert hall.journal.open_commands() == ()
    assert hall.journal.unfinished() == ()


def test_an_alarm_counts_from_when_it_came_and_not_by_the_time_that_its_device_tells(
    hall: Hall, make_desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    observe = hall.twin.observe

    def lagging(message: Message) -> tuple[Observation, ...]:
        return tuple(replace(seen, observed_at=1.0) for seen in observe(message))

    hall.now += 2 * DEADLINE_OF_HALL_S
    monkeypatch.setattr(hall.twin, "observe", lagging)
    desk = make_desk()
    desk.dispatcher.start()
    desk.backlog.put(hall.telemetry("pump-2", vib=8.0))

    desk.wait_for(lambda: hall.bodies(TOPICS.event("shaking")))

    (event,) = hall.bodies(TOPICS.event("shaking"))
    assert event["data"].get("code") != "deadline"
    assert [request.trigger for request in hall.drafting.asked] == ["shaking"]
