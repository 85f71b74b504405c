from __future__ import annotations

import fcntl
import hashlib
import threading
from typing import TYPE_CHECKING

import pytest

from edge_node.errors import (
    ModelCorrupt,
    ModelError,
    ModelMissing,
    ModelUnavailable,
    ModelUnknown,
    ModelUnsupported,
)
from edge_node.model.catalogue import Catalogue, Kind, ModelEntry, ModelFile, PathSource
from edge_node.model.embedding import MiniLmEmbedder
from edge_node.model.fetch import PARTIAL
from edge_node.model.store import ModelState, ModelStore
from tests.model.exports import write_export

if TYPE_CHECKING:
    from pathlib import Path

CONTENT = {"model.onnx": b"weights" * 1000, "tokenizer.json": b"{}"}


class Record:
    """A progress that remembers what it was told."""

    def __init__(self) -> None:
        self.labels: list[str] = []
        self.notes: list[str] = []
        self.noted = threading.Event()

    def start(self, label: str, total: int) -> None:  # noqa: ARG002 - the Protocol's
        self.labels.append(label)

    def advance(self, done: int) -> None:
        pass

    def finish(self) -> None:
        pass

    def note(self, text: str) -> None:
        self.notes.append(text)
        self.noted.set()


def model_file(name: str, content: bytes, *sources: Path) -> ModelFile:
    return ModelFile(
        name=name,
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
        sources=tuple(PathSource(path=str(source)) for source in sources),
    )


def store_of(folder: Path, *files: ModelFile, kind: Kind = Kind.LANGUAGE) -> ModelStore:
    entry = ModelEntry(kind=kind, licence="MIT", files=files)
    return ModelStore(folder, catalogue=Catalogue({"tiny": entry}))


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    folder = tmp_path / "sources"
    folder.mkdir()
    for name, content in CONTENT.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def store(models: Path, sources: Path) -> ModelStore:
    return store_of(models, *(model_file(name, CONTENT[name], sources / name) for name in CONTENT))


def test_a_model_that_is_missing_is_fetched_and_then_found_without_its_sources(
    store: ModelStore, models: Path, sources: Path
) -> None:
    progress = Record()

    folder = store.ensure("tiny", progress=progress)
    for name in CONTENT:
        (sources / name).unlink()

    assert folder == models / "tiny"
    assert store.locate("tiny") == folder
    assert {name: (folder / name).read_bytes() for name in CONTENT} == CONTENT
    assert progress.labels == ["tiny: model.onnx", "tiny: tokenizer.json"]


def test_what_is_already_there_and_whole_is_left_alone(store: ModelStore) -> None:
    store.ensure("tiny", progress=Record())
    progress = Record()

    store.ensure("tiny", progress=progress)

    assert progress.labels == []
    assert progress.notes == []


def test_a_file_put_in_place_by_hand_needs_no_source(models: Path) -> None:
    store = store_of(models, model_file("model.onnx", CONTENT["model.onnx"]))
    (models / "tiny").mkdir(parents=True)
    (models / "tiny" / "model.onnx").write_bytes(CONTENT["model.onnx"])

    assert store.ensure("tiny", progress=Record()) == models / "tiny"


def test_without_a_source_it_is_said_that_there_is_none(models: Path) -> None:
    store = store_of(models, model_file("model.onnx", CONTENT["model.onnx"]))

    with pytest.raises(ModelUnavailable, match=r"the catalogue names none of model\.onnx") as caught:
        store.ensure("tiny", progress=Record())

    assert "edge-node model show" in caught.value.hint


def test_a_file_that_cannot_be_had_again_stays_named_as_corrupt(store: ModelStore, sources: Path) -> None:
    folder = store.ensure("tiny", progress=Record())
    flip_a_byte(folder / "model.onnx")
    (sources / "model.onnx").unlink()

    with pytest.raises(ModelUnavailable):
        store.ensure("tiny", progress=Record())

    assert store.describe("tiny").state is ModelState.CORRUPT


def test_a_model_that_is_not_there_is_missing_and_the_way_to_get_it_is_named(store: ModelStore) -> None:
    with pytest.raises(ModelMissing) as caught:
        store.locate("tiny")

    assert caught.value.hint == "edge-node model pull tiny"


