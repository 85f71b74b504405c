"""Manuals are taken up, found, changed and dropped as their files are."""

from __future__ import annotations

import json
import sqlite3
import threading
from typing import TYPE_CHECKING, Any

import pytest

from edge_node.errors import DatabaseError, KnowledgeError, ModelError
from edge_node.knowledge.store import FILE_NAME

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_node.config.loaded import Node
    from edge_node.knowledge.library import Library
    from edge_node.protocols import Progress

    MakeNode = Callable[..., Node]
    OpenLibrary = Callable[..., Library]

PUMP = "# Pump\n\n## Bearing\n\nThe bearing of the pump may reach 85 degrees; above that, slow it down.\n"
SEAL = "# Seal\n\nReplace the seal ring every 4000 hours and grease the shaft.\n"


def test_a_question_finds_the_passage_and_where_it_stands(
    make_node: MakeNode, open_library: OpenLibrary, progress: Progress
) -> None:
    library = open_library(make_node("guard", files={"manual/pump.md": PUMP, "manual/deep/seal.md": SEAL}))
    report = library.build(progress=progress)

    best = library.passages("How hot may the bearing become?")[0]

    assert (report.files, report.chunks, report.unreadable, report.unmatched) == (2, 2, (), ())
    assert (best.file, best.first_line, best.last_line) == ("manual/pump.md", 1, 5)
    assert best.text == PUMP.rstrip("\n")
    assert (best.heading, best.node) == ("Pump > Bearing", "guard")
    assert 0 < best.similarity <= 1
    assert best.score > 0


def test_better_passages_come_first_and_the_limit_holds(
    make_node: MakeNode, open_library: OpenLibrary, progress: Progress
) -> None:
    files: dict[str, str] = {
        f"manual/{number}.md": f"# Part {number}\n\nbearing text {number}" for number in range(9)
    }
    library = open_library(make_node("guard", files=files))
    library.build(progress=progress)

    found = library.passages("bearing part 7", limit=3)

    assert found[0].file == "manual/7.md"
    assert len(found) == 3
    assert [passage.score for passage in found] == sorted((p.score for p in found), reverse=True)
    assert library.passages("bearing", limit=0) == ()


def test_words_are_found_in_other_forms_and_without_a_near_vector(
    make_node: MakeNode, open_library: OpenLibrary, progress: Progress
) -> None:
    library = open_library(make_node("guard", files={"manual/pump.md": PUMP, "manual/seal.md": SEAL}))
    library.build(progress=progress)

    assert library.passages("replacing seals")[0].file == "manual/seal.md"


def test_a_node_sees_its_own_manuals_only(
    make_node: MakeNode, open_library: OpenLibrary, progress: Progress
) -> None:
    library = open_library(
        make_node("guard", files={"manual/pump.md": PUMP}), make_node("rover", files={"manual/seal.md": SEAL})
    )
    library.build(progress=progress)

    assert {passage.node for passage in library.passages("seal bearing")} == {"guard", "rover"}
    assert {passage.node for passage in library.passages("bearing", node="rover")} == {"rover"}
    assert library.passages("bearing", node="nobody") == ()


def test_a_second_build_embeds_nothing(
    make_node: MakeNode, open_library: OpenLibrary, progress: Progress, embedder: Any
) -> None:
    node = make_node("guard", files={"manual/pump.md": PUMP, "manual/seal.md": SEAL})
    open_library(node).build(progress=progress)
    embedder.texts.clear()

    report = open_library(node).build(progress=progress)

    assert embedder.texts == []
    assert (report.embedded, report.reused, report.files) == (0, 2, 2)


def test_only_what_changed_is_embedded_and_the_answer_changes(
    make_node: MakeNode, open_library: OpenLibrary, progress: Progress, embedder: Any
) -> None:
    node = make_node("guard", files={"manual/pump.md": PUMP, "manual/seal.md": SEAL})
    library = open_library(node)
    library.build(progress=progress)
    embedder.texts.clear()
    (node.folder / "manual/pump.md").write_text(PUMP.replace("85", "70"), encoding="utf-8")

    report = library.build(progress=progress)

    assert len(embedder.texts) == 1
    assert (report.embedded, report.reused, report.removed) == (1, 1, 0)
    found = library.passages("How hot may the bearing become?")
    assert "70 degrees" in found[0].text
    assert all("85 degrees" not in passage.text for passage in found)


def test_what_is_commented_out_is_not_found(
    make_node: MakeNode, open_library: OpenLibrary, progress: Progress
) -> None:
    text = f"{PUMP}\n<!--\n" + "the old valve leaks\n\n" * 200 + "-->\n"
    library = open_library(make_node("guard", files={"manual/pump.md": text}))
    library.build(progress=progress)

    assert all("valve" not in passage.text for passage in library.passages("old valve", limit=20))


