"""What cannot be used, sent to a running service: one clear error to its sender, and the service goes on."""

from __future__ import annotations

import itertools
import json
import secrets
from typing import TYPE_CHECKING

import pytest

from tests.integration.conftest import FOREIGN, Plant
from tests.integration.edges import ANSWER_S, QUESTION, data_of, last_reply

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_node.messages import Message

pytestmark = [pytest.mark.broker, pytest.mark.models]

DENIED_ORDER = "set pump two to 150 percent"
DEEP = b"[" * 10_000 + b"]" * 10_000
UNREADABLE = {
    "not UTF-8": (b"\xff\xfe\xfa", "UTF-8"),
    "10 MB long": (b"a" * 10_000_000, "10000000 bytes"),
    "empty": (b"", "nothing"),
    "not JSON": (b'{"text": "hello', "JSON"),
    "10,000 levels deep": (b'{"text": ' + DEEP + b"}", "levels of nesting"),
    "a name twice": (b'{"text": "a", "text": "b"}', "'text' twice"),
    "not a number": (b'{"text": NaN}', "NaN"),
}
ONLY_QUESTIONS = {
    "unknown node": (json.dumps({"text": QUESTION, "node": "nobody"}).encode(), "pump-guard"),
    "unknown key": (b'{"text": "hello", "rights": "all"}', "rights"),
    "5,000 characters": (b"how " * 1250, "at most 2000 characters"),
    "control character": (b"stop \x1b[2J pump two", "U+001B"),
}
MOST = 60
"""Naughty strings that are sent; most of them take the model a fifth of a second."""
_counter = itertools.count()


def _told(plant: Plant, topic: str, *, since: int) -> list[Message]:
    return [message for message in plant.observer.said[since:] if message.topic == topic]


def _serves(plant: Plant) -> None:
    """See that an order sent now is handled, and with it everything that was sent before."""
    with plant.edge.client(f"passer-by-{next(_counter)}") as client:
        data = last_reply(client, DENIED_ORDER).data
    assert data["state"] == "denied"
    # The command's own topic is told last: nothing of this order is still under way after it.
    told = _on(plant.edge.topics.command(data["command_id"]))
    assert plant.observer.wait_for(told, timeout_s=ANSWER_S) is not None


def _on(topic: str) -> Callable[[Message], bool]:
    return lambda message: message.topic == topic


def _any_command(plant: Plant) -> Callable[[Message], bool]:
    """Return what is true for a message that tells of a command, or that is one."""
    return lambda message: (
        message.topic.startswith(plant.edge.topics.command("")) or message.topic.endswith("/set")
    )


@pytest.mark.parametrize(
    ("payload", "says"), (UNREADABLE | ONLY_QUESTIONS).values(), ids=UNREADABLE | ONLY_QUESTIONS
)
def test_a_question_that_cannot_be_used_gets_one_error_on_the_reply_topic(
    payload: bytes, says: str, plant: Plant
) -> None:
    since, user, topics = len(plant.observer.said), f"clumsy-{next(_counter)}", plant.edge.topics
    plant.speaker.say(topics.ask(user), payload)
    error = plant.observer.wait_for(
        lambda message: message.topic == topics.reply(user), timeout_s=ANSWER_S, since=since
    )
    assert error is not None
    assert says in data_of(error)["text"]
    assert data_of(error)["final"] is True
    assert set(data_of(error)["error"]) == {"code", "message", "hint", "field", "retryable"}
    _serves(plant)
    assert len(_told(plant, topics.reply(user), since=since)) == 1


@pytest.mark.parametrize(("payload", "says"), UNREADABLE.values(), ids=UNREADABLE)
def test_a_reading_that_cannot_be_used_becomes_one_dead_letter(
    payload: bytes, says: str, plant: Plant
) -> None:
    since, topic = len(plant.observer.said), f"plant/pump-{secrets.token_hex(4)}/telemetry"
    dead = plant.edge.topics.dead("payload_invalid")
    plant.speaker.say(topic, payload)
    letter = plant.observer.wait_for(lambda message: message.topic == dead, timeout_s=ANSWER_S, since=since)
    assert letter is not None
    assert data_of(letter)["topic"] == topic
    assert says in data_of(letter)["text"]
    _serves(plant)
    assert len(_told(plant, dead, since=since)) == 1


def test_a_retained_question_is_refused_when_the_broker_brings_it_up_again(plant: Plant) -> None:
    topics = plant.edge.topics
    plant.speaker.say(topics.ask("forgetful"), DENIED_ORDER.encode(), retain=True)
    _serves(plant)
    since = len(plant.observer.said)
    try:
        assert plant.edge.stop() == 0
        plant.edge.start(plant.observer)
        error = plant.observer.wait_for(
            lambda message: message.topic == topics.reply("forgetful"), timeout_s=ANSWER_S, since=since
        )
    finally:
        plant.speaker.say(topics.ask("forgetful"), b"", retain=True)
    assert error is not None
    assert data_of(error)["error"]["field"] == "retain"
    assert plant.observer.wait_for(_any_command(plant), timeout_s=0.0, since=since) is None


def test_a_topic_that_no_node_listens_to_any_more_is_passed_over(plant: Plant) -> None:
    since = len(plant.observer.said)
    plant.speaker.say(FOREIGN, b"\xff not for you")
    _serves(plant)
    assert {"event": "connected", "session_present": True}.items() <= plant.edge.first("connected").items()
    dead = [message for message in plant.observer.said[since:] if "/dead/" in message.topic]
    assert FOREIGN not in {data_of(message)["topic"] for message in dead}


@pytest.mark.parametrize(
    "words",
    [
        "🔥🔥🔥",
        "停止二号泵",
        "أوقف المضخة",
        "ปั๊ม",
        "\u200b\u202egnirts",
        "Ж" * 1_999,
        "\U0001f469\u200d\U0001f527 stop \U0001f469\u200d\U0001f527",
    ],
    ids=["emoji", "Han", "Arabic", "Thai", "right to left override", "Cyrillic, long", "joined emoji"],
)
def test_other_scripts_are_answered_and_move_nothing(words: str, plant: Plant) -> None:
    since = len(plant.observer.said)
    with plant.edge.client(f"traveller-{next(_counter)}") as client:
        reply = last_reply(client, words)
    assert reply.kind in {"answer", "nothing", "error"}
    assert reply.text
    assert plant.observer.wait_for(_any_command(plant), timeout_s=0.0, since=since) is None


def test_naughty_strings_are_each_answered_and_none_moves_anything(plant: Plant, shared_eval: Path) -> None:
    file = shared_eval / "adversarial" / "naughty_strings.json"
    strings: list[str] = json.loads(file.read_text(encoding="utf-8"))
    chosen = strings[:: max(1, len(strings) // MOST)][:MOST]
    since, topics = len(plant.observer.said), plant.edge.topics
    names = [f"naughty-{next(_counter)}" for _ in chosen]
    for name, words in zip(names, chosen, strict=True):
        plant.speaker.say(topics.ask(name), words.encode("utf-8", "surrogatepass"))
    for name in names:
        topic = topics.reply(name)
        assert plant.observer.wait_for(_on(topic), timeout_s=ANSWER_S, since=since), name
    assert plant.observer.wait_for(_any_command(plant), timeout_s=0.0, since=since) is None


def test_after_all_that_a_question_is_answered(plant: Plant) -> None:
    with plant.edge.client("ada") as client:
        assert "2,000 operating hours" in last_reply(client, QUESTION).text
