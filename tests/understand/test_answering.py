from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from edge_node.messages import AnswerDraft, Open, Passage
from edge_node.understand.answering import Answering, grammar_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_node.messages import Quotation, Request
    from tests.understand.conftest import SayingModel, WordEmbedder

ANY = Open("", question=True)
BEARINGS = Passage(
    file="manual/bearings.md",
    first_line=11,
    last_line=17,
    text=(
        "# Greasing the bearings\n\n"
        "Grease the non-drive-end bearing every 2000 hours with 10 g.\n"
        "Grease the drive-end bearing every 2000 hours with 15 g.\n\n"
        '- Use "NLGI 2" grease\\paste.\n'
        "- Wear gloves \N{SNOWMAN}."
    ),
    heading="Pump > 2. Greasing the bearings",
    node="pump-guard",
)
SEAL = Passage(
    file="manual/seal.md",
    first_line=1,
    last_line=9,
    text=(
        "## 5. Replacing the seal\n\n"
        "The work takes three hours.\n\n"
        "1. Close both valves. Drain the casing.\n"
        "2. Pull the old seal off.\n\n"
        "3. Push the new one on.\n\n"
        "A new seal may lose some drops."
    ),
    heading="Pump > 5. Replacing the seal",
    node="pump-guard",
)
PRACTICE = Passage(
    file="manual/practice.md",
    first_line=1,
    last_line=6,
    text=(
        "Can a pump run without water? No: the seal is destroyed.\n\n"
        "Causes of a low pressure:\n\n"
        "- The strainer is blocked.\n"
        "- The wear ring is worn."
    ),
    node="pump-guard",
)


@pytest.fixture
def answering(embedder: WordEmbedder, model: SayingModel) -> Answering:
    return Answering(embedder=embedder, model=model)


def quoted(draft: AnswerDraft) -> list[str]:
    return [quotation.text for quotation in draft.quotations]


def test_an_answer_cites_the_lines_it_stands_on(answering: Answering, ask: Callable[..., Request]) -> None:
    draft, _ = answering.draft(ask("how much grease for the drive-end bearing?"), ANY, (BEARINGS,))
    first = draft.quotations[0]
    assert draft.node == "pump-guard"
    assert "Grease the drive-end bearing every 2000 hours with 15 g." in first.text
    assert first.file == "manual/bearings.md"
    assert first.last_line == 14


def test_a_joined_word_is_not_taken_for_a_longer_one(
    answering: Answering, ask: Callable[..., Request]
) -> None:
    for end, amount in (("drive-end", "15 g"), ("non-drive-end", "10 g")):
        _, record = answering.draft(ask(f"how often is the {end} bearing greased?"), ANY, (BEARINGS,))
        evidence = record["evidence"]
        assert isinstance(evidence, list)
        assert amount in evidence[0]["text"]


def test_a_question_how_to_gets_all_steps_under_the_heading_that_names_it(
    answering: Answering, model: SayingModel, ask: Callable[..., Request]
) -> None:
    draft, _ = answering.draft(ask("how to: replacing the seal?"), ANY, (BEARINGS, SEAL))
    (found,) = draft.quotations
    assert found.text == (
        "1. Close both valves. Drain the casing. 2. Pull the old seal off. 3. Push the new one on."
    )
    assert (found.first_line, found.last_line) == (5, 8)
    assert not model.prompts


def test_a_question_that_the_manual_asks_itself_is_quoted_with_its_answer(
    answering: Answering, ask: Callable[..., Request]
) -> None:
    draft, _ = answering.draft(ask("can the pump run without water"), ANY, (PRACTICE, SEAL))
    assert quoted(draft)[0] == "Can a pump run without water? No: the seal is destroyed."


def test_a_sentence_that_opens_a_list_is_quoted_with_the_list(
    answering: Answering, ask: Callable[..., Request]
) -> None:
    draft, _ = answering.draft(ask("causes of low pressure"), ANY, (PRACTICE,))
    assert quoted(draft)[0] == (
        "Causes of a low pressure: - The strainer is blocked. - The wear ring is worn."
    )


def test_what_is_much_weaker_than_the_best_is_not_quoted(
    answering: Answering, ask: Callable[..., Request]
) -> None:
    draft, _ = answering.draft(ask("is the strainer blocked?"), ANY, (PRACTICE, BEARINGS, SEAL))
    assert quoted(draft) == ["- The strainer is blocked."]


