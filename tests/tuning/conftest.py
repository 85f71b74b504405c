"""A tiny model with random weights and room for long prompts, as its GGUF file and built."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import tests.model.conftest as tiny
from edge_node.model.build import build_language_model
from edge_node.tuning.tuner import Base

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class HashedWords:
    """An embedder that counts hashed letters, so that like sentences are near."""

    name = "hashed"

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        rows = np.full((len(texts), 64), 1e-3, np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in text.casefold().split():
                row[sum(word.encode()) % 64] += 1
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    path = tmp_path_factory.mktemp("tuning") / "tiny.gguf"
    patch = pytest.MonkeyPatch()
    with patch.context() as changed:
        changed.setattr(tiny, "CONTEXT", 4096)
        tiny.write_gguf(path)
    build_language_model(path, path.parent / "onnx", progress=lambda _done, _total: None)
    return Base(path.parent / "onnx", path, context=4096, threads=1)


@pytest.fixture(scope="session")
def embedder() -> HashedWords:
    return HashedWords()


class NoProgress:
    """Somebody who does not want to know."""

    def start(self, label: str, total: int) -> None: ...

    def advance(self, done: int) -> None: ...

    def finish(self) -> None: ...

    def note(self, text: str) -> None: ...
