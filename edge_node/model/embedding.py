"""Sentences to unit vectors with a MiniLM model.

Knows how the model's output becomes a vector; knows nothing of indexes or of where model files come from.

Texts are run one at a time. A text's vector then does not depend on its neighbours, no time goes
into padding, and on passages of some forty tokens or more one at a time is also the faster way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edge_node.errors import ModelMissing, ModelUnsupported
from edge_node.model.manifest import (
    BUILT,
    GRAPH_FILE,
    MANIFEST_FILE,
    describe_file,
    joint_digest,
    read_manifest,
)
from edge_node.model.session import open_session
from edge_node.model.tokens import TOKENIZER_FILE, load_tokenizer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from tokenizers import Tokenizer

    from edge_node.model.session import Session

DIMENSION = 384
MAX_TOKENS = 256
_INPUTS = frozenset({"input_ids", "attention_mask", "token_type_ids"})


class MiniLmEmbedder:
    """A MiniLM model that is ready to run; implements `edge_node.protocols.Embedder`."""

    def __init__(self, name: str, *, tokenizer: Tokenizer, session: Session) -> None:
        self._name = name
        self._tokenizer = tokenizer
        self._session = session

    @classmethod
    def open(cls, folder: Path, *, threads: int) -> MiniLmEmbedder:
        """Return the embedder whose model.onnx and tokenizer.json lie in `folder`.

        Args:
            folder: Folder of the model, built or an export as it is.
            threads: Threads for inference.

        Raises:
            ModelMissing: One of the two files is not there.
            ModelCorrupt: A file cannot be read.
            ModelUnsupported: The model does not take what MiniLM takes.
        """
        model, tokenizer_file = folder / GRAPH_FILE, folder / TOKENIZER_FILE
        if not (model.is_file() and tokenizer_file.is_file()):
            raise ModelMissing(_model_name(folder))
        tokenizer = load_tokenizer(tokenizer_file)
        tokenizer.no_padding()
        tokenizer.enable_truncation(MAX_TOKENS)
        tokenizer.encode_special_tokens = True  # in this library's words: as plain text
        session = open_session(model, threads=threads)
        if set(session.input_names) != _INPUTS:
            came = ", ".join(session.input_names)
            raise ModelUnsupported(model, expected=f"inputs {', '.join(sorted(_INPUTS))}", came=came)
        return cls(f"{_model_name(folder)}-{_digest(folder)[:12]}", tokenizer=tokenizer, session=session)

    @property
    def name(self) -> str:
        """Name of the model and the first 12 digits of a hash over its files."""
        return self._name

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return unit vectors of shape (len(texts), 384), dtype float32; text beyond 256 tokens is cut."""
        vectors = np.empty((len(texts), DIMENSION), dtype=np.float32)
        for row, text in enumerate(texts):
            vectors[row] = self._vector(text)
        return vectors

    def _vector(self, text: str) -> NDArray[np.float32]:
        """Return the mean of the token vectors, of length 1, shape (384,), dtype float32."""
        ids = np.asarray([self._tokenizer.encode(text).ids], dtype=np.int64)
        inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        hidden = self._session.run(inputs)[0][0]
        mean: NDArray[np.float32] = hidden.mean(axis=0, dtype=np.float32)
        return mean / np.linalg.norm(mean)


def _model_name(folder: Path) -> str:
    return folder.parent.name if folder.name == BUILT else folder.name


def _digest(folder: Path) -> str:
    """Return a hash over everything that a vector depends on."""
    if (folder / MANIFEST_FILE).is_file():
        return joint_digest(read_manifest(folder).files)
    return joint_digest({name: describe_file(folder / name) for name in (GRAPH_FILE, TOKENIZER_FILE)})
