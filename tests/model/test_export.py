"""ONNX exports of decoders that others made: run as they come, and refused where they do not fit."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edge_node.errors import ContextExceeded, ModelCorrupt, ModelMissing, ModelUnsupported
from edge_node.messages import Grammar, Turn
from edge_node.model.catalogue import Catalogue
from edge_node.model.export_session import open_export_session
from edge_node.model.gguf_file import GgufFile
from edge_node.model.graph import build_graph
from edge_node.model.language_model import OnnxLanguageModel
from edge_node.model.scheme import FLOAT
from edge_node.model.session import write_adapter
from edge_node.model.store import ModelStore
from tests.model.conftest import CONTEXT, TEMPLATE
from tests.model.reference import reference_logits

if TYPE_CHECKING:
    from pathlib import Path

TOKENS = np.random.default_rng(2).integers(3, 200, 40)


class Silent:
    def start(self, label: str, total: int) -> None: ...
    def advance(self, done: int) -> None: ...
    def finish(self) -> None: ...
    def note(self, text: str) -> None: ...


def write_export(folder: Path, *, gguf: Path, tokenizer: Path, external: bool = False) -> None:
    """Write the tiny model as exports have it: a mask in, caches that grow, logits of every position."""
    folder.mkdir()
    build_graph(GgufFile.open(gguf), folder, scheme=FLOAT, progress=lambda _done, _total: None)
    model = onnx.load(str(folder / "model.onnx"))
    graph = model.graph
    replaced = {"seqlens_k", "total_sequence_length", "positions"}
    kept = [each for each in graph.input if each.name not in replaced]
    more = [
        helper.make_tensor_value_info(name, TensorProto.INT64, [1, f"{name}_length"])
        for name in ("attention_mask", "position_ids")
    ]
    for each in graph.output:
        each.type.tensor_type.shape.dim[2 if each.name != "logits" else 1].dim_param = "total"
    nodes = [
        helper.make_node("ReduceSum", ["attention_mask"], ["count"], keepdims=0),
        helper.make_node("Sub", ["count", "one"], ["before"]),
        helper.make_node("Cast", ["before"], ["seqlen"], to=TensorProto.INT32),
        helper.make_node("Reshape", ["seqlen", "flat"], ["seqlens_k"]),
        helper.make_node("Cast", ["count"], ["total_sequence_length"], to=TensorProto.INT32),
    ]
    for each in graph.node:
        if "positions" in each.input:
            nodes.append(helper.make_node("Identity", [each.input[0]], [each.output[0]]))
        else:
            nodes.append(each)
    graph.initializer.append(onnx.numpy_helper.from_array(np.array(1, np.int64), "one"))
    graph.initializer.append(onnx.numpy_helper.from_array(np.array([1], np.int64), "flat"))
    made = helper.make_graph(nodes, "export", kept + more, graph.output, graph.initializer)
    for path in folder.iterdir():
        path.unlink()
    whole = helper.make_model(made, opset_imports=model.opset_import, ir_version=10)
    onnx.save(whole, str(folder / "model.onnx"), save_as_external_data=external, location="model.onnx_data")
    shutil.copyfile(tokenizer, folder / "tokenizer.json")
    (folder / "config.json").write_text(
        json.dumps(
            {"model_type": "llama", "max_position_embeddings": CONTEXT, "bos_token_id": 1, "eos_token_id": 2}
        )
    )
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": TEMPLATE}))


@pytest.fixture
def export(tiny_gguf: Path, tiny_folder: Path, tmp_path: Path) -> Path:
    write_export(tmp_path / "export", gguf=tiny_gguf, tokenizer=tiny_folder / "tokenizer.json")
    return tmp_path / "export"


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models", catalogue=Catalogue.load())


def test_an_export_computes_what_the_model_is_defined_to_in_any_pieces(export: Path, tiny_gguf: Path) -> None:
    expected = reference_logits(GgufFile.open(tiny_gguf), TOKENS)
    session = open_export_session(export / "model.onnx", threads=1, length=64)
    for pieces in ([40], [30, 10], [1] * 40):
        position = 0
        for count in pieces:
            came = session.run(TOKENS[position : position + count], position=position)
            position += count
        assert np.linalg.norm(came[-1] - expected) < 1e-4 * np.linalg.norm(expected)


def test_what_was_read_is_forgotten_from_a_smaller_position_on(export: Path) -> None:
    session = open_export_session(export / "model.onnx", threads=1, length=64)
    expected = session.run(TOKENS[:20], position=0)
    session.run(TOKENS[20:40], position=10)
    np.testing.assert_allclose(session.run(TOKENS[10:20], position=10), expected, atol=1e-4)


def test_what_was_read_can_be_kept_and_taken_up(export: Path) -> None:
    session = open_export_session(export / "model.onnx", threads=1, length=64)
    expected = session.run(TOKENS[:20], position=0)
    kept = session.snapshot(15)
    session.run(TOKENS[20:40], position=0)
    session.restore(kept, TOKENS[:15].tolist())
    np.testing.assert_allclose(session.run(TOKENS[15:20], position=15), expected, atol=1e-4)


def test_more_than_the_length_is_refused(export: Path) -> None:
    session = open_export_session(export / "model.onnx", threads=1, length=32)
    with pytest.raises(ContextExceeded):
        session.run(TOKENS, position=0)


@pytest.mark.parametrize("external", [False, True])
def test_a_folder_with_an_export_is_laid_ready_and_answers(
    store: ModelStore,
    tiny_gguf: Path,
    tiny_folder: Path,
    tmp_path: Path,
    external: bool,  # noqa: FBT001
) -> None:
    folder = tmp_path / "own"
    write_export(folder, gguf=tiny_gguf, tokenizer=tiny_folder / "tokenizer.json", external=external)
    ready = store.ensure(str(folder), progress=Silent())
    assert store.locate(str(folder)) == ready
    model = OnnxLanguageModel.open(ready, context=256, threads=1)
    chat = [Turn("system", "Choose."), Turn("user", "pump")]
    grammar = Grammar('start: "stop" | "speed"', kind="lark")
    answers = {model.generate(chat, grammar=grammar, max_tokens=9).text for _ in range(2)}
    assert len(answers) == 1
    assert answers <= {"stop", "speed"}


def test_an_export_that_was_replaced_is_another_model(store: ModelStore, export: Path) -> None:
    first = store.ensure(str(export), progress=Silent())
    told = json.loads((export / "config.json").read_text())
    (export / "config.json").write_text(json.dumps({**told, "max_position_embeddings": 128}))
    assert store.ensure(str(export), progress=Silent()) != first


def test_a_tokenizer_of_another_model_is_refused(store: ModelStore, export: Path) -> None:
    tokenizer = json.loads((export / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary |= {f"more{index}": len(vocabulary) + index for index in range(100)}
    (export / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(ModelUnsupported, match=r"a tokenizer of at most \d+ tokens, came"):
        store.ensure(str(export), progress=Silent())
    with pytest.raises(ModelMissing):
        store.locate(str(export))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("model.onnx", None, "an ONNX model that loads"),
        ("tokenizer.json", "{", "a tokenizer.json"),
        ("config.json", "[]", "a JSON object"),
        ("config.json", '{"max_position_embeddings": "x"}', "max_position_embeddings"),
        ("config.json", '{"max_position_embeddings": 64, "eos_token_id": "x"}', "identifiers of tokens"),
        ("config.json", '{"max_position_embeddings": 64}', "tokens that end an answer"),
        ("tokenizer_config.json", "{}", "a chat template"),
        ("chat_template.jinja", "{% for", "a chat template that compiles"),
    ],
)
def test_a_spoilt_file_is_named_and_nothing_counts_as_ready(
    store: ModelStore, export: Path, name: str, content: str | None, words: str
) -> None:
    path = export / name
    path.write_bytes(path.read_bytes()[:5000] if content is None else content.encode())
    with pytest.raises((ModelCorrupt, ModelUnsupported), match=words):
        store.ensure(str(export), progress=Silent())
    with pytest.raises(ModelMissing):
        store.locate(str(export))


def test_a_graph_of_another_kind_is_refused_with_what_is_expected(tiny_folder: Path) -> None:
    with pytest.raises(ModelUnsupported, match=r"attention_mask.*came positions, seqlens_k"):
        open_export_session(tiny_folder / "model.onnx", threads=1, length=8)


def test_an_adapter_over_an_export_is_refused(store: ModelStore, export: Path, tmp_path: Path) -> None:
    ready = store.ensure(str(export), progress=Silent())
    write_adapter(tmp_path / "own.onnx_adapter", parameters={}, base=1)
    with pytest.raises(ModelUnsupported, match=r"own\.onnx_adapter"):
        OnnxLanguageModel.open(ready, context=64, threads=1, adapters={"node": tmp_path / "own.onnx_adapter"})
