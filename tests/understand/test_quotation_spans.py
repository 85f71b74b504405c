from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_node.messages import Passage
from edge_node.understand.quotation import lists_of, quote, spans_of


def passage(text: str, *, first_line: int = 1) -> Passage:
    return Passage("a.md", first_line, first_line + text.count("\n"), text)


def test_sentences_items_rows_and_code_are_spans_with_their_lines() -> None:
    text = (
        "# Start\n\nOpen the lid, e.g. by hand. Then\nwait 5 min.\n\n1. First\n   step.\n2. Second.\n\n"
        "| a | b |\n|---|---|\n| 1 | 2 |\n\n```\nG28 X\nM84\n```\n"
    )
    spans = [(span.text, span.first_line, span.last_line) for span in spans_of(passage(text, first_line=10))]
    assert spans == [
        ("# Start", 10, 10),
        ("Open the lid, e.g. by hand.", 12, 12),
        ("Then wait 5 min.", 12, 13),
        ("1. First step.", 15, 16),
        ("2. Second.", 17, 17),
        ("| a | b |", 19, 19),
        ("| 1 | 2 |", 21, 21),
        ("G28 X", 24, 24),
        ("M84", 25, 25),
    ]


@given(st.text(alphabet="aB .!?\n-#|`1*\t\N{SNOWMAN}", max_size=120), st.integers(min_value=1, max_value=900))
def test_every_span_can_be_quoted_from_its_passage(text: str, first_line: int) -> None:
    source = passage(text, first_line=first_line)
    for span in spans_of(source):
        found = quote(source, text=span.text)
        assert found is not None
        assert first_line <= found.first_line <= found.last_line <= first_line + text.count("\n")


def test_a_list_holds_its_items_with_all_they_say_and_ends_where_the_text_goes_on() -> None:
    text = (
        "Do this:\n\n1. Open it. Wait.\n2. Close\n   it.\n\n3. Go.\n\nThat is all.\n\n- Alone.\n\n| a | b |\n"
        "- One.\n- Two.\n"
    )
    lists = [[span.text for span in found] for found in lists_of(spans_of(passage(text)))]
    assert lists == [["1. Open it.", "Wait.", "2. Close it.", "3. Go."], ["- One.", "- Two."]]


def test_rows_are_known_with_and_without_a_last_bar() -> None:
    rows = spans_of(passage("| a | b |\n| 1 | 2\ntext"))
    assert [span.row for span in rows] == [True, True, False]
