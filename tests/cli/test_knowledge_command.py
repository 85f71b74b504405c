"""`edge-node knowledge` with a real, if tiny, embedding model."""

from __future__ import annotations

import hashlib
import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
import structlog
from click.testing import CliRunner, Result
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from edge_node.cli import edge_node
from edge_node.errors import ConfigurationInvalid, KnowledgeError, ModelMissing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WORDS = "pump bearing hot seal ring grease shaft degrees stop hours rover wheel".split()  # noqa: SIM905 - a sentence


def _write_model(folder: Path) -> None:
    """Write a model whose token vectors are rows of a table, and its tokenizer."""
    folder.mkdir(parents=True)
    vocabulary = {"[UNK]": 0, **{word: number for number, word in enumerate(WORDS, start=1)}}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))  # noqa: S106 - no password
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    table = np.random.default_rng(1).normal(size=(len(vocabulary), 384)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "input_ids"], ["hidden"])],
        "tiny",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"])
            for name in ("input_ids", "attention_mask", "token_type_ids")
        ],
        [helper.make_tensor_value_info("hidden", TensorProto.FLOAT, ["batch", "tokens", 384])],
        [numpy_helper.from_array(table, "table")],
    )
    written = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(written, str(folder / "model.onnx"))


def _catalogue(folder: Path) -> str:
    files = []
    for name in ("model.onnx", "tokenizer.json"):
        data = (folder / name).read_bytes()
        sha256 = hashlib.sha256(data).hexdigest()
        source = {"path": str(folder / name)}
        files.append({"name": name, "sha256": sha256, "size": len(data), "sources": [source]})
    entry = {"kind": "embedding", "licence": "MIT", "description": "A model for this test.", "files": files}
    return json.dumps({"models": {"tiny": entry}})


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a folder with a runtime file and two nodes, whose embedding model lies at home."""
    home = tmp_path / "home"
    monkeypatch.setenv("EDGE_NODE_HOME", str(home))
    monkeypatch.setenv("COLUMNS", "200")
    _write_model(home / "models" / "tiny")
    (home / "models.yaml").write_text(_catalogue(home / "models" / "tiny"), encoding="utf-8")
    CliRunner().invoke(edge_node, ["model", "pull", "tiny"], catch_exceptions=False)
    folder = tmp_path / "plant"
    manuals = {
        "guard": {"pump.md": "# Pump\n\nThe bearing gets hot above 85 degrees.\n", "cut.pdf": "%PDF-1.4"},
        "rover": {"wheel.md": "# Wheel\n\nGrease the shaft.\n"},
    }
    for node, files in manuals.items():
        (folder / "nodes" / node / "manual").mkdir(parents=True)
        spec = f"edge_node: 1\nname: {node}\nask: true\nknowledge: [manual/*]\n"
        (folder / "nodes" / node / "node.yaml").write_text(spec, encoding="utf-8")
        for file, text in files.items():
            (folder / "nodes" / node / "manual" / file).write_text(text, encoding="utf-8")
    runtime = "edge_node: 1\nedge: hall-3\nstate: state\nembedding: {name: tiny}\n"
    (folder / "edge-node.yaml").write_text(runtime, encoding="utf-8")
    monkeypatch.chdir(folder)
    yield folder
    structlog.reset_defaults()


def _run(*arguments: str, status: int = 0) -> Result:
    result = CliRunner().invoke(edge_node, ["knowledge", *arguments], catch_exceptions=False)
    assert result.exit_code == status, result.output
    return result


@pytest.mark.usefixtures("plant")
def test_build_counts_what_it_took_up_and_names_what_it_could_not_read() -> None:
    result = _run("build")

    assert "2 files, 2 passages" in result.stdout
    assert "2 embedded, 0 unchanged" in result.stdout
    assert "not read: guard: document manual/cut.pdf: expected a whole PDF" in result.stderr
    assert "0 embedded, 2 unchanged" in _run("build").stdout


def test_the_index_lies_where_the_runtime_file_says(plant: Path) -> None:
    _run("build", "--config", str(plant / "edge-node.yaml"))

    assert (plant / "state" / "knowledge.db").is_file()


@pytest.mark.usefixtures("plant")
def test_strict_ends_with_a_status_where_a_file_cannot_be_read() -> None:
    _run("build", "--strict", status=1)


def test_strict_is_content_where_all_can_be_read(plant: Path) -> None:
    (plant / "nodes" / "guard" / "manual" / "cut.pdf").unlink()

    _run("build", "--strict")


@pytest.mark.usefixtures("plant")
def test_build_tells_programs_the_same() -> None:
    report = json.loads(_run("build", "--json").stdout)

    assert (report["files"], report["chunks"], report["embedded"]) == (2, 2, 2)
    assert [remark["file"] for remark in report["unreadable"]] == ["manual/cut.pdf"]


@pytest.mark.usefixtures("plant")
def test_search_prints_the_place_the_heading_and_the_text() -> None:
    _run("build")

    lines = _run("search", "is the bearing hot", "--limit", "1").stdout.splitlines()

    assert lines[0] == "manual/pump.md:1-3  Pump"
    assert "similarity" in lines[1]
    assert "  | The bearing gets hot above 85 degrees." in lines


@pytest.mark.usefixtures("plant")
def test_search_keeps_to_a_node_and_tells_programs_the_same() -> None:
    _run("build")

    found = json.loads(_run("search", "bearing", "--node", "rover", "--json").stdout)

    assert [(passage["node"], passage["file"]) for passage in found] == [("rover", "manual/wheel.md")]


@pytest.mark.usefixtures("plant")
def test_a_node_that_is_not_there_is_named_with_those_that_are() -> None:
    result = _run("search", "bearing", "--node", "gard", status=2)

    assert "expected one of guard, rover, came 'gard'" in result.output


@pytest.mark.usefixtures("plant")
def test_search_before_the_first_build_says_how_to_build() -> None:
    with pytest.raises(KnowledgeError) as raised:
        _run("search", "bearing")

    assert raised.value.hint == "edge-node knowledge build"


def test_a_missing_model_and_a_bad_file_are_errors_with_a_way_out(plant: Path) -> None:
    shutil.rmtree(plant.parent / "home" / "models" / "tiny")
    with pytest.raises(ModelMissing):
        _run("build")
    (plant / "edge-node.yaml").write_text("edge_node: 1\nedge: hall-3\nnonsense: 1\n", encoding="utf-8")
    with pytest.raises(ConfigurationInvalid):
        _run("build")