def test_a_row_of_a_table_is_quoted_alone(answering: Answering, ask: Callable[..., Request]) -> None:
    rows = Passage(
        "a.html", 1, 3, "| Casing bolts torque | 68 Nm\n| Motor feet torque | 72 Nm\n| Plug torque | 9 Nm"
    )
    draft, _ = answering.draft(ask("torque of the motor feet?"), ANY, (rows,))
    assert quoted(draft)[0] == "| Motor feet torque | 72 Nm"


@pytest.mark.parametrize("question", ["nice weather today", "what is the capital of France?", "why?"])
def test_a_question_that_the_manuals_do_not_answer_is_declined_without_the_model(
    answering: Answering, model: SayingModel, ask: Callable[..., Request], question: str
) -> None:
    draft, record = answering.draft(ask(question), ANY, (BEARINGS, SEAL, PRACTICE))
    assert draft == AnswerDraft("pump-guard")
    assert record["chosen"] == "nothing tells it"
    assert answering.draft(ask(question), ANY, ())[0] == AnswerDraft("")
    assert not model.prompts


def near_ties() -> tuple[Passage, ...]:
    return tuple(
        Passage(f"{name}.md", 4, 4, f'The valve opens "slowly" on side {name}.', score=1.0) for name in "abc"
    )


def test_of_places_that_tell_it_equally_well_the_model_says_which_stands_first(
    answering: Answering, model: SayingModel, ask: Callable[..., Request]
) -> None:
    model.text = '[2] The valve opens "slowly" on side b.'
    draft, record = answering.draft(ask("how does the valve open?"), ANY, near_ties())
    assert [quotation.file for quotation in draft.quotations] == ["b.md", "a.md", "c.md"]
    assert record["text"] == model.text


@pytest.mark.parametrize("text", ["[2] The valve opens at once.", "[9] The valve", "[2]", ""])
def test_words_that_do_not_stand_in_the_manual_are_never_published(
    answering: Answering, model: SayingModel, ask: Callable[..., Request], text: str
) -> None:
    model.text = text
    draft, _ = answering.draft(ask("how does the valve open?"), ANY, near_ties())
    assert [quotation.file for quotation in draft.quotations] == ["a.md", "b.md", "c.md"]


def test_what_does_not_fit_the_context_is_not_put_to_the_model(
    answering: Answering, model: SayingModel, ask: Callable[..., Request]
) -> None:
    model.context = 10
    draft, record = answering.draft(ask("how does the valve open?"), ANY, near_ties())
    assert len(draft.quotations) == 3
    assert not model.prompts
    assert record["left_out"] == {"excerpts": 2}


def test_the_weakest_are_left_out_where_not_all_fit_the_context(
    answering: Answering, model: SayingModel, ask: Callable[..., Request]
) -> None:
    answering.draft(ask("how does the valve open?"), ANY, near_ties())
    model.context = model.count(model.prompts[0]) + 256 - 1
    model.text = '[2] The valve opens "slowly" on side b.'
    draft, record = answering.draft(ask("how does the valve open?"), ANY, near_ties())
    assert [quotation.file for quotation in draft.quotations] == ["b.md", "a.md", "c.md"]
    assert "side b" in model.prompts[1][1].content
    assert "side c" not in model.prompts[1][1].content
    assert record["left_out"] == {"excerpts": 1}


def test_the_grammar_lets_the_model_write_whole_excerpts_only() -> None:
    source = grammar_for(['Turn it "off".', "Wear gloves \N{SNOWMAN}."]).source
    choices = [json.loads(choice) for choice in source.strip().removeprefix("start: ").split(" | ")]
    assert choices == ['[1] Turn it "off".', "[2] Wear gloves \N{SNOWMAN}."]


def test_what_will_be_quoted_is_told_before_the_model_chooses_what_stands_first(
    answering: Answering, model: SayingModel, ask: Callable[..., Request]
) -> None:
    class Listening:
        """Hears quotations, and what the model had read by then."""

        waited_s = 0.0

        def __init__(self) -> None:
            self.heard: list[tuple[str, int]] = []

        def check(self) -> None:
            """It is wanted for ever."""

        def settle(self) -> None:
            """It counts."""

        def tell(self, quotation: Quotation) -> None:
            self.heard.append((quotation.file, len(model.prompts)))

    attention = Listening()
    model.text = '[2] The valve opens "slowly" on side b.'

    draft, _ = answering.draft(ask("how does the valve open?"), ANY, near_ties(), attention=attention)

    assert attention.heard == [("a.md", 0), ("b.md", 0), ("c.md", 0)]
    assert [quotation.file for quotation in draft.quotations] == ["b.md", "a.md", "c.md"]
