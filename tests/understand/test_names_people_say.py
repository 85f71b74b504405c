"""Devices by the names that people have for them: aliases, rooms, floors, numbers and slips of the tongue."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_node.config.loaded import Node
from edge_node.config.models import NodeConfig
from edge_node.messages import CommandDraft, NothingDraft, Origin, TaskDraft
from edge_node.understand.cascade import Cascade
from edge_node.understand.phrases import Phrases
from edge_node.understand.spelling import corrected, one_slip

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_node.messages import Request
    from edge_node.protocols import Embedder
    from tests.understand.conftest import HeldTwin

SPEC: dict[str, Any] = {
    "edge_node": 1,
    "name": "house",
    "ask": True,
    "listen": [{"topic": "house/{thing}", "fields": {"power": "power", "level": "level"}}],
    "commands": {
        "on": {
            "description": "Switch a lamp on.",
            "examples": ["(turn|switch) on {lamp}", "(turn|switch) {lamp} on", "{lamp} on"],
            "args": {"lamp": {"device": True}},
            "publish": {"topic": "house/{lamp}/set", "payload": {}},
            "expect": {"field": "power", "equals": "ON"},
        },
        "move": {
            "description": "Move a blind.",
            "examples": ["(open|move) {cover} to {percent}", "(open|move) {cover}"],
            "args": {
                "cover": {"device": True},
                "percent": {"type": "integer", "unit": "percent", "default": 100},
            },
            "publish": {"topic": "house/{cover}/set", "payload": {}},
            "expect": {"field": "level", "equals": "percent"},
        },
    },
    "devices": {
        "zb-17": {"aliases": ["reading lamp"], "area": "downstairs/living room", "labels": {"kind": "lamp"}},
        "zb-18": {"area": "downstairs/kitchen", "labels": {"kind": "lamp"}},
        "zb-19": {"area": "upstairs/study", "labels": {"kind": "lamp"}},
        "zb-20": {"area": "downstairs/kitchen", "labels": {"kind": "blind"}},
    },
    "words": {"kind": {"lamp": ["light"], "cover": ["blind"]}, "area": {"living room": ["lounge"]}},
}
FIELDS: dict[str, dict[str, Any]] = {
    "zb-17": {"power": "OFF"},
    "zb-18": {"power": "OFF"},
    "zb-19": {"power": "OFF"},
    "zb-20": {"level": 40},
}


@pytest.fixture
def house(twin: HeldTwin, embedder: Embedder) -> Cascade:
    twin.fields = dict(FIELDS)
    return Cascade([Node(NodeConfig.model_validate(SPEC), Path("nodes/house"))], twin=twin, embedder=embedder)


@pytest.fixture
def phrases() -> Phrases:
    return Phrases(Node(NodeConfig.model_validate(SPEC), Path()), devices=tuple(sorted(FIELDS)))


@pytest.mark.parametrize(
    ("words", "lamp"),
    [
        ("turn on the reading lamp", "zb-17"),
        ("reading light on", "zb-17"),
        ("switch the light in the kitchen on", "zb-18"),
        ("turn on the kitchen light", "zb-18"),
        ("turn on the lounge lamp", "zb-17"),
        ("turn on the upstairs light", "zb-19"),
        ("light in the study on please", "zb-19"),
        ("turn on zb-18", "zb-18"),
        ("turn on zb 18", "zb-18"),
        ("turn on number eighteen", "zb-18"),
        ("turn on the kichen light", "zb-18"),
    ],
)
def test_a_lamp_is_found_by_whatever_it_is_called(
    house: Cascade, ask: Callable[..., Request], words: str, lamp: str
) -> None:
    assert house.draft(ask(words)) == CommandDraft("house", "on", {"lamp": lamp}, Origin.TEMPLATE)


def test_what_a_room_has_only_one_of_is_meant_by_its_room(
    house: Cascade, ask: Callable[..., Request]
) -> None:
    draft = house.draft(ask("open the kitchen to 30 percent"))
    assert isinstance(draft, CommandDraft)
    assert draft.arguments == {"cover": "zb-20", "percent": 30}


@pytest.mark.parametrize(
    "words", ["turn on the light", "turn on the lamp here", "light on in here", "turn on the lights"]
)
def test_the_room_of_who_asks_tells_which_lamp_is_meant(
    house: Cascade, ask: Callable[..., Request], words: str
) -> None:
    draft = house.draft(replace(ask(words), context={"area": "study"}))
    assert isinstance(draft, CommandDraft)
    assert draft.arguments == {"lamp": "zb-19"}


def test_several_lamps_that_may_be_meant_are_asked_back_by_name(
    house: Cascade, ask: Callable[..., Request]
) -> None:
    draft = house.draft(ask("turn on the light"))
    assert isinstance(draft, NothingDraft)
    assert (draft.reason, draft.code) == ("which lamp do you mean: zb-17, zb-18, zb-19?", "ask_back")
    assert [offer.arguments["lamp"] for offer in draft.offers] == ["zb-17", "zb-18", "zb-19"]


def test_the_one_that_is_meant_may_be_chosen_by_its_place(
    house: Cascade, ask: Callable[..., Request]
) -> None:
    house.draft(ask("turn on the light"))
    chosen = house.draft(ask("the last one"))
    assert isinstance(chosen, CommandDraft)
    assert (chosen.name, chosen.arguments) == ("on", {"lamp": "zb-19"})


def test_two_lamps_of_one_floor_are_asked_back(house: Cascade, ask: Callable[..., Request]) -> None:
    draft = house.draft(ask("turn on the downstairs light"))
    assert isinstance(draft, NothingDraft)
    assert (draft.reason, draft.code) == ("which lamp do you mean: zb-17, zb-18?", "ask_back")


@pytest.mark.parametrize(
    ("words", "devices"),
    [
        ("turn off all lights downstairs", ("zb-17", "zb-18")),
        ("turn off the lights in the kitchen", ("zb-18",)),
        ("turn off every lamp upstairs", ("zb-19",)),
        ("all the lamps off", ("zb-17", "zb-18", "zb-19")),
        ("open the blinds", ("zb-20",)),
        ("turn off the downstairs lamps", ("zb-17", "zb-18")),
        ("turn off the reading lamp", ()),
    ],
)
def test_a_group_of_devices_is_found_by_its_noun_and_its_place(
    phrases: Phrases, words: str, devices: tuple[str, ...]
) -> None:
    groups = phrases.groups(words)
    assert [group.values for group in groups] == ([devices] if devices else [])


@pytest.mark.parametrize(
    ("words", "lamps"),
    [
        ("turn on all lights downstairs", ["zb-17", "zb-18"]),
        ("please turn on all of the lamps", ["zb-17", "zb-18", "zb-19"]),
        ("turn on both lights downstairs", ["zb-17", "zb-18"]),
        ("turn on every light downstairs and the study lamp", ["zb-17", "zb-18", "zb-19"]),
    ],
)
def test_an_order_to_all_of_a_place_is_one_to_each_of_them(
    house: Cascade, ask: Callable[..., Request], words: str, lamps: list[str]
) -> None:
    draft = house.draft(ask(words))
    assert isinstance(draft, TaskDraft), draft
    assert [(each.name, each.arguments["lamp"]) for each in draft.drafts] == [("on", lamp) for lamp in lamps]


def test_an_order_takes_no_device_from_the_one_before_whose_name_may_mean_several(
    house: Cascade, ask: Callable[..., Request]
) -> None:
    draft = house.draft(ask("open the kitchen to 30 percent and turn on"))
    assert isinstance(draft, NothingDraft), draft
    assert draft.code == "ask_back"


@pytest.mark.parametrize("words", ["turn on both lights", "turn on both lights and the garden"])
def test_all_is_asked_back_where_it_is_not_plain_which_are_meant(
    house: Cascade, ask: Callable[..., Request], words: str
) -> None:
    draft = house.draft(ask(words))
    assert isinstance(draft, NothingDraft), draft
    assert draft.code == "ask_back"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("stop pump won", ["pump-1"]),
        ("stop pump ate", ["pump-8"]),
        ("stop pomp 2", ["pump-2"]),
        ("stop pump number 3", ["pump-3"]),
        ("stop number 3", ["pump-3"]),
        ("stop pump tow", []),
        ("stop jump 2", []),
        ("stop pump 22", []),
        ("stop pump 2.5", []),
        ("stop pump-2-40", []),
        ("won it", []),
    ],
)
def test_spoken_and_misheard_names_are_found_and_others_are_not(words: str, named: list[str]) -> None:
    spec = {**SPEC, "devices": {}, "words": {}, "commands": {}}
    node = Node(NodeConfig.model_validate(spec), Path())
    found = Phrases(node, devices=("pump-1", "pump-2", "pump-3", "pump-8")).find(words)
    assert [phrase.values[0] for phrase in found if len(phrase.values) == 1] == named


def test_ordinals_count_only_what_is_numbered_without_a_gap() -> None:
    node = Node(NodeConfig.model_validate({**SPEC, "devices": {}, "commands": {}}), Path())
    found = Phrases(node, devices=("pump-1", "pump-2", "agv-7", "agv-8")).find(
        "the second pump, the second agv"
    )
    assert next((phrase.values, phrase.start) for phrase in found) == (("pump-2",), 4)
    assert not any("agv-8" in phrase.values and len(phrase.values) == 1 for phrase in found)


@given(st.text(max_size=60))
def test_any_text_can_be_searched_for_names(text: str) -> None:
    node = Node(NodeConfig.model_validate(SPEC), Path())
    names = Phrases(node, devices=tuple(FIELDS))
    for phrase in (*names.find(text), *names.groups(text)):
        assert 0 <= phrase.start < phrase.end <= len(text)


@given(st.text(alphabet="abcdef", min_size=1, max_size=6), st.integers(0, 5), st.sampled_from("abcdef"))
def test_a_letter_added_is_one_slip_and_two_are_not(word: str, place: int, letter: str) -> None:
    place = min(place, len(word))
    longer = word[:place] + letter + word[place:]
    assert one_slip(word, longer)
    assert one_slip(longer, word)
    assert not one_slip(word, longer + "xy")


def test_a_slip_of_two_known_words_is_corrected_to_neither() -> None:
    assert corrected("pamp", ["pump", "pimp"]) == "pamp"
    assert corrected("pamp", ["pump", "lamp"]) == "pump"
