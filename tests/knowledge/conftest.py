"""A small manual and an embedder whose vectors follow from words alone."""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edge_node.config.loaded import Node
from edge_node.config.models import NodeConfig
from edge_node.knowledge.library import Library

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray


class HashedWords:
    """Bag of hashed words, unit length; remembers what it was asked to embed."""

    dimension = 64

    def __init__(self, name: str = "hashed-words") -> None:
        self.name = name
        self.texts: list[str] = []

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.texts.extend(texts)
        vectors = np.full((len(texts), self.dimension), 1e-3, dtype=np.float32)
        for row, text in enumerate(texts):
            # A real tokenizer refuses what cannot be encoded.
            for word in re.findall(r"\w+", text.encode().decode().lower()):
                vectors[row, zlib.crc32(word.encode()) % self.dimension] += 1.0
        normed: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return normed


class Silent:
    """Progress that nobody watches."""

    def start(self, label: str, total: int) -> None: ...

    def advance(self, done: int) -> None: ...

    def finish(self) -> None: ...

    def note(self, text: str) -> None: ...


@pytest.fixture
def embedder() -> HashedWords:
    return HashedWords()


@pytest.fixture
def other_embedder() -> HashedWords:
    return HashedWords("other-words")


@pytest.fixture
def progress() -> Silent:
    return Silent()


@pytest.fixture
def make_node(tmp_path: Path) -> Callable[..., Node]:
    def make(name: str, *, files: dict[str, str | bytes], patterns: Sequence[str] = ("manual/**/*",)) -> Node:
        folder = tmp_path / name
        for file, content in files.items():
            path = folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        folder.mkdir(exist_ok=True)
        return Node(spec=NodeConfig(edge_node=1, name=name, knowledge=list(patterns)), folder=folder)

    return make


@pytest.fixture
def open_library(tmp_path: Path, embedder: HashedWords) -> Iterator[Callable[..., Library]]:
    opened: list[Library] = []

    def open_(*nodes: Node, with_embedder: Any = None) -> Library:
        library = Library.open(tmp_path / "state", nodes, embedder=with_embedder or embedder)
        opened.append(library)
        return library

    yield open_
    for library in opened:
        library.close()