def test_a_moved_manual_keeps_its_vectors(
    make_node: MakeNode, open_library: OpenLibrary, progress: Progress, embedder: Any
) -> None:
    node = make_node("guard", files={"manual/pump.md": PUMP})
    library = open_library(node)
    library.build(progress=progress)
    embedder.texts.clear()
    (node.folder / "manual/new").mkdir()
    (node.folder / "manual/pump.md").rename(node.folder / "manual/new/pump.md")

    report = library.build(progress=progress)

    assert embedder.texts == []
    assert report.removed == 1
    assert library.passages("bearing")[0].file == "manual/new/pump.md"


def test_a_deleted_manual_vanishes(
    make_node: MakeNode, open_library: OpenLibrary, progress: Progress
) -> None:
    node = make_node("guard", files={"manual/pump.md": PUMP, "manual/seal.md": SEAL})
    library = open_library(node)
    library.build(progress=progress)
    (node.folder / "manual/seal.md").unlink()

    report = library.build(progress=progress)

    assert (report.files, report.removed) == (1, 1)
    assert {passage.file for passage in library.passages("seal ring grease")} == {"manual/pump.md"}


def test_another_embedder_makes_all_vectors_anew(
    make_node: MakeNode, open_library: OpenLibrary, progress: Progress, other_embedder: Any
) -> None:
    node = make_node("guard", files={"manual/pump.md": PUMP, "manual/seal.md": SEAL})
    open_library(node).build(progress=progress)

    library = open_library(node, with_embedder=other_embedder)
    before = library.passages("bearing")
    report = library.build(progress=progress)

    assert [passage.similarity for passage in before] == [0.0]
    assert (report.embedded, report.reused) == (2, 0)
    assert library.passages("bearing")[0].similarity > 0


def test_a_build_in_another_process_is_taken_up(
    make_node: MakeNode, open_library: OpenLibrary, progress: Progress
) -> None:
    node = make_node("guard", files={"manual/pump.md": PUMP})
    running, other = open_library(node), open_library(node)
    running.build(progress=progress)
    (node.folder / "manual/seal.md").write_text(SEAL, encoding="utf-8")

    other.build(progress=progress)

    assert running.passages("seal ring")[0].file == "manual/seal.md"


class _FailsAfter:
    """An embedder whose machine loses power after some texts."""

    def __init__(self, embedder: Any, *, texts: int) -> None:
        self._embedder = embedder
        self._left = texts
        self.name = embedder.name

    def embed(self, texts: list[str]) -> Any:
        self._left -= len(texts)
        if self._left < 0:
            raise ModelError("out of power")
        return self._embedder.embed(texts)


def test_a_build_that_is_cut_off_leaves_the_old_index_and_goes_on_later(
    make_node: MakeNode, open_library: OpenLibrary, progress: Progress, embedder: Any
) -> None:
    node = make_node("guard", files={"manual/pump.md": PUMP})
    open_library(node).build(progress=progress)
    for number in range(80):
        (node.folder / f"manual/{number}.md").write_text(
            f"# Part {number}\n\nbolt {number}", encoding="utf-8"
        )
    (node.folder / "manual/pump.md").write_text("# Pump\n\nNothing about heat.", encoding="utf-8")
    library = open_library(node, with_embedder=_FailsAfter(embedder, texts=70))

    with pytest.raises(ModelError):
        library.build(progress=progress)
    old = open_library(node)
    assert "85 degrees" in old.passages("bearing")[0].text
    assert old.size == 1

    embedder.texts.clear()
    report = old.build(progress=progress)
    assert len(embedder.texts) == report.embedded < 40
    assert report.files == 81


def test_what_cannot_be_read_is_named_and_the_rest_is_found(
    make_node: MakeNode, open_library: OpenLibrary, progress: Progress, tmp_path: Path
) -> None:
    (tmp_path / "secret.md").write_text("the secret word is swordfish", encoding="utf-8")
    node = make_node(
        "guard",
        files={
            "manual/pump.md": PUMP,
            "manual/a.bin.md": b"\0\1\2",
            "manual/half.pdf": b"%PDF-1.4",
            "manual/old.txt": b"85 \xb0C",
        },
        patterns=["manual/**/*", "../*.md", "/etc/host*", "nothing/*.md"],
    )
    (node.folder / "manual/way-out.md").symlink_to(tmp_path / "secret.md")
    (node.folder / "manual/nowhere.md").symlink_to("missing.md")
    (node.folder / "manual/circle.md").symlink_to("circle.md")
    (node.folder / "manual/inside.md").symlink_to("pump.md")
    library = open_library(node)

    report = library.build(progress=progress)

    assert [remark.file for remark in report.unreadable] == [
        "../secret.md",
        "manual/a.bin.md",
        "manual/circle.md",
        "manual/half.pdf",
        "manual/nowhere.md",
        "manual/way-out.md",
    ]
    assert [remark.file for remark in report.unmatched] == ["/etc/host*", "nothing/*.md"]
    assert [remark.file for remark in report.notes] == ["manual/old.txt"]
    assert report.files == 3
    assert all(
        "swordfish" not in passage.text for passage in library.passages("secret word swordfish", limit=20)
    )


