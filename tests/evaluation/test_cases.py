from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from edge_node.errors import MeasureInvalid
from edge_node.evaluation.cases import Gold, Manuals, read_cases

if TYPE_CHECKING:
    from pathlib import Path

TEXT = "# Pump\n\nGrease it every 200 hours. Use the\ngood grease. Grease it well.\n"


@pytest.fixture
def manuals(tmp_path: Path) -> Manuals:
    folder = tmp_path / "manuals"
    folder.mkdir()
    (folder / "pump.md").write_text(TEXT, encoding="utf-8")
    return Manuals(folder)


def gold(words: str, *also_in: str) -> Gold:
    start = TEXT.index(words)
    return Gold("pump.md", start, start + len(words), words, also_in)


def tells(manuals: Manuals, place: Gold, text: str, *, lines: tuple[int, int], file: str = "pump.md") -> bool:
    return manuals.tells(place, file=file, first_line=lines[0], last_line=lines[1], text=text)


def test_a_quotation_counts_where_it_shares_a_character_with_the_gold_place(manuals: Manuals) -> None:
    place = gold("every 200 hours")
    assert tells(manuals, place, "Grease it every 200 hours.", lines=(3, 3))
    assert not tells(manuals, place, "Use the good grease.", lines=(3, 4))
    assert tells(manuals, gold("the\ngood"), "Use the good grease.", lines=(3, 4))


def test_words_are_looked_for_on_the_lines_they_are_cited_from(manuals: Manuals) -> None:
    assert not tells(manuals, gold("Grease it every"), "Grease it", lines=(4, 4))
    assert tells(manuals, gold("Grease it well"), "Grease it", lines=(4, 4))


def test_words_that_are_not_found_as_they_stand_are_taken_for_their_lines(manuals: Manuals) -> None:
    assert tells(manuals, gold("200 hours"), "| Grease | 200 h |", lines=(3, 3))
    assert not tells(manuals, gold("200 hours"), "| Grease | 200 h |", lines=(4, 4))


def test_another_file_counts_only_where_it_is_named_and_holds_half_of_the_words(manuals: Manuals) -> None:
    place = gold("Grease it every 200 hours", "faq.md")
    assert tells(manuals, place, "You grease it each 200 h", lines=(1, 1), file="faq.md")
    assert not tells(manuals, place, "You may paint it", lines=(1, 1), file="faq.md")
    assert not tells(manuals, place, "Grease it every 200 hours", lines=(1, 1), file="other.md")


def case(**changes: Any) -> str:
    whole = {
        "question": "how often?",
        "answerable": True,
        "gold_file": "pump.md",
        "gold_start": 8,
        "gold_end": 20,
    }
    return json.dumps({**whole, **changes})


def test_questions_are_read_with_their_places(tmp_path: Path, manuals: Manuals) -> None:
    file = tmp_path / "cases.jsonl"
    file.write_text(
        f"{case()}\n\n{json.dumps({'question': 'who?', 'answerable': False})}\n", encoding="utf-8"
    )
    first, second = read_cases(file, manuals=manuals)
    assert first.gold == Gold("pump.md", 8, 20, "Grease it ev")
    assert (second.line, second.gold) == (3, None)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("what?", "one JSON object on each line"),
        ("[1]", "a JSON object, came [1]"),
        ('{"answerable": true}', "a key question, came answerable"),
        (case(question=" "), "question: some words"),
        (case(answerable="yes"), 'answerable: true or false, came "yes"'),
        (case(gold_file="gone.md"), "came gone.md"),
        (case(gold_start=True), "gold_start: a whole number, came true"),
        (case(gold_end=8000), "within the 72 characters of pump.md, came 8 and 8000"),
        (case(also_in=[1]), "also_in: a list of texts"),
        (case(also_in="faq.md"), "also_in: a list"),
    ],
)
def test_a_line_that_cannot_be_used_is_named_with_its_number(
    tmp_path: Path, manuals: Manuals, line: str, reason: str
) -> None:
    file = tmp_path / "cases.jsonl"
    file.write_text(f"{case()}\n{line}\n", encoding="utf-8")
    with pytest.raises(MeasureInvalid) as caught:
        read_cases(file, manuals=manuals)
    assert str(caught.value).startswith(f"{file}:2: expected")
    assert reason in str(caught.value)


def test_a_file_without_questions_or_without_text_is_named(tmp_path: Path, manuals: Manuals) -> None:
    file = tmp_path / "cases.jsonl"
    file.write_bytes(b"\n")
    with pytest.raises(MeasureInvalid, match="at least one question"):
        read_cases(file, manuals=manuals)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(MeasureInvalid, match="not UTF-8"):
        read_cases(file, manuals=manuals)
    with pytest.raises(MeasureInvalid, match="No such file"):
        read_cases(tmp_path / "gone.jsonl", manuals=manuals)
