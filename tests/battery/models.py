"""Two tiny models with random weights, so that an edge starts within a second."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING
from unittest.mock import patch

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, pre_tokenizers

from edge_node.model.catalogue import Catalogue
from edge_node.model.embedding import DIMENSION
from edge_node.model.store import ModelStore
from edge_node.observe.progress import LoggedProgress
from edge_node.paths import models_folder
from tests.model import conftest as tiny_llama

if TYPE_CHECKING:
    from pathlib import Path

LANGUAGE, EMBEDDING = "tiny-llama", "tiny-embedder"
_WORDS = ("[UNK]", "stamp", "trim", "press", "with", "to", "how", "often", "is", "a", "greased")
_SIZES = {"HIDDEN": 128, "FEED_FORWARD": 256, "LAYERS": 4, "CONTEXT": 2048}


def make_home(folder: Path) -> None:
    """Make a folder that can be an EDGE_NODE_HOME: a catalogue with both models, and the models, ready."""
    sources = folder / "sources"
    sources.mkdir(parents=True)
    with patch.multiple(tiny_llama, **_SIZES):
        tiny_llama.write_gguf(sources / "model.gguf")
    _write_embedder(sources)
    catalogue = {
        "models": {
            LANGUAGE: _entry("language", sources, "model.gguf"),
            EMBEDDING: _entry("embedding", sources, "model.onnx", "tokenizer.json"),
        }
    }
    (folder / "models.yaml").write_text(json.dumps(catalogue))
    with patch.dict(os.environ, {"EDGE_NODE_HOME": str(folder)}):
        store = ModelStore(models_folder(), catalogue=Catalogue.load())
        for name in (LANGUAGE, EMBEDDING):
            store.ensure(name, progress=LoggedProgress())


def _entry(kind: str, sources: Path, *names: str) -> dict[str, object]:
    files = []
    for name in names:
        content = (sources / name).read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        source = {"path": str(sources / name)}
        files.append({"name": name, "sha256": digest, "size": len(content), "sources": [source]})
    return {"kind": kind, "licence": "Apache-2.0", "files": files}


def _write_embedder(folder: Path) -> None:
    table = np.random.default_rng(3).normal(size=(len(_WORDS), DIMENSION)).astype(np.float32)
    inputs = ("input_ids", "attention_mask", "token_type_ids")
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "input_ids"], ["last_hidden_state"])],
        "tiny",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"]) for name in inputs],
        [
            helper.make_tensor_value_info(
                "last_hidden_state", TensorProto.FLOAT, ["batch", "length", DIMENSION]
            )
        ],
        [numpy_helper.from_array(table, "table")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.save(model, folder / "model.onnx")
    vocabulary = {word: index for index, word in enumerate(_WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=_WORDS[0]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
