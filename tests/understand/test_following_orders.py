"""Orders that rest on the one before, and orders that rest on how things are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edge_node.config.load import load_node
from edge_node.messages import CommandDraft, DeviceState, NothingDraft, Request, RequestKind
from edge_node.understand.cascade import Cascade
from edge_node.understand.recent import LASTS_S
from tests.understand.habits_world import HabitsTwin

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_node.protocols import Embedder

NODES = Path(__file__).parents[2] / "nodes"


class Talk:
    """Lets people say one thing after the other, a second apart."""

    def __init__(self, node: str, twin: HabitsTwin, embedder: Embedder) -> None:
        self.cascade = Cascade([load_node(NODES / node)], twin=twin, embedder=embedder)
        self.now = 1000.0
        self._count = 0

    def say(self, text: str, *, user: str = "ada", node: str = "") -> Any:
        self.now += 1
        self._count += 1
        request = Request(
            f"r{self._count}", RequestKind.ASK, f"m{self._count}", self.now, text=text, user=user, node=node
        )
        return self.cascade.draft(request)


def call(draft: Any) -> tuple[str, dict[str, Any]]:
    assert isinstance(draft, CommandDraft), draft
    return draft.name, dict(draft.arguments)


@pytest.fixture
def talk(embedder: Embedder) -> Callable[[str], Talk]:
    return lambda node: Talk(node, HabitsTwin(node), embedder)


@pytest.mark.parametrize(
    ("node", "before", "words", "command"),
    [
        (
            "rover",
            "turn rover 1 left 90 degrees",
            "now the other one",
            ("turn_left", {"robot": "rover-2", "degrees": 90}),
        ),
        ("rover", "stop rover 1", "and the other rover please", ("halt", {"robot": "rover-2"})),
        (
            "rover",
            "send rover 1 to the dock",
            "do the same with rover two",
            ("go_to", {"robot": "rover-2", "place": "dock"}),
        ),
        (
            "pump-guard",
            "set pump 1 to 40",
            "do the same with pump two",
            ("set_speed", {"pump": "pump-2", "percent": 40}),
        ),
        (
            "pump-guard",
            "set pump 1 to 40",
            "same for number three",
            ("set_speed", {"pump": "pump-3", "percent": 40}),
        ),
        ("pump-guard", "set pump 1 to 40", "stop it", ("stop_pump", {"pump": "pump-1"})),
        ("pump-guard", "set pump 1 to 40", "could you stop it please", ("stop_pump", {"pump": "pump-1"})),
        (
            "pump-guard",
            "set pump 1 to 40",
            "and pump 3 too",
            ("set_speed", {"pump": "pump-3", "percent": 40}),
        ),
        (
            "pump-guard",
            "set pump 1 to 40",
            "now pump three",
            ("set_speed", {"pump": "pump-3", "percent": 40}),
        ),
        ("pump-guard", "set pump 1 to 40", "make it 50", ("set_speed", {"pump": "pump-1", "percent": 50})),
        (
            "pump-guard",
            "set pump 1 to 40",
            "now to fifty percent",
            ("set_speed", {"pump": "pump-1", "percent": 50}),
        ),
        ("pump-guard", "set pump 1 to 40", "set it to 50", ("set_speed", {"pump": "pump-1", "percent": 50})),
        (
            "pump-guard",
            "set pump 2 to 40",
            "a bit slower again",
            ("set_speed", {"pump": "pump-2", "percent": 50}),
        ),
        ("pump-guard", "set pump 2 to 40", "turn it up", ("set_speed", {"pump": "pump-2", "percent": 70})),
        (
            "rover",
            "drive rover 1 forward 2 metres",
            "again",
            ("drive", {"robot": "rover-1", "distance_m": 2}),
        ),
        (
            "rover",
            "drive rover 1 forward 2 metres",
            "do that again",
            ("drive", {"robot": "rover-1", "distance_m": 2}),
        ),
        ("agv", "pause agv 7", "the other one too", ("pause", {"agv": "agv-8"})),
        ("home", "turn on the hall lamp", "turn it off", ("light_off", {"lamp": "hall_lamp"})),
        ("home", "lock the front door", "and the back door", ("lock_door", {"door": "back_door"})),
    ],
)
def test_an_order_may_rest_on_the_one_before(
    talk: Callable[[str], Talk], node: str, before: str, words: str, command: tuple[str, dict[str, Any]]
) -> None:
    said = talk(node)
    call(said.say(before))
    assert call(said.say(words)) == command


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("now the other one", "which pump do you mean: pump-2, pump-3?"),
        ("stop the other one", "which pump do you mean: pump-2, pump-3?"),
    ],
)
def test_where_several_may_be_the_other_one_it_is_asked_back(
    talk: Callable[[str], Talk], words: str, told: str
) -> None:
    said = talk("pump-guard")
    said.say("set pump 1 to 40")
    assert said.say(words) == NothingDraft("pump-guard", told, "ask_back")


@pytest.mark.parametrize(
    "words",
    [
        "stop it",
        "do the same with pump two",
        "now the other one",
        "again",
        "stop the other one",
        "turn it up",
    ],
)
def test_nothing_is_taken_from_another_person_or_from_long_ago(
    talk: Callable[[str], Talk], words: str
) -> None:
    said = talk("pump-guard")
    call(said.say("set pump 1 to 40", user="bob"))
    assert not isinstance(said.say(words), CommandDraft)
    call(said.say("set pump 1 to 40"))
    said.now += LASTS_S + 1
    assert not isinstance(said.say(words), CommandDraft)


@pytest.mark.parametrize("words", ["stop it", "do the same with pump two", "again", "stop the other one"])
def test_what_rests_on_nothing_is_asked_back(talk: Callable[[str], Talk], words: str) -> None:
    draft = talk("pump-guard").say(words)
    assert isinstance(draft, NothingDraft)
    assert draft.code == "ask_back"
    assert len(draft.reason.split()) > 3


def test_once_another_device_was_spoken_of_it_means_nothing_any_more(talk: Callable[[str], Talk]) -> None:
    said = talk("pump-guard")
    call(said.say("set pump 1 to 40"))
    said.say("why is pump 2 shaking?")
    assert not isinstance(said.say("stop it"), CommandDraft)


def test_a_question_about_the_same_device_does_not_end_the_talk_of_it(talk: Callable[[str], Talk]) -> None:
    said = talk("pump-guard")
    call(said.say("set pump 1 to 40"))
    said.say("why is pump 1 shaking?")
    assert call(said.say("stop it")) == ("stop_pump", {"pump": "pump-1"})


def test_an_order_to_another_node_is_not_filled_from_this_one(talk: Callable[[str], Talk]) -> None:
    said = talk("pump-guard")
    call(said.say("set pump 1 to 40"))
    assert not isinstance(said.say("stop it", node="rover"), CommandDraft)


@pytest.mark.parametrize(
    "words",
    [
        "don't stop it",
        "is it hot?",
        "why stop it",
        "it is fine",
        "stop it if it shakes",
        "leave it",
        "it",
        "that was it",
    ],
)
def test_it_in_a_question_a_statement_or_a_reservation_moves_nothing(
    talk: Callable[[str], Talk], words: str
) -> None:
    said = talk("pump-guard")
    call(said.say("set pump 1 to 40"))
    assert not isinstance(said.say(words), CommandDraft)


@pytest.mark.parametrize(
    ("node", "words", "command"),
    [
        ("pump-guard", "pump 2 a bit slower", ("set_speed", {"pump": "pump-2", "percent": 50})),
        (
            "pump-guard",
            "make pump two a little faster please",
            ("set_speed", {"pump": "pump-2", "percent": 70}),
        ),
        ("pump-guard", "10 percent more on pump 2", ("set_speed", {"pump": "pump-2", "percent": 70})),
        ("pump-guard", "slow pump 2 down by 15 percent", ("set_speed", {"pump": "pump-2", "percent": 45})),
        ("pump-guard", "speed up pump 2", ("set_speed", {"pump": "pump-2", "percent": 70})),
        ("pump-guard", "raise the speed of pump 2 by five", ("set_speed", {"pump": "pump-2", "percent": 65})),
        ("pump-guard", "turn pump 2 up a lot", ("set_speed", {"pump": "pump-2", "percent": 80})),
        ("pump-guard", "run pump 2 half as fast", ("set_speed", {"pump": "pump-2", "percent": 30})),
        ("pump-guard", "pump 2 down by half", ("set_speed", {"pump": "pump-2", "percent": 30})),
        ("pump-guard", "could you slow pump 2 down a bit?", ("set_speed", {"pump": "pump-2", "percent": 50})),
        ("pump-guard", "pump 2 50 percent faster", ("set_speed", {"pump": "pump-2", "percent": 110})),
        ("rover", "rover 1 a bit slower", ("set_max_speed", {"robot": "rover-1", "speed_m_s": 0.7})),
        ("rover", "rover 1 10 percent faster", ("set_max_speed", {"robot": "rover-1", "speed_m_s": 0.88})),
        (
            "home",
            "make the bathroom a bit warmer",
            ("set_heating", {"radiator": "bathroom_radiator", "degrees": 21}),
        ),
        (
            "home",
            "two degrees warmer in the office",
            ("set_heating", {"radiator": "office_radiator", "degrees": 22}),
        ),
        (
            "home",
            "close the bedroom shutter a bit",
            ("set_cover", {"cover": "bedroom_shutter", "percent": 80}),
        ),
        (
            "home",
            "turn the bathroom radiator down",
            ("set_heating", {"radiator": "bathroom_radiator", "degrees": 19}),
        ),
    ],
)
def test_more_and_less_start_from_what_the_device_reports(
    talk: Callable[[str], Talk], node: str, words: str, command: tuple[str, dict[str, Any]]
) -> None:
    assert call(talk(node).say(words)) == command


@pytest.mark.parametrize(
    "words",
    [
        "is pump 2 slower",
        "pump 2 is a bit slower",
        "not so fast, pump 2 slower",
        "pump 2 up and down",
        "pump 2 faster or slower",
        "pump 2 slower tomorrow",
        "pump 2 slower than pump 3",
        "pump 2 faster?",
        "pump 9 a bit slower",
        "pump 2 10 20 percent more",
        "pump 2 minus 10 percent more",
        "why is pump 2 slower than before",
    ],
)
def test_what_is_no_plain_wish_for_more_or_less_moves_nothing(
    talk: Callable[[str], Talk], words: str
) -> None:
    assert not isinstance(talk("pump-guard").say(words), CommandDraft)


def test_which_device_is_asked_where_several_could_go_slower(talk: Callable[[str], Talk]) -> None:
    draft = talk("pump-guard").say("a bit slower")
    assert draft == NothingDraft("pump-guard", "which pump do you mean: pump-1, pump-2, pump-3?", "ask_back")


class _Silent(HabitsTwin):
    """A twin whose values have become too old."""

    def state(self, node: str, device: str) -> DeviceState | None:
        state = super().state(node, device)
        return replace(state, fields={}, online=False) if state is not None else None


def test_a_value_that_is_not_known_now_is_asked_for(embedder: Embedder) -> None:
    draft = Talk("pump-guard", _Silent("pump-guard"), embedder).say("pump 2 a bit slower")
    assert isinstance(draft, NothingDraft)
    assert draft.code == "ask_back"
    assert draft.reason.startswith("speed of pump-2 is not known now")


def test_a_step_ends_at_the_bounds_and_says_so(talk: Callable[[str], Talk]) -> None:
    draft = talk("home").say("open the bedroom shutter a bit more")
    assert draft == NothingDraft(
        "home", "bedroom_shutter is at 100 percent already; that is as far as it goes", "ask_back"
    )