def test_a_manual_that_can_no_longer_be_read_is_no_longer_cited(
    make_node: MakeNode, open_library: OpenLibrary, progress: Progress
) -> None:
    node = make_node("guard", files={"manual/pump.md": PUMP})
    library = open_library(node)
    library.build(progress=progress)
    (node.folder / "manual/pump.md").write_bytes(b"\0")

    assert library.build(progress=progress).files == 0
    assert library.passages("bearing") == ()


def test_a_file_that_is_no_index_is_set_aside_and_built_anew(
    make_node: MakeNode, open_library: OpenLibrary, progress: Progress, tmp_path: Path
) -> None:
    node = make_node("guard", files={"manual/pump.md": PUMP})
    library = open_library(node)
    library.build(progress=progress)
    library.close()
    (tmp_path / "state" / FILE_NAME).write_bytes(b"this is no database" * 500)

    library = open_library(node)

    assert library.size == 0
    assert library.build(progress=progress).embedded == 1
    assert library.passages("bearing")[0].file == "manual/pump.md"


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE vectors SET vector = zeroblob(length(vector))",
        "UPDATE chunks SET text = replace(text, '85', '95')",
    ],
)
def test_a_flipped_row_is_never_used_and_is_mended_by_the_next_build(
    make_node: MakeNode, open_library: OpenLibrary, progress: Progress, tmp_path: Path, damage: str
) -> None:
    node = make_node("guard", files={"manual/pump.md": PUMP})
    library = open_library(node)
    library.build(progress=progress)
    library.close()
    with sqlite3.connect(tmp_path / "state" / FILE_NAME) as connection:
        connection.execute(damage)
    connection.close()

    library = open_library(node)
    found = library.passages("bearing")
    assert all("95" not in passage.text and passage.similarity == 0.0 for passage in found)

    library.build(progress=progress)
    mended = library.passages("bearing")[0]
    assert "85 degrees" in mended.text
    assert mended.similarity > 0


def test_damaged_word_lists_are_made_anew_on_opening(
    make_node: MakeNode, open_library: OpenLibrary, progress: Progress, tmp_path: Path
) -> None:
    node = make_node("guard", files={"manual/pump.md": PUMP})
    library = open_library(node)
    library.build(progress=progress)
    library.close()
    with sqlite3.connect(tmp_path / "state" / FILE_NAME) as connection:
        connection.execute("UPDATE words_data SET block = zeroblob(length(block)) WHERE id > 10")
    connection.close()

    assert open_library(node).passages("bearing")[0].file == "manual/pump.md"


def test_a_closed_index_fails_as_knowledge(make_node: MakeNode, open_library: OpenLibrary) -> None:
    library = open_library(make_node("guard", files={"manual/pump.md": PUMP}))
    library.close()

    with pytest.raises(KnowledgeError) as raised:
        library.passages("bearing")
    assert isinstance(raised.value, DatabaseError)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "   ",
            "\0",
            '"',
            "AND OR NOT",
            "NEAR(a b)",
            "words:body",
            "a* ^b {c}",
            "'; DROP TABLE chunks; --",
        ),
        *("\ud800 bearing", "\U0001f600 bearing", "\uff21\uff22", "-", "_", "x" * 100_000, "bearing " * 5000),
    ],
)
def test_any_text_may_be_asked(
    make_node: MakeNode, open_library: OpenLibrary, progress: Progress, text: str
) -> None:
    library = open_library(make_node("guard", files={"manual/pump.md": PUMP}))
    library.build(progress=progress)

    assert isinstance(library.passages(text), tuple)
    assert library.passages("bearing")


def test_naughty_strings_may_be_asked(
    make_node: MakeNode, open_library: OpenLibrary, progress: Progress, shared_eval: Path
) -> None:
    library = open_library(make_node("guard", files={"manual/pump.md": PUMP}))
    library.build(progress=progress)

    for text in json.loads(
        (shared_eval / "adversarial" / "naughty_strings.json").read_text(encoding="utf-8")
    ):
        assert isinstance(library.passages(text), tuple)


def test_threads_search_while_one_builds(
    make_node: MakeNode, open_library: OpenLibrary, progress: Progress
) -> None:
    node = make_node("guard", files={"manual/pump.md": PUMP, "manual/seal.md": SEAL})
    library = open_library(node)
    library.build(progress=progress)
    failures: list[BaseException] = []
    over = threading.Event()

    def search() -> None:
        try:
            while not over.is_set():
                found = library.passages("seal ring")
                assert found
                assert found[0].file == "manual/seal.md"
        except BaseException as problem:  # noqa: BLE001 - handed to the test's own thread
            failures.append(problem)

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(10):
        (node.folder / "manual/pump.md").write_text(f"# Pump\n\nbearing {number}", encoding="utf-8")
        library.build(progress=progress)
    over.set()
    for thread in threads:
        thread.join(timeout=30)

    assert failures == []
    assert "bearing 9" in library.passages("bearing")[0].text
