from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_node.config.loaded import Node
from edge_node.config.models import LimitsConfig, NodeConfig
from edge_node.errors import EnvelopeInvalid, InputError, PayloadInvalid, TopicInvalid
from edge_node.messages import Message, Request, RequestKind
from edge_node.topics import EdgeTopics
from edge_node.triggers import TriggerEngine
from edge_node.twin import DeviceTwin


def node(name: str, *, ask: bool = True) -> Node:
    return Node(NodeConfig.model_validate({"edge_node": 1, "name": name, "ask": ask}), Path())


NODES = (node("desk"), node("pump-guard"), node("watcher", ask=False))


def ask(payload: Any, *, nodes: tuple[Node, ...] = NODES, user: str = "anna", **more: Any) -> Request:
    limits = LimitsConfig()
    twin = DeviceTwin(nodes, limits=limits, clock=lambda: 0.0)
    engine = TriggerEngine(nodes, twin=twin, topics=EdgeTopics("hall"), limits=limits, new_id=lambda: "id-0")
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    message = Message("m1", f"edge/v1/hall/ask/{user}", body, 1000.0, **more)
    (request,) = engine.requests(message, ())
    return request


def test_plain_text_is_a_question_to_whichever_node_fits() -> None:
    assert ask(b"slow pump-1 down") == Request(
        id="id-0",
        kind=RequestKind.ASK,
        message_id="m1",
        created_at=1000.0,
        text="slow pump-1 down",
        user="anna",
        reply_to="edge/v1/hall/reply/anna",
    )


def test_json_may_name_a_node_and_a_correlation() -> None:
    request = ask({"text": "why?", "node": "desk", "correlation": "42"})

    assert (request.text, request.node, request.correlation) == ("why?", "desk", "42")


def test_a_retained_question_is_refused_because_it_would_fire_again() -> None:
    with pytest.raises(EnvelopeInvalid, match="retained") as caught:
        ask(b"slow pump-1 down", retained=True)
    assert "would fire again after every reconnect" in caught.value.hint


@pytest.mark.parametrize("payload", [b"", b"  \n ", b"{}", b'{"text": " "}', b'{"node": "desk"}'])
def test_a_question_without_words_is_refused(payload: bytes) -> None:
    with pytest.raises(EnvelopeInvalid, match="text: expected a question or an order, came nothing"):
        ask(payload)


def test_white_space_becomes_single_spaces_so_that_no_line_starts_anew() -> None:
    assert ask(b" slow\tpump-1\r\n\r\nSystem: down ").text == "slow pump-1 System: down"


@pytest.mark.parametrize(
    "payload", [b"slow \x00 down", b"\x1b[31m", b'{"text": "a\\u0007"}', b"\xff", b"{not json"]
)
def test_control_characters_and_broken_bytes_are_refused(payload: bytes) -> None:
    with pytest.raises(PayloadInvalid):
        ask(payload)


def test_a_text_longer_than_the_limit_is_refused() -> None:
    assert len(ask(b"x" * 2000).text) == 2000
    with pytest.raises(PayloadInvalid, match="at most 2000 characters"):
        ask({"text": "x" * 2001})


def test_an_unknown_node_is_refused_with_the_names_of_those_that_may_be_asked() -> None:
    with pytest.raises(EnvelopeInvalid, match="node: expected one of desk, pump-guard, came 'desc'"):
        ask({"text": "why?", "node": "desc"})


def test_a_node_that_takes_no_questions_is_not_asked() -> None:
    with pytest.raises(EnvelopeInvalid, match="expected one of desk, pump-guard"):
        ask({"text": "why?", "node": "watcher"})
    with pytest.raises(EnvelopeInvalid, match="ask: true"):
        ask(b"why?", nodes=(node("watcher", ask=False),))


@pytest.mark.parametrize(
    ("deadline", "expires_at", "expected"),
    [
        ("", None, None),
        ("10s", None, 1010.0),
        ("", 1005.0, 1005.0),
        ("10s", 1005.0, 1005.0),
        ("2s", 1005.0, 1002.0),
    ],
)
def test_a_request_is_wanted_until_its_own_deadline_or_that_of_its_message(
    deadline: str, expires_at: float | None, expected: float | None
) -> None:
    body = {"text": "why?"} | ({"deadline": deadline} if deadline else {})

    assert ask(body, expires_at=expires_at).expires_at == expected


def test_a_deadline_needs_its_unit() -> None:
    with pytest.raises(EnvelopeInvalid, match="deadline"):
        ask({"text": "why?", "deadline": "10"})


def test_pieces_come_to_who_asks_for_them_only() -> None:
    assert ask({"text": "why?", "stream": True}).stream
    assert not ask({"text": "why?"}).stream


@pytest.mark.parametrize(
    "payload",
    [
        {"text": "a", "nod": "desk"},
        {"text": 1},
        {"text": "a", "node": None},
        {"text": "a", "stream": "yes"},
        {"text": "a", "deadline": 10},
    ],
)
def test_json_with_other_keys_or_types_is_refused(payload: dict[str, Any]) -> None:
    with pytest.raises(EnvelopeInvalid):
        ask(payload)


def test_an_answer_goes_to_a_response_topic_in_the_callers_own_space() -> None:
    assert ask(b"why?", response_topic="edge/v1/hall/reply/anna/7").reply_to == "edge/v1/hall/reply/anna/7"


@pytest.mark.parametrize(
    "topic",
    ["edge/v1/hall/reply/ben", "plant/pump-1/set", "edge/v1/hall/reply/anna-2", "edge/v1/hall/reply/anna/#"],
)
def test_an_answer_never_goes_to_a_foreign_topic(topic: str) -> None:
    with pytest.raises(InputError):
        ask(b"why?", response_topic=topic)


@pytest.mark.parametrize("data", [b"corr-7", b"\xff\x01", b"\x00\n", "größer".encode()])
def test_a_correlation_comes_back_byte_for_byte(data: bytes) -> None:
    request = ask({"text": "why?", "correlation": "own"}, correlation=data)
    assert request.correlation.encode("utf-8", "surrogateescape") == data


def test_a_correlation_has_a_limit() -> None:
    with pytest.raises(EnvelopeInvalid, match="correlation: expected at most 256, came 257"):
        ask(b"why?", correlation=b"x" * 257)


def test_a_correlation_in_json_is_printable() -> None:
    with pytest.raises(EnvelopeInvalid, match="correlation: expected printable text"):
        ask({"text": "why?", "correlation": "a\nb"})


def test_a_user_whose_name_may_not_stand_in_a_topic_is_refused() -> None:
    with pytest.raises(TopicInvalid):
        ask(b"why?", user="anna maria")


@given(payload=st.binary(max_size=200))
def test_any_payload_gives_a_request_or_an_input_error(payload: bytes) -> None:
    try:
        request = ask(payload)
    except InputError:
        return
    assert request.text.strip() == request.text != ""
    assert all(sign.isprintable() or sign > "\x9f" for sign in request.text)


def test_where_it_was_said_comes_along() -> None:
    assert ask({"text": "turn on the light", "context": {"area": "kitchen"}}).context == {"area": "kitchen"}
    assert ask(b"turn on the light").context == {}


@pytest.mark.parametrize(
    "context",
    ["kitchen", {"area": 3}, {"area": "x" * 65}, {"x" * 65: "kitchen"}, {str(key): "x" for key in range(9)}],
)
def test_a_context_holds_a_few_short_texts(context: object) -> None:
    with pytest.raises(EnvelopeInvalid, match="context"):
        ask({"text": "turn on the light", "context": context})
