"""The manuals taken up into the index, at the cost of what changed.

Knows the order of reading, cutting, embedding and swapping; knows nothing of tables or of searching.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Protocol

from edge_node.errors import DocumentUnreadable
from edge_node.knowledge.chunks import RECIPE, chunks
from edge_node.knowledge.documents import document
from edge_node.knowledge.sources import sources
from edge_node.knowledge.store import searched, vector_key
from edge_node.knowledge.values import NewFile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_node.config.loaded import Node
    from edge_node.knowledge.store import Store
    from edge_node.protocols import Embedder, Progress

_BATCH = 32


class Readable(Protocol):
    """A document that can be taken up."""

    @property
    def node(self) -> str:
        """Name of the node it belongs to."""

    @property
    def file(self) -> str:
        """Its path or name; the suffix tells how it is read."""

    def read(self) -> bytes:
        """Return its bytes.

        Raises:
            DocumentUnreadable: They cannot be read.
        """


@dataclass(frozen=True, slots=True)
class Remark:
    """Something a person should know of one file or pattern.

    Attributes:
        node: Name of the node.
        file: Path relative to the node's folder, or the pattern.
        text: What there is to know, in a sentence.
    """

    node: str
    file: str
    text: str


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What a build did.

    Attributes:
        files: Files in the index.
        chunks: Chunks in the index.
        embedded: Vectors that were made.
        reused: Vectors that were there already.
        removed: Files that vanished from the index.
        unreadable: Files that could not be read, each with its reason.
        notes: Files that were read with a reservation.
        unmatched: Patterns that name no file.
        elapsed_s: Seconds it took.
    """

    files: int
    chunks: int
    embedded: int
    reused: int
    removed: int
    unreadable: tuple[Remark, ...]
    notes: tuple[Remark, ...]
    unmatched: tuple[Remark, ...]
    elapsed_s: float

    @property
    def text(self) -> str:
        """What was done, in a sentence."""
        unread = f"; {len(self.unreadable)} files could not be read" if self.unreadable else ""
        return (
            f"{self.files} files with {self.chunks} passages, {self.embedded} of them new,"
            f" in {self.elapsed_s:.1f} s{unread}"
        )


@dataclass(frozen=True, slots=True)
class _Scan:
    """What was found, set against the index.

    Attributes:
        new: Files to put in.
        kept: (node, file) of those that did not change.
        unreadable: Files that could not be read.
    """

    new: tuple[NewFile, ...]
    kept: tuple[tuple[str, str], ...]
    unreadable: tuple[Remark, ...]


def build(
    store: Store,
    nodes: Sequence[Node],
    *,
    embedder: Embedder,
    progress: Progress,
    lines: Sequence[Readable] = (),
) -> BuildReport:
    """Bring the index up to the manuals of `nodes` and to `lines` of the bus, and return what was done.

    Vectors are written as they are made and the rest in one transaction at the end: a build that is cut
    off leaves the old index as it was, and the next one goes on from there.

    Raises:
        KnowledgeIndexError: The index cannot be written.
        ModelError: The embedder failed.
    """
    found: list[Readable] = []
    unmatched: list[Remark] = []
    for node in nodes:
        files, empty = sources(node)
        found.extend(files)
        unmatched.extend(Remark(node.name, pattern, reason) for pattern, reason in empty)
    found.extend(lines)
    return take_up(store, found, unmatched=unmatched, embedder=embedder, progress=progress)


def take_up(
    store: Store,
    found: Sequence[Readable],
    *,
    embedder: Embedder,
    progress: Progress,
    unmatched: Sequence[Remark] = (),
    beside: Sequence[tuple[str, str]] = (),
) -> BuildReport:
    """Bring the index up to the documents `found`, whether they lie in files or not.

    Args:
        store: The index.
        found: What is to be in it.
        embedder: What makes vectors.
        progress: Told how far it is.
        unmatched: What was looked for and is not there.
        beside: Node and file of what is in the index and stays there unread.

    Raises:
        KnowledgeIndexError: The index cannot be written.
        ModelError: The embedder failed.
    """
    began = time.monotonic()
    scan = _scan(found, known=store.digests(), progress=progress)
    wanted = {**store.texts(scan.kept), **_texts(scan.new)}
    stored = store.keys(embedder.name)
    missing = {key: text for key, text in wanted.items() if key not in stored}
    _embed(store, missing, embedder=embedder, progress=progress)
    removed = store.replace(scan.new, kept=(*scan.kept, *beside), embedder=embedder.name)
    return BuildReport(
        files=len(scan.new) + len(scan.kept) + len(beside),
        chunks=store.count(),
        embedded=len(missing),
        reused=len(wanted) - len(missing),
        removed=removed,
        unreadable=scan.unreadable,
        notes=tuple(Remark(*row) for row in store.notes()),
        unmatched=tuple(unmatched),
        elapsed_s=time.monotonic() - began,
    )


def _scan(found: Sequence[Readable], *, known: Mapping[tuple[str, str], str], progress: Progress) -> _Scan:
    new: list[NewFile] = []
    kept: list[tuple[str, str]] = []
    unreadable: list[Remark] = []
    progress.start("reading manuals", len(found))
    for done, source in enumerate(found, start=1):
        try:
            added = _read(source, known=known.get((source.node, source.file), ""))
        except DocumentUnreadable as problem:
            unreadable.append(Remark(source.node, source.file, str(problem)))
        else:
            if added is None:
                kept.append((source.node, source.file))
            else:
                new.append(added)
        progress.advance(done)
    progress.finish()
    return _Scan(tuple(new), tuple(kept), tuple(unreadable))


def _read(source: Readable, *, known: str) -> NewFile | None:
    """Return a file with its chunks, or None where the index holds it as it is."""
    data = source.read()
    digest = f"{RECIPE}:{sha256(data).hexdigest()}"
    if digest == known:
        return None
    read = document(data, file=source.file)
    # A chunk of nothing but comments and marks would only ever be found by its headings.
    telling = tuple(chunk for chunk in chunks(read) if chunk.body)
    return NewFile(source.node, source.file, digest, read.note, telling)


def _texts(files: Sequence[NewFile]) -> dict[str, str]:
    texts = (searched(chunk.context, body=chunk.body) for file in files for chunk in file.chunks)
    return {vector_key(text): text for text in texts}


def _embed(store: Store, missing: Mapping[str, str], *, embedder: Embedder, progress: Progress) -> None:
    if not missing:
        return
    # Neighbours of like length waste the least where an embedder pads a batch to its longest text.
    keys = sorted(missing, key=lambda key: len(missing[key]))
    progress.start("embedding", len(keys))
    for first in range(0, len(keys), _BATCH):
        batch = keys[first : first + _BATCH]
        vectors = embedder.embed([missing[key] for key in batch])
        store.keep(dict(zip(batch, vectors, strict=True)), embedder=embedder.name)
        progress.advance(first + len(batch))
    progress.finish()
