"""Lines of the bus are kept, found, cited by where they stand, and let go of."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from edge_node.knowledge import chronicle
from edge_node.knowledge.chronicle import MAX_CHARACTERS, Chronicle, line_of
from edge_node.messages import Message

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_node.config.loaded import Node
    from edge_node.knowledge.library import Library
    from edge_node.protocols import Progress

    MakeNode = Callable[..., Node]
    OpenLibrary = Callable[..., Library]

LOG = {"log": "plant/+/log/#", "keep": "2d"}
NOW = time.time()
TODAY = f"{datetime.fromtimestamp(NOW, UTC):%Y-%m-%d}"
MANUAL = "# Pump\n\nThe bearing of the pump may reach 85 degrees.\n"


def said(
    text: Any, *, topic: str = "plant/p1/log/main", at: float = NOW, number: int = 1, **more: Any
) -> Message:
    body = text.encode() if isinstance(text, str) else json.dumps(text).encode()
    return Message(f"m{number}-{at}", topic, body, at, **more)


def test_a_line_is_found_once_it_was_refreshed_and_cited_by_day_and_number(
    make_node: MakeNode, open_library: OpenLibrary, progress: Progress
) -> None:
    node = make_node("guard", files={"manual/pump.md": MANUAL}, patterns=("manual/*", LOG))
    library = open_library(node)
    library.build(progress=progress)
    library.hear(said("gasket blown on the east side"))
    library.hear(said({"level": "error", "message": "impeller stuck"}, number=2))

    assert library.refresh()

    best = library.passages("impeller stuck")[0]
    stamp = f"{datetime.fromtimestamp(NOW, UTC):%H:%M:%S}"
    assert best.file == f"mqtt:plant/p1/log/main/{TODAY}.log"
    assert (best.first_line, best.last_line, best.node) == (1, 2, "guard")
    assert best.text.split("\n")[1] == f"- {stamp} level error, message impeller stuck"
    assert library.passages("bearing degrees")[0].file == "manual/pump.md"


def test_a_refresh_embeds_what_is_new_only_and_leaves_the_manuals_alone(
    make_node: MakeNode, open_library: OpenLibrary, progress: Progress, embedder: Any
) -> None:
    library = open_library(make_node("guard", files={"manual/pump.md": MANUAL}, patterns=("manual/*", LOG)))
    library.build(progress=progress)
    embedder.texts.clear()
    library.hear(said("gasket blown"))
    library.refresh()

    assert len(embedder.texts) == 1
    assert not library.refresh()
    report = library.build(progress=progress)
    assert (report.files, report.embedded) == (2, 0)


def test_lines_outlive_the_process(
    make_node: MakeNode, open_library: OpenLibrary, progress: Progress
) -> None:
    node = make_node("guard", files={}, patterns=(LOG,))
    library = open_library(node)
    library.hear(said("gasket blown"))
    library.close()

    again = open_library(node)
    again.build(progress=progress)
    again.hear(said("impeller stuck", number=2))
    again.refresh()

    assert again.passages("gasket")[0].last_line == 2


def test_only_lines_that_a_node_wants_are_kept(make_node: MakeNode, open_library: OpenLibrary) -> None:
    library = open_library(make_node("guard", files={}, patterns=(LOG,)), make_node("rover", files={}))
    library.hear(said("gasket blown", topic="plant/p1/telemetry"))
    library.hear(said("gasket blown", retained=True))
    library.hear(said("gasket blown", topic="plant/p2/log"))
    library.refresh()

    found = library.passages("gasket")
    assert [(passage.file, passage.node) for passage in found] == [
        (f"mqtt:plant/p2/log/{TODAY}.log", "guard")
    ]


def test_a_day_goes_once_it_is_older_than_it_is_kept(make_node: MakeNode, tmp_path: Path) -> None:
    lines = Chronicle.open(tmp_path, [make_node("guard", files={}, patterns=(LOG,))])
    for number, age_d in enumerate((4, 2, 0)):
        lines.hear(said("gasket blown", at=NOW - age_d * 86_400, number=number))
    lines.write()

    assert len(lines.documents(now=NOW)) == 2
    lines.use([])
    assert lines.documents(now=NOW) == []
    lines.close()


def test_lines_beyond_the_limits_push_out_the_oldest_day_and_then_find_no_room(
    make_node: MakeNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chronicle, "MAX_LINES", 10)
    monkeypatch.setattr(chronicle, "MAX_LINES_OF_A_DAY", 6)
    lines = Chronicle.open(tmp_path, [make_node("guard", files={}, patterns=(LOG,))])
    lines.hear(said("yesterday", at=NOW - 86_400))
    for number in range(30):
        lines.hear(said(f"line {number}", number=number))
        lines.hear(said(f"line {number}", number=number + 100, topic="plant/p2/log"))
    lines.write()

    kept = {document.file: document.read().count(b"\n") for document in lines.documents(now=NOW)}
    assert sum(kept.values()) == 10
    assert max(kept.values()) <= 6
    assert all(TODAY in file for file in kept)
    lines.close()


def test_a_message_that_comes_twice_is_one_line(make_node: MakeNode, tmp_path: Path) -> None:
    lines = Chronicle.open(tmp_path, [make_node("guard", files={}, patterns=(LOG,))])
    lines.hear(said("gasket blown"))
    lines.hear(said("gasket blown"))
    lines.hear(said("impeller stuck", number=2))
    lines.write()

    (document,) = lines.documents(now=NOW)
    assert document.read().count(b"gasket") == 1
    lines.close()


@pytest.mark.parametrize(
    ("payload", "line"),
    [
        (b"plain   words\nover lines", "plain words over lines"),
        (b'"quoted"', "quoted"),
        (b'{"code": 7, "ok": false, "note": null, "at": [1, 2]}', "code 7, ok false, at 1, 2"),
        (b"\xff\xfe", ""),
        (b"", ""),
        (b"null", ""),
        (b'{"a": {"b": "c"}}', "a b c"),
        ("a\u0000b\u001b[31m".encode(), "a\ufffdb\ufffd[31m"),
        (b"x" * 900, "x" * (MAX_CHARACTERS - 1) + "…"),
    ],
)  # fmt: skip
def test_a_payload_is_told_as_one_line(payload: bytes, line: str) -> None:
    assert line_of(payload) == line