@pytest.mark.parametrize("name", list(CONTENT))
def test_a_flipped_byte_keeps_a_model_from_running(store: ModelStore, name: str) -> None:
    folder = store.ensure("tiny", progress=Record())
    flip_a_byte(folder / name)

    with pytest.raises(ModelCorrupt, match=f"{folder / name}: expected sha256") as caught:
        store.locate("tiny")

    assert caught.value.hint == "edge-node model pull tiny"


def test_a_flipped_byte_is_named_and_the_file_is_fetched_again(store: ModelStore) -> None:
    folder = store.ensure("tiny", progress=Record())
    flip_a_byte(folder / "model.onnx")
    progress = Record()

    store.ensure("tiny", progress=progress)

    assert len(progress.notes) == 1
    assert str(folder / "model.onnx") in progress.notes[0]
    assert progress.labels == ["tiny: model.onnx"]
    assert (folder / "model.onnx").read_bytes() == CONTENT["model.onnx"]


def test_a_fetch_that_is_broken_off_leaves_nothing_that_is_taken_for_whole(store: ModelStore) -> None:
    class BrokenOff(Record):
        def start(self, label: str, total: int) -> None:
            super().start(label, total)
            if "tokenizer" in label:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.ensure("tiny", progress=BrokenOff())

    assert store.describe("tiny").state is ModelState.MISSING
    with pytest.raises(ModelMissing):
        store.locate("tiny")
    assert store.ensure("tiny", progress=Record()).is_dir()


def test_what_a_killed_process_left_is_cleared_and_never_used(store: ModelStore, models: Path) -> None:
    left = models / "tiny" / f"{PARTIAL}killed"
    left.mkdir(parents=True)
    (left / "part").write_bytes(CONTENT["model.onnx"][:100])

    folder = store.ensure("tiny", progress=Record())

    assert not left.exists()
    assert (folder / "model.onnx").read_bytes() == CONTENT["model.onnx"]


def test_a_second_process_waits_and_says_so(store: ModelStore, models: Path) -> None:
    progress = Record()
    (models / "tiny").mkdir(parents=True)
    second = threading.Thread(target=lambda: store.ensure("tiny", progress=progress))

    with (models / "tiny" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second.start()
        assert progress.noted.wait(timeout=10)
        assert store.describe("tiny").state is ModelState.MISSING
    second.join(timeout=10)

    assert "waiting for another process" in progress.notes[0]
    assert store.describe("tiny").state is ModelState.READY


def test_the_state_of_a_model_follows_what_lies_on_the_disk(store: ModelStore) -> None:
    states = [store.describe("tiny").state]
    folder = store.ensure("tiny", progress=Record())
    states.append(store.describe("tiny").state)
    flip_a_byte(folder / "model.onnx")
    states.append(store.describe("tiny").state)
    detail = store.describe("tiny").detail
    (folder / "model.onnx").unlink()
    states.append(store.describe("tiny").state)

    assert states == [ModelState.MISSING, ModelState.READY, ModelState.CORRUPT, ModelState.MISSING]
    assert str(folder / "model.onnx") in detail


def test_the_size_on_disk_is_that_of_all_files(store: ModelStore) -> None:
    before = store.describe("tiny").bytes_on_disk

    store.ensure("tiny", progress=Record())

    assert before == 0
    assert store.describe("tiny").bytes_on_disk == sum(map(len, CONTENT.values()))


def test_an_unknown_name_lists_the_known_ones(store: ModelStore) -> None:
    for attempt in (store.locate, store.describe, lambda name: store.ensure(name, progress=Record())):
        with pytest.raises(ModelUnknown, match="expected one of tiny"):
            attempt("gpt-9")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, sources: Path) -> None:
    (tmp_path / "models").write_text("a file where a folder should be")
    store = store_of(
        tmp_path / "models", model_file("model.onnx", CONTENT["model.onnx"], sources / "model.onnx")
    )

    with pytest.raises(ModelError, match=f"expected to write to {tmp_path}/models/tiny") as caught:
        store.ensure("tiny", progress=Record())

    assert "EDGE_NODE_HOME" in caught.value.hint


