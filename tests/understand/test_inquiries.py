"""Questions that a command answers by itself, and commands that come into question."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edge_node.config.loaded import Node
from edge_node.config.models import CommandConfig, NodeConfig
from edge_node.messages import Open
from edge_node.understand.cascade import Cascade
from edge_node.understand.grounding import ground_of, unsaid
from edge_node.understand.speech import only_asks

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_node.messages import Request
    from tests.understand.conftest import HeldTwin, WordEmbedder

PUBLISH = {"topic": "desk", "payload": {}}
WEATHER = {
    "description": "Get the weather in a city.",
    "args": {"city": {"type": "string"}},
    "publish": PUBLISH,
}


def desk(**told: Any) -> Node:
    spec = {"edge_node": 1, "name": "desk", "ask": True, "commands": {"get_weather": WEATHER}, **told}
    return Node(NodeConfig.model_validate(spec), Path("desk"))


def test_a_question_may_be_meant_for_a_command_that_only_asks(
    twin: HeldTwin, embedder: WordEmbedder, ask: Callable[..., Request]
) -> None:
    cascade = Cascade([desk()], twin=twin, embedder=embedder)
    expected = Open("desk", question=False, commands=("get_weather",))
    assert cascade.draft(ask("what is the weather in the city of Oslo?")) == expected
    assert cascade.draft(ask("who painted my bike?")) == Open("", question=True)


@pytest.mark.parametrize(
    "told",
    [
        {"knowledge": ["manual/*.md"]},
        {"commands": {"set_weather": {**WEATHER, "description": "Set the weather in a city."}}},
        {"commands": {"get_weather": {**WEATHER, "args": {"city": {"device": True}}}}},
        {"commands": {"get_weather": {**WEATHER, "examples": ["weather in {city}"]}}},
    ],
)
def test_a_question_stays_one_where_a_manual_may_answer_or_something_could_move(
    told: dict[str, Any], twin: HeldTwin, embedder: WordEmbedder, ask: Callable[..., Request]
) -> None:
    cascade = Cascade([desk(**told)], twin=twin, embedder=embedder)
    assert cascade.draft(ask("what is the weather in the city of Oslo?")) == Open("", question=True)


@pytest.mark.parametrize(
    ("name", "description", "asks"),
    [
        ("get_weather", "", True),
        ("weather.lookup", "", True),
        ("findTrains", "", True),
        ("weather", "Returns the weather.", True),
        ("open_gate", "Open a gate.", False),
        ("target_set", "Set the target.", False),
    ],
)
def test_a_command_only_asks_by_its_own_words(name: str, description: str, asks: bool) -> None:  # noqa: FBT001
    assert only_asks(name, description) is asks


def test_commands_far_behind_the_nearest_one_do_not_come_into_question(
    node: Node, twin: HeldTwin, embedder: WordEmbedder, ask: Callable[..., Request]
) -> None:
    left = Cascade([node], twin=twin, embedder=embedder).draft(ask("display my greetings on pump three soon"))
    assert isinstance(left, Open)
    assert left.commands == ("show",)


def test_what_was_not_said_is_told_apart_from_a_command_in_other_words(
    node: Node, ask: Callable[..., Request]
) -> None:
    command: CommandConfig = node.spec.commands["stop"]
    ground = ground_of(ask("freeze pump 1"), devices=("pump-1", "pump-2"), fields={})
    assert unsaid(ground, name="stop", command=command, arguments={"pump": "pump-1"}) == ""
    assert "which pump" in unsaid(ground, name="stop", command=command, arguments={"pump": "pump-2"})
