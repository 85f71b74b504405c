"""Orders understood by the examples that a node was given."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edge_node.config.loaded import Node, SpokenExample
from edge_node.config.models import NodeConfig
from edge_node.messages import CommandDraft, DeviceState, NothingDraft, Open, Origin
from edge_node.understand.cascade import Cascade
from edge_node.understand.values import digits, whole_parts
from edge_node.understand.vocabulary import Vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_node.messages import Request
    from edge_node.protocols import Embedder
    from tests.understand.conftest import HeldTwin

PUBLISH = {"topic": "barn/set", "payload": {}}
SPEC: dict[str, Any] = {
    "edge_node": 1,
    "name": "barn",
    "ask": True,
    "commands": {
        "vent": {
            "description": "Move a flap to an opening in percent.",
            "args": {
                "flap": {"device": True, "optional": True},
                "area": {"type": "string", "optional": True},
                "percent": {"type": "integer", "minimum": 0.0, "maximum": 100.0, "unit": "percent"},
            },
            "publish": PUBLISH,
        },
        "heat": {
            "description": "Warm a stall for a while.",
            "args": {
                "area": {"type": "string", "optional": True},
                "minutes": {"type": "integer", "optional": True},
                "hours": {"type": "integer", "optional": True},
            },
            "publish": PUBLISH,
        },
        "call": {
            "description": "Say a message over the loudspeakers.",
            "args": {"message": {"type": "string"}},
            "publish": PUBLISH,
        },
    },
    "devices": {
        "flap-n": {"aliases": ["north flap", "the big flap"], "labels": {"area": "goat barn"}},
        "flap-s": {"aliases": ["south flap"], "labels": {"area": "hay loft"}},
    },
    "words": {"area": {"goat barn": ["goats"], "hay loft": []}},
}


def _said(
    utterance: str, command: str, /, *, context: dict[str, str] | None = None, **arguments: Any
) -> SpokenExample:
    return SpokenExample(utterance, command, arguments, context or {})


EXAMPLES = (
    _said("open the north flap to 30 percent", "vent", flap="flap-n", percent=30),
    _said("move the south flap to 70 percent", "vent", flap="flap-s", percent=70),
    _said("put north flap at 20", "vent", flap="flap-n", percent=20),
    _said("open the flaps in the hay loft to 50 percent", "vent", area="hay loft", percent=50),
    _said("open the flaps in the goat barn to 10 percent", "vent", area="goat barn", percent=10),
    _said("warm the goat barn for 20 minutes", "heat", area="goat barn", minutes=20),
    _said("warm the hay loft for 2 hours", "heat", area="hay loft", hours=2),
    _said("warm it for 10 minutes", "heat", context={"area": "hay loft"}, area="hay loft", minutes=10),
    _said("heating in the goat barn for 5 minutes", "heat", area="goat barn", minutes=5),
    _said("tell everyone that dinner is ready", "call", message="dinner is ready"),
    _said("tell everyone that we leave now", "call", message="we leave now"),
    _said("announce that the vet is here", "call", message="the vet is here"),
    SpokenExample("is the flap jammed"),
    SpokenExample("how warm do goats like it"),
)


class _Flaps:
    """A twin with two flaps."""

    def state(self, node: str, device: str) -> DeviceState | None:
        return DeviceState(node, device, {}, seen_at=1.0, online=True)

    def devices(self, node: str) -> tuple[str, ...]:
        del node
        return ("flap-n", "flap-s")


@pytest.fixture
def barn(embedder: Embedder) -> Cascade:
    node = Node(NodeConfig.model_validate(SPEC), Path("nodes/barn"), EXAMPLES)
    twin: Any = _Flaps()
    return Cascade([node], twin=twin, embedder=embedder)


@pytest.mark.parametrize(
    ("words", "command", "arguments"),
    [
        ("open the south flap to 45 percent", "vent", {"flap": "flap-s", "percent": 45}),
        ("please move the big flap to sixty percent", "vent", {"flap": "flap-n", "percent": 60}),
        ("open the flaps in the hay loft to 80 percent", "vent", {"area": "hay loft", "percent": 80}),
        ("warm the hay loft for fifteen minutes", "heat", {"area": "hay loft", "minutes": 15}),
        ("warm the goats for 3 hours", "heat", {"area": "goat barn", "hours": 3}),
        ("warm the goat barn for half an hour", "heat", {"area": "goat barn", "minutes": 30}),
        ("tell everyone that Lunch is late", "call", {"message": "Lunch is late"}),
        ("open the nroth flap to 30 percent", "vent", {"flap": "flap-n", "percent": 30}),
    ],
)
def test_an_order_like_an_example_takes_its_arguments_from_its_own_words(
    barn: Cascade, ask: Callable[..., Request], words: str, command: str, arguments: dict[str, Any]
) -> None:
    draft = barn.draft(ask(words))

    assert isinstance(draft, CommandDraft), draft
    assert (draft.name, draft.arguments, draft.origin) == (command, arguments, Origin.NEAREST)
    assert 0.5 <= draft.confidence <= 1.0


def test_the_room_of_who_asks_stands_in_where_no_place_is_said(
    barn: Cascade, ask: Callable[..., Request]
) -> None:
    request = replace(ask("warm it for 25 minutes"), context={"area": "goat barn"})

    draft = barn.draft(request)

    assert isinstance(draft, CommandDraft)
    assert draft.arguments == {"area": "goat barn", "minutes": 25}


@pytest.mark.parametrize(
    "words",
    [
        "is the south flap jammed",
        "how warm do hens like it",
        "what is the capital of Peru",
        "my sister bought a new tractor",
        "don't open the north flap to 30 percent",
        "open the north flap to 30 percent if it rains",
        "paint the barn doors purple with a brush",
        "🐐 🐐 🐐",
        "открой северную заслонку",
        " ".join(["open the north flap to 30 percent"] * 1500),
    ],
)
def test_questions_chat_reservations_and_noise_propose_nothing(
    barn: Cascade, ask: Callable[..., Request], words: str
) -> None:
    assert not isinstance(barn.draft(ask(words)), CommandDraft)


def test_what_is_wanted_and_was_not_said_is_asked_for(barn: Cascade, ask: Callable[..., Request]) -> None:
    draft = barn.draft(ask("open the north flap"))

    assert isinstance(draft, NothingDraft | Open)
    if isinstance(draft, NothingDraft):
        assert draft.code == "ask_back"
        assert "percent" in draft.reason


def test_a_device_of_which_two_are_named_is_never_guessed(barn: Cascade, ask: Callable[..., Request]) -> None:
    draft = barn.draft(ask("open the north flap and the south flap to 30 percent"))

    assert not isinstance(draft, CommandDraft)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("wait half an hour", "wait 30 minutes"),
        ("5 and a half minutes", "5 minutes 30 seconds"),
        ("a quarter of an hour", "15 minutes"),
        ("half the pumps", "half the pumps"),
        ("1/2 a minute", "30 seconds"),
    ],
)
def test_parts_of_a_time_become_whole_smaller_units(said: str, meant: str) -> None:
    assert whole_parts(digits(said)) == meant


def test_a_name_of_several_words_wins_over_the_place_in_it(twin: HeldTwin) -> None:
    del twin
    devices = {"lamp-1": {"aliases": ["kitchen lamp"], "labels": {"area": "kitchen"}}}
    node = Node(NodeConfig.model_validate({**SPEC, "devices": devices}), Path())

    sentence = Vocabulary(node, devices=("lamp-1",)).read("dim the kitchen lamps in the kitchen")

    assert [(mark.kind, mark.values) for mark in sentence.marks] == [
        ("device", ("lamp-1",)),
        ("area", ("kitchen",)),
    ]


def test_the_model_is_shown_the_examples_of_the_node_that_are_nearest(
    barn: Cascade, ask: Callable[..., Request]
) -> None:
    matter = barn.draft(ask("move a flap to an opening: the flap north gently, in percent, and do it well"))

    assert isinstance(matter, Open)
    assert not matter.question
    assert matter.commands[0] == "vent"
    said = {example.utterance: example for example in EXAMPLES}
    taught = [(said[sentence], call) for sentence, call in matter.examples if sentence in said]
    assert taught
    for example, call in taught:
        meant = {"command": example.command, "arguments": example.arguments} if example.command else None
        assert json.loads(call) == (meant or {"command": "none"})
    assert taught[0][0].command == "vent"
