from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from edge_node.errors import ConfigurationInvalid
from edge_node.messages import CommandDraft, NothingDraft, Open, Origin
from edge_node.understand.cascade import Cascade

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_node.config.loaded import Node
    from edge_node.messages import Request
    from edge_node.protocols import Embedder
    from tests.understand.conftest import HeldTwin, WordEmbedder


@pytest.fixture
def cascade(node: Node, twin: HeldTwin, embedder: Embedder) -> Cascade:
    return Cascade([node], twin=twin, embedder=embedder)


@pytest.mark.parametrize(
    ("words", "command", "arguments"),
    [
        ("set pump-2 to 40", "set_speed", {"pump": "pump-2", "percent": 40}),
        ("Please slow the pump two down to forty percent.", "set_speed", {"pump": "pump-2", "percent": 40}),
        ("slow number three down to 25%", "set_speed", {"pump": "pump-3", "percent": 25}),
        ("can you set pump 2 to 40?", "set_speed", {"pump": "pump-2", "percent": 40}),
        ("set pump 2 to 150", "set_speed", {"pump": "pump-2", "percent": 150}),
        ("set pump 2 to minus five", "set_speed", {"pump": "pump-2", "percent": -5}),
        ("set pump 2 to 4.5 percent", "set_speed", {"pump": "pump-2", "percent": 4.5}),
        ("set pump 2 to 1,000", "set_speed", {"pump": "pump-2", "percent": 1000}),
        ("STOP PUMP 1!", "stop", {"pump": "pump-1"}),
        ("put pump 1 into full power mode", "set_mode", {"pump": "pump-1", "mode": "full_power"}),
        ("jog pump 2 by -0.5 mm", "jog", {"pump": "pump-2", "stroke": -0.5, "pace": 0.25}),
        (
            "move pump 2 by one point five at 0.5 metres per second",
            "jog",
            {"pump": "pump-2", "stroke": 1.5, "pace": 0.5},
        ),
        ("show Hello World on pump 3", "show", {"text": "Hello World", "pump": "pump-3"}),
    ],
)
def test_a_sentence_of_a_template_is_that_command_with_what_was_said(
    cascade: Cascade, ask: Callable[..., Request], words: str, command: str, arguments: dict[str, Any]
) -> None:
    assert cascade.draft(ask(words)) == CommandDraft("pump-guard", command, arguments, Origin.TEMPLATE, 1.0)


@pytest.mark.parametrize(
    "words",
    [
        "why is pump 2 shaking?",
        "how do I set pump 2 to 40",
        "what if I set pump 2 to 40",
        "why is it hot, and set pump 2 to 40",
        "tell me how to stop pump 2",
        "is it safe to stop pump 2?",
        "can you tell me why pump 2 should stop",
        "what is it you show on pump 3?",
        "pump 2 is at 80",
        "set pump 2 to 40 or 50?",
        "good morning",
        "set pump 2 to 4.5.6?",
        "zeig mir warum die Pumpe läuft?",
        "ポンプを止めて",
        "why? set pump 2 to 40.",
    ],
)
def test_a_question_or_a_statement_never_becomes_a_command(
    cascade: Cascade, ask: Callable[..., Request], words: str
) -> None:
    assert cascade.draft(ask(words)) == Open("", question=True)


@pytest.mark.parametrize(
    "words", ["don't set pump 2 to 40", "stop pump 2 if it shakes", "set pump 2 to 40 later"]
)
def test_an_order_with_a_reservation_is_asked_back(
    cascade: Cascade, ask: Callable[..., Request], words: str
) -> None:
    draft = cascade.draft(ask(words))
    assert isinstance(draft, NothingDraft)
    assert draft.code == "ask_back"


@pytest.mark.parametrize("words", ["", "   ", "?!", "\N{GRINNING FACE}\N{FIRE}", "stop pump 2 \ud800"])
def test_a_message_without_words_is_not_understood(
    cascade: Cascade, ask: Callable[..., Request], words: str
) -> None:
    draft = cascade.draft(ask(words))
    assert isinstance(draft, NothingDraft)
    assert draft.code == "not_understood"


def test_ten_thousand_words_are_no_order_and_are_compared_with_nothing(
    cascade: Cascade, ask: Callable[..., Request], embedder: WordEmbedder
) -> None:
    before = len(embedder.embedded)
    draft = cascade.draft(ask("set pump 2 to 40 " * 2000))
    assert isinstance(draft, NothingDraft)
    assert draft.reason == "that is too long for an order; say in one sentence what is to be done"
    assert len(embedder.embedded) == before


def test_words_near_an_example_are_left_open_with_the_commands_they_may_mean(
    cascade: Cascade, ask: Callable[..., Request]
) -> None:
    matter = cascade.draft(ask("pump 2 down to 40 percent now, come on"))
    assert isinstance(matter, Open)
    assert not matter.question
    assert matter.node == "pump-guard"
    assert matter.commands[0] == "set_speed"
    assert matter.examples[0][1] == '{"command":"set_speed","arguments":{"pump":"pump-1","percent":40}}'