def test_a_folder_of_ones_own_is_taken_as_it_is(store: ModelStore, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()

    assert store.ensure(str(own), progress=Record()) == own
    assert store.locate(str(own)) == own


def test_a_path_with_nothing_there_says_what_may_stand_there(store: ModelStore, tmp_path: Path) -> None:
    with pytest.raises(ModelUnsupported, match="expected a GGUF file, or an ONNX export"):
        store.locate(str(tmp_path / "absent.gguf"))


def test_a_model_that_runs_as_it_is_cannot_be_built_again(store: ModelStore) -> None:
    store.ensure("tiny", progress=Record())

    with pytest.raises(ModelUnsupported, match="came one that runs as it is"):
        store.rebuild("tiny", progress=Record())


@pytest.fixture
def language(models: Path, tiny_gguf: Path) -> ModelStore:
    return store_of(models, model_file("model.gguf", tiny_gguf.read_bytes(), tiny_gguf))


def test_a_language_model_is_fetched_and_built(language: ModelStore, models: Path) -> None:
    progress = Record()

    folder = language.ensure("tiny", progress=progress)

    assert folder == models / "tiny" / "onnx"
    assert progress.labels == ["tiny: model.gguf", "tiny: ONNX files"]
    assert language.locate("tiny") == folder
    assert (folder / "manifest.json").is_file()
    assert language.describe("tiny").state is ModelState.READY


def test_a_language_model_runs_without_the_file_it_was_built_from(language: ModelStore) -> None:
    folder = language.ensure("tiny", progress=Record())
    (folder.parent / "model.gguf").unlink()

    assert language.locate("tiny") == folder


@pytest.mark.parametrize("name", ["model.onnx", "model.onnx.data", "tokenizer.json", "manifest.json"])
def test_a_flipped_byte_in_built_files_is_named_and_they_are_built_again(
    language: ModelStore, name: str
) -> None:
    folder = language.ensure("tiny", progress=Record())
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    with pytest.raises(ModelCorrupt, match=name) as caught:
        language.locate("tiny")
    progress = Record()

    language.ensure("tiny", progress=progress)

    assert caught.value.hint == "edge-node model pull tiny"
    assert str(folder / name) in progress.notes[0]
    assert progress.labels == ["tiny: ONNX files"]
    assert (folder / name).read_bytes() == whole


def test_a_build_that_is_broken_off_leaves_nothing_that_is_taken_for_whole(
    language: ModelStore, models: Path
) -> None:
    class BrokenOff(Record):
        def start(self, label: str, total: int) -> None:
            super().start(label, total)
            if "ONNX" in label:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        language.ensure("tiny", progress=BrokenOff())

    assert language.describe("tiny").state is ModelState.FETCHED
    assert sorted(path.name for path in (models / "tiny").iterdir()) == [".lock", "model.gguf"]
    with pytest.raises(ModelMissing, match="model tiny: not on this machine"):
        language.locate("tiny")


def test_files_built_from_another_model_are_built_again(
    language: ModelStore, models: Path, tiny_gguf: Path
) -> None:
    language.ensure("tiny", progress=Record())
    other = tiny_gguf.read_bytes() + b"\0"
    (models.parent / "other.gguf").write_bytes(other)
    replaced = store_of(models, model_file("model.gguf", other, models.parent / "other.gguf"))
    with pytest.raises(ModelCorrupt, match=r"expected built from model\.gguf with sha256"):
        replaced.locate("tiny")

    replaced.ensure("tiny", progress=Record())

    assert replaced.locate("tiny") == models / "tiny" / "onnx"


def test_a_model_is_built_again_when_asked_to_be(language: ModelStore) -> None:
    folder = language.ensure("tiny", progress=Record())
    before = (folder / "model.onnx").stat().st_ino
    progress = Record()

    assert language.rebuild("tiny", progress=progress) == folder

    assert progress.labels == ["tiny: ONNX files"]
    assert (folder / "model.onnx").stat().st_ino != before
    assert language.locate("tiny") == folder


def test_nothing_is_built_from_a_file_that_is_missing_or_wrong(language: ModelStore) -> None:
    with pytest.raises(ModelMissing):
        language.rebuild("tiny", progress=Record())
    folder = language.ensure("tiny", progress=Record())
    flip_a_byte(folder.parent / "model.gguf")

    with pytest.raises(ModelCorrupt, match=r"model\.gguf"):
        language.rebuild("tiny", progress=Record())


def test_a_gguf_file_of_ones_own_is_built_once_for_its_bytes(
    store: ModelStore, models: Path, tmp_path: Path, tiny_gguf: Path
) -> None:
    own = tmp_path / "own.gguf"
    own.write_bytes(tiny_gguf.read_bytes())
    with pytest.raises(ModelMissing) as caught:
        store.locate(str(own))
    folder = store.ensure(str(own), progress=Record())
    again = Record()
    store.ensure(str(own), progress=again)
    own.write_bytes(own.read_bytes() + b"\0")

    other = store.ensure(str(own), progress=Record())

    assert caught.value.hint == f"edge-node model pull {own}"
    assert folder.parent.parent == models
    assert again.labels == []
    assert other != folder
    assert store.locate(str(own)) == other


@pytest.fixture
def embedding(models: Path, tmp_path: Path) -> ModelStore:
    return embedding_store(models, write_export(tmp_path / "export"))


def embedding_store(models: Path, export: Path) -> ModelStore:
    files = (
        model_file(name, (export / name).read_bytes(), export / name)
        for name in ("tokenizer.json", "model.onnx")
    )
    return store_of(models, *files, kind=Kind.EMBEDDING)


def test_an_embedding_model_is_fetched_and_built_and_runs_from_one_folder(
    embedding: ModelStore, models: Path
) -> None:
    progress = Record()

    folder = embedding.ensure("tiny", progress=progress)
    for name in ("model.onnx", "tokenizer.json"):
        (models / "tiny" / name).unlink()

    assert folder == models / "tiny" / "onnx"
    assert embedding.locate("tiny") == folder
    assert progress.labels == ["tiny: tokenizer.json", "tiny: model.onnx", "tiny: ONNX files"]
    assert MiniLmEmbedder.open(folder, threads=1).name.startswith("tiny-")


def test_an_embedding_model_that_was_only_fetched_is_built_without_a_fetch(
    embedding: ModelStore, models: Path, tmp_path: Path
) -> None:
    write_export(models / "tiny")
    for path in (tmp_path / "export").iterdir():
        path.unlink()
    before = embedding.describe("tiny").state
    with pytest.raises(ModelMissing) as caught:
        embedding.locate("tiny")
    progress = Record()

    folder = embedding.ensure("tiny", progress=progress)

    assert before is ModelState.FETCHED
    assert caught.value.hint == "edge-node model pull tiny"
    assert progress.labels == ["tiny: ONNX files"]
    assert embedding.locate("tiny") == folder
    assert embedding.describe("tiny").state is ModelState.READY


@pytest.mark.parametrize("name", ["model.onnx", "model.onnx.data", "tokenizer.json", "manifest.json"])
def test_a_flipped_byte_in_a_built_embedding_model_is_named_and_it_is_built_again(
    embedding: ModelStore, name: str
) -> None:
    folder = embedding.ensure("tiny", progress=Record())
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    with pytest.raises(ModelCorrupt, match=name) as caught:
        embedding.locate("tiny")
    progress = Record()

    embedding.ensure("tiny", progress=progress)

    assert caught.value.hint == "edge-node model pull tiny"
    assert str(folder / name) in progress.notes[0]
    assert progress.labels == ["tiny: ONNX files"]
    assert (folder / name).read_bytes() == whole


def test_an_embedding_model_is_built_again_when_asked_to_be(embedding: ModelStore) -> None:
    folder = embedding.ensure("tiny", progress=Record())
    before = (folder / "model.onnx").stat().st_ino

    assert embedding.rebuild("tiny", progress=Record()) == folder

    assert (folder / "model.onnx").stat().st_ino != before
    assert embedding.locate("tiny") == folder


def test_an_embedding_model_with_another_tokenizer_is_built_again(
    embedding: ModelStore, models: Path, tmp_path: Path
) -> None:
    embedding.ensure("tiny", progress=Record())
    other = embedding_store(models, write_export(tmp_path / "other", words=("[UNK]", "rover")))
    with pytest.raises(ModelCorrupt, match=r"expected built from model\.onnx with sha256"):
        other.locate("tiny")
    progress = Record()

    folder = other.ensure("tiny", progress=progress)

    assert progress.labels == ["tiny: tokenizer.json", "tiny: ONNX files"]
    assert (folder / "tokenizer.json").read_bytes() == (tmp_path / "other" / "tokenizer.json").read_bytes()


def test_an_export_that_is_no_model_is_named_and_nothing_is_built(models: Path, sources: Path) -> None:
    files = (model_file(name, CONTENT[name], sources / name) for name in CONTENT)
    store = store_of(models, *files, kind=Kind.EMBEDDING)

    with pytest.raises(ModelCorrupt, match=r"model\.onnx: expected an ONNX model"):
        store.ensure("tiny", progress=Record())

    assert store.describe("tiny").state is ModelState.FETCHED
