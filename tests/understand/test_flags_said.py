"""A flag that is spoken of by its name counts as said, and nothing else does."""

from __future__ import annotations

import pytest

from edge_node.config.models import ArgumentConfig, CommandConfig, PublishConfig
from edge_node.messages import RequestKind
from edge_node.understand.grounding import Ground, unsaid

COMMAND = CommandConfig.model_construct(
    description="Book a room.",
    examples=[],
    args={"has_breakfast": ArgumentConfig.model_construct(type="boolean", optional=True)},
    publish=PublishConfig(topic="rooms", payload={}),
)


@pytest.mark.parametrize(
    ("text", "value", "counts"),
    [
        ("book a room with breakfast", True, True),
        ("book a room", True, False),
        ("book a room without breakfast", True, False),
        ("book a room with breakfast", False, False),
        ("book a room, breakfast off", False, True),
    ],
)
def test_a_flag_is_true_where_its_name_is_said_and_not_taken_back(
    text: str, *, value: bool, counts: bool
) -> None:
    ground = Ground(RequestKind.ASK, (), frozenset(), (), text)

    question = unsaid(ground, name="book", command=COMMAND, arguments={"has_breakfast": value})

    assert (question == "") is counts