def test_the_examples_are_embedded_once(
    cascade: Cascade, ask: Callable[..., Request], embedder: WordEmbedder
) -> None:
    cascade.draft(ask("pump 2 down to 40 percent now"))
    first = len(embedder.embedded)
    cascade.draft(ask("pump 3 down to 40 percent now"))
    assert len(embedder.embedded) == first + 1


def test_a_template_without_a_needed_argument_asks_for_it(
    cascade: Cascade, ask: Callable[..., Request]
) -> None:
    assert cascade.draft(ask("jog pump 2")) == NothingDraft("pump-guard", "what stroke (in mm)?", "ask_back")


def test_two_commands_that_fit_equally_are_asked_back(
    make_node: Callable[..., Node], ask: Callable[..., Request], twin: HeldTwin, embedder: Embedder
) -> None:
    spec = make_node().spec.commands["stop"].model_dump(by_alias=True, exclude_unset=True)
    rest = {**spec, "description": "Rest.", "examples": ["stop {pump}"]}
    cascade = Cascade([make_node(commands={"stop": spec, "rest": rest})], twin=twin, embedder=embedder)
    draft = cascade.draft(ask("stop pump 2"))
    assert isinstance(draft, NothingDraft)
    assert draft.code == "ask_back"
    assert draft.reason == "did you mean (1) stop (pump pump-2) or (2) rest (pump pump-2)?"


def test_a_device_that_appears_can_be_ordered_at_once_and_one_that_was_never_heard_cannot(
    cascade: Cascade, ask: Callable[..., Request], twin: HeldTwin
) -> None:
    assert not isinstance(cascade.draft(ask("stop pump 9")), CommandDraft)
    twin.fields["pump-9"] = {}
    draft = cascade.draft(ask("stop pump 9"))
    assert isinstance(draft, CommandDraft)
    assert draft.arguments == {"pump": "pump-9"}


def test_an_order_before_any_device_was_heard_is_told_so_without_asking_the_model(
    cascade: Cascade, ask: Callable[..., Request], twin: HeldTwin
) -> None:
    twin.fields.clear()
    draft = cascade.draft(ask("stop pump 2"))
    assert isinstance(draft, NothingDraft)
    assert draft.code == "no_device"
    assert "pump-guard has not heard from any device yet" in draft.reason


def test_only_nodes_that_may_be_asked_are_ordered(
    make_node: Callable[..., Node], ask: Callable[..., Request], twin: HeldTwin, embedder: Embedder
) -> None:
    cascade = Cascade([make_node(ask=False)], twin=twin, embedder=embedder)
    assert isinstance(cascade.draft(ask("stop pump 2")), NothingDraft)
    assert isinstance(cascade.draft(ask("stop pump 2", node="pump-guard")), NothingDraft)
    assert isinstance(cascade.draft(ask("stop pump 2", node="nobody")), NothingDraft)


@pytest.mark.parametrize("template", ["set {pomp} to", "set (pump", "<rule> {pump}"])
def test_a_template_that_cannot_work_is_told_with_its_place(
    make_node: Callable[..., Node], twin: HeldTwin, embedder: Embedder, template: str
) -> None:
    spec = make_node().spec.commands["stop"].model_dump(by_alias=True, exclude_unset=True)
    node = make_node(commands={"stop": {**spec, "examples": [template]}})
    with pytest.raises(ConfigurationInvalid, match=r"commands\.stop\.examples\[0\]"):
        Cascade([node], twin=twin, embedder=embedder)


def test_an_alarm_does_what_its_rule_says(cascade: Cascade, alarm: Callable[..., Request]) -> None:
    draft = cascade.draft(alarm("overheating"))
    assert draft == CommandDraft("pump-guard", "set_speed", {"pump": "pump-2", "percent": 20}, Origin.RULE)


def test_a_field_in_braces_becomes_a_whole_number_only_if_it_is_one(
    cascade: Cascade, alarm: Callable[..., Request], twin: HeldTwin
) -> None:
    draft = cascade.draft(alarm("matching"))
    assert isinstance(draft, CommandDraft)
    assert draft.arguments["percent"] == 40
    assert isinstance(draft.arguments["percent"], int)
    twin.fields["pump-2"]["speed"] = 40.4
    assert isinstance(cascade.draft(alarm("matching")), NothingDraft)


def test_a_field_that_is_not_known_stops_the_rule(cascade: Cascade, alarm: Callable[..., Request]) -> None:
    draft = cascade.draft(alarm("matching", device="pump-3"))
    assert draft == NothingDraft("pump-guard", "set_speed needs speed of pump-3, which is not known now")


def test_an_alarm_may_leave_a_choice_or_an_explanation_open(
    cascade: Cascade, alarm: Callable[..., Request]
) -> None:
    chosen = Open("pump-guard", question=False, commands=("stop", "set_speed"))
    assert cascade.draft(alarm("shaking")) == chosen
    assert cascade.draft(alarm("noisy")) == Open("pump-guard", question=True)
    assert cascade.draft(alarm("telling")) == NothingDraft(
        "pump-guard", "the trigger only tells", "none_fits"
    )
