from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from edge_node.messages import CommandDraft, NothingDraft, Origin, Request, RequestKind
from edge_node.understand.cascade import Cascade
from edge_node.understand.offers import LASTS_S, Offers, which_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_node.config.loaded import Node
    from edge_node.protocols import Embedder
    from tests.understand.conftest import HeldTwin

STOP = CommandDraft("pump-guard", "stop", {"pump": "pump-2"}, Origin.TEMPLATE)
REST = CommandDraft("pump-guard", "rest", {"pump": "pump-3"}, Origin.TEMPLATE)


def says(text: str, *, user: str = "ada", at: float = 10.0, node: str = "") -> Request:
    return Request("r", RequestKind.ASK, "m", at, node=node, text=text, user=user)


@pytest.fixture
def offers() -> Offers:
    made = Offers()
    made.keep(says("stop it", at=0.0), which_of([STOP, REST]))
    return made


def test_a_question_with_two_answers_numbers_them() -> None:
    question = which_of([STOP, REST])
    assert question.reason == "did you mean (1) stop (pump pump-2) or (2) rest (pump pump-3)?"
    assert (question.code, question.offers) == ("ask_back", (STOP, REST))


@pytest.mark.parametrize(
    ("words", "chosen"),
    [
        ("1", STOP),
        ("two", REST),
        ("(2)", REST),
        ("number one please", STOP),
        ("Option 2.", REST),
        ("the first", STOP),
        ("the second one", REST),
        ("the last one", REST),
        ("pump two", STOP),
        ("the pump-3", REST),
        ("rest", REST),
    ],
)
def test_a_number_a_place_or_a_name_chooses(offers: Offers, words: str, chosen: CommandDraft) -> None:
    assert offers.chosen(says(words)) == chosen


@pytest.mark.parametrize("words", ["yes", "OK", "3", "the fourth one", "do it"])
def test_what_chooses_none_of_several_is_asked_again(offers: Offers, words: str) -> None:
    again = offers.chosen(says(words))
    assert isinstance(again, NothingDraft)
    assert again.offers == (STOP, REST)


@pytest.mark.parametrize("words", ["no", "neither", "never mind", "none of them"])
def test_a_no_does_nothing(offers: Offers, words: str) -> None:
    said = offers.chosen(says(words))
    assert isinstance(said, NothingDraft)
    assert said.offers == ()


@pytest.mark.parametrize(
    "words", ["", "2?", "stop pump 1", "why the first", "yes and no", "pump", "12", "-1", "yes " * 40, "1️⃣"]
)
def test_other_words_choose_nothing(offers: Offers, words: str) -> None:
    assert offers.chosen(says(words)) is None


def test_yes_takes_what_alone_was_offered(offers: Offers) -> None:
    offers.keep(says("stop pump 2?"), which_of([STOP]))
    assert offers.chosen(says("yes", at=20.0)) == STOP


def test_nobody_else_may_choose(offers: Offers) -> None:
    assert offers.chosen(says("1", user="bob")) is None
    assert offers.chosen(says("1", user="")) is None
    assert offers.chosen(says("1", node="rover")) is None


def test_an_offer_expires(offers: Offers) -> None:
    assert offers.chosen(says("1", at=LASTS_S)) == STOP
    assert offers.chosen(says("1", at=LASTS_S + 1)) is None


def test_an_offer_ends_with_the_next_reply(offers: Offers) -> None:
    offers.keep(says("what is that"), NothingDraft("", "a question"))
    assert offers.chosen(says("1")) is None


def test_the_offers_of_few_people_are_kept() -> None:
    offers = Offers()
    for number in range(300):
        offers.keep(says("stop it", user=f"user-{number}"), which_of([STOP]))
    assert offers.chosen(says("yes", user="user-0")) is None
    assert offers.chosen(says("yes", user="user-299")) == STOP


@pytest.fixture
def cascade(make_node: Callable[..., Node], node: Node, twin: HeldTwin, embedder: Embedder) -> Cascade:
    commands: dict[str, Any] = {
        name: command.model_dump(by_alias=True, exclude_defaults=True)
        for name, command in node.spec.commands.items()
    }
    commands["rest"] = {**commands["stop"], "description": "Let a pump rest."}
    return Cascade([make_node(commands=commands)], twin=twin, embedder=embedder)


def test_a_choice_becomes_the_command_once(cascade: Cascade, ask: Callable[..., Request]) -> None:
    asked = cascade.draft(ask("stop pump two"))
    assert isinstance(asked, NothingDraft)
    assert len(asked.offers) == 2

    chosen = cascade.draft(ask("the second"))
    assert isinstance(chosen, CommandDraft)
    assert (chosen.name, chosen.arguments) == ("rest", {"pump": "pump-2"})
    assert not isinstance(cascade.draft(ask("the second")), CommandDraft)


def test_a_choice_of_another_person_is_none(cascade: Cascade, ask: Callable[..., Request]) -> None:
    cascade.draft(ask("stop pump two"))
    assert not isinstance(cascade.draft(replace(ask("the second"), user="bob")), CommandDraft)
