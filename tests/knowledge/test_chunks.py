"""Documents are cut where a reader would cut them, and nothing is lost."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_node.errors import DocumentUnreadable
from edge_node.knowledge.chunks import Size, chunks
from edge_node.knowledge.documents import document
from edge_node.knowledge.values import Chunk, Document, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

_MARKS = st.sampled_from(
    [
        *("# A", "## B", "---", "===", "title: T", "```", "~~~", "- item", "1. one", "| a | b |", "    code"),
        *("::", "", ".. note::", "<!-- c", "-->", "<p>", "</p>", "<h1>", "<script>", "</script>", "	"),
        *("word " * 60, "x" * 700),
    ]
)
_TEXTS = st.lists(_MARKS | st.text(max_size=30), max_size=40).map("\n".join)


def _written(lines: Sequence[str], chunk: Chunk) -> list[int]:
    return [number for number in range(chunk.first_line, chunk.last_line + 1) if lines[number - 1].strip()]


def _chunks(text: str, *, file: str = "manual/pump.md", size: Size | None = None) -> tuple[Chunk, ...]:
    return chunks(document(text.encode(), file=file), size=size)


@settings(max_examples=300, deadline=None)
@given(
    text=_TEXTS,
    suffix=st.sampled_from(["md", "rst", "txt", "html"]),
    longest=st.sampled_from([60, 300, 1300]),
)
def test_every_written_line_lies_in_a_chunk_and_every_chunk_says_what_its_lines_say(
    text: str, suffix: str, longest: int
) -> None:
    try:
        read = document(text.encode("utf-8", "replace"), file=f"a.{suffix}")
    except DocumentUnreadable:
        return
    size = Size(target=longest * 2 // 3, longest=longest, least=longest // 6, overlap=longest // 6)
    lines = read.pages[0].lines
    unseen = {number: line for number, line in enumerate(lines, start=1) if line.strip()}
    for chunk in chunks(read, size=size):
        there = "\n".join(lines[chunk.first_line - 1 : chunk.last_line])
        assert 1 <= chunk.first_line <= chunk.last_line <= len(lines)
        assert chunk.text.strip()
        assert chunk.text in there
        assert any(number in unseen for number in _written(lines, chunk)) or len(there) >= longest
        for number in range(chunk.first_line, chunk.last_line + 1):
            unseen.pop(number, None)
    assert unseen == {}


@given(line=st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), max_size=3000))
def test_the_parts_of_a_long_line_make_up_the_line(line: str) -> None:
    read = Document("a.txt", document(f"x{line}".encode(), file="a.txt").pages) if "\0" not in line else None
    if read is None:
        return
    joined = "".join(
        chunk.text for chunk in chunks(read, size=Size(target=80, longest=100, least=10, overlap=0))
    )

    assert joined.replace(" ", "") == read.pages[0].lines[0].replace(" ", "")


def test_a_chunk_names_the_headings_above_it() -> None:
    found = _chunks(
        "# Pump\n\n## Bearing ##\n\n"
        + "Hot. " * 60
        + "\n\n### Oil\n\n"
        + "Fill. " * 60
        + "\n\n## Seal\n\nDry.\n"
    )

    assert [(chunk.first_line, chunk.last_line, chunk.heading) for chunk in found] == [
        (1, 5, "Pump > Bearing"),
        (7, 9, "Pump > Bearing > Oil"),
        (11, 13, "Pump > Seal"),
    ]
    assert found[2].context == "pump > Pump > Seal"


def test_a_hash_in_a_code_block_is_no_heading() -> None:
    found = _chunks("# Setup\n\n```sh\n# not a heading\nrun\n```\n\nDone.\n")

    assert [chunk.heading for chunk in found] == ["Setup"]


def test_code_and_tables_stay_whole_where_they_fit() -> None:
    code = "\n".join(["```", *(f"line {number}" for number in range(60)), "```"])
    table = "\n".join(["| a | b |", "|---|---|", *(f"| {number} | value |" for number in range(40))])
    found = _chunks(f"# A\n\n{'word ' * 100}\n\n{code}\n\n{'word ' * 100}\n\n{table}\n")

    assert any(code in chunk.text for chunk in found)
    assert any(table in chunk.text for chunk in found)


def test_a_long_section_says_its_last_lines_again() -> None:
    text = "# A\n\n" + "\n".join(f"- step {number} of the long procedure" for number in range(100))
    found = _chunks(text)

    assert len(found) > 2
    for one, following in pairwise(found):
        assert one.first_line < following.first_line <= one.last_line


def test_short_sections_share_a_chunk() -> None:
    found = _chunks("# Codes\n\n## E1\n\nNo water.\n\n## E2\n\nToo hot.\n")

    assert [(chunk.first_line, chunk.last_line) for chunk in found] == [(1, 9)]


def test_the_title_of_front_matter_stands_above_everything() -> None:
    found = _chunks("---\ntitle: 'Guide'\ntag: g1\nnotes:\n- Needs oil.\n---\n\n# Start\n\n" + "Go. " * 90)

    assert found[-1].heading == "Guide > Start"
    assert "Needs oil." in found[0].body
    assert "tag" not in found[0].body


def test_levels_of_restructured_text_follow_their_order() -> None:
    hot, dry = "Hot. " * 60, "Dry. " * 60
    text = f"====\nPump\n====\n\nBearing\n-------\n\n{hot}\n\nSeal\n~~~~\n\n{dry}\n\nMotor\n-----\n\nOn."
    found = _chunks(text, file="a.rst")

    assert [chunk.heading for chunk in found] == ["Pump > Bearing", "Pump > Bearing > Seal", "Pump > Motor"]


def test_a_literal_block_of_restructured_text_is_code_with_its_blank_lines() -> None:
    text = "Setup\n=====\n\nRun this::\n\n    first\n\n    second\n\nThen stop.\n"
    blocks = document(text.encode(), file="a.rst").pages[0].blocks

    assert [(block.kind, block.first, block.last) for block in blocks] == [
        (Kind.HEADING, 1, 2),
        (Kind.TEXT, 4, 4),
        (Kind.CODE, 6, 8),
        (Kind.TEXT, 10, 10),
    ]


def test_plain_text_has_headings_where_a_line_stands_alone() -> None:
    text = (
        f"SAFETY RULES\n\n{'Stop first. ' * 30}\n\n2.1 Bearing care\n\n{'Oil it. ' * 40}\n\nNOT A HEADING.\n"
    )
    found = _chunks(text, file="a.txt")

    assert [chunk.heading for chunk in found] == ["SAFETY RULES", "SAFETY RULES > 2.1 Bearing care"]


@pytest.mark.parametrize(
    ("raw", "searched"),
    [
        ('See [the guide](http://x.example/secret.html "t").', "See the guide."),
        ("![plan](a.png) **bold** and _soft_ `code`", "plan bold and soft code"),
        ("a <!-- hidden\nword --> b", "a b"),
        ("| speed | 40 |\n|-------|----|", "speed 40"),
        ("max_speed and 2*3*4", "max_speed and 2*3*4"),
        ("<b>hot</b> if a < b", "hot if a < b"),
        ("- one\n- two", "one two"),
    ],
)
def test_what_is_searched_has_no_marks(raw: str, searched: str) -> None:
    assert _chunks(raw)[0].body == searched
    assert _chunks(raw)[0].text == raw


def test_a_heading_goes_on_over_the_pages_of_a_pdf() -> None:
    first = document(b"SAFETY RULES\n\nStop first.", file="a.txt").pages[0]
    second = document(b"Then lock it.", file="a.txt").pages[0]
    found = chunks(Document("a.pdf", (first, second)))

    assert [chunk.heading for chunk in found] == ["SAFETY RULES", "SAFETY RULES"]
