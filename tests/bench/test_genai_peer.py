from __future__ import annotations

import importlib.util
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edge_node.bench.engine_process import EngineProcess
from edge_node.bench.genai_model import CONFIG_FILE, write_genai_model
from edge_node.model.gguf_file import GgufFile
from edge_node.model.session import open_session
from tests.model.conftest import HIDDEN, KV_HEADS, LAYERS, write_gguf
from tests.model.reference import reference_logits

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

HEAD_SIZE, THREADS, FITS = 16, 1, 200
PROMPT = [1, 40, 41, 42, 43, 44]


@pytest.fixture(scope="module", params=["llama", "qwen2"])
def gguf(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("genai") / f"{request.param}.gguf"
    write_gguf(path, architecture=request.param)
    write_genai_model(path, path.with_suffix(""), threads=THREADS, context=FITS)
    return path


@pytest.fixture
def engine(gguf: Path) -> Iterator[EngineProcess]:
    if importlib.util.find_spec("onnxruntime_genai") is None:
        pytest.skip("onnxruntime-genai is not installed")
    with EngineProcess(
        "edge_node.bench.engine_genai", settings={"folder": str(gguf.with_suffix(""))}
    ) as started:
        yield started


def read(folder: Path, tokens: NDArray[np.int64], *, apart: int) -> NDArray[np.float32]:
    """Return the logits after `tokens`, of which all but the first `apart` are read in a second run."""
    session = open_session(folder / "model.onnx", threads=1)
    kept = {
        f"past_key_values.{layer}.{part}": np.zeros((1, KV_HEADS, 0, HEAD_SIZE), np.float32)
        for layer in range(LAYERS)
        for part in ("key", "value")
    }
    for start, stop in ((0, apart), (apart, len(tokens))):
        mask = np.ones((1, stop), np.int64)
        inputs = {"input_ids": tokens[None, start:stop], "attention_mask": mask, **kept}
        made = dict(zip(session.output_names, session.run(inputs), strict=True))
        kept = {name: made[name.replace("past_key_values", "present")] for name in kept}
    return np.asarray(made["logits"])


def test_the_graph_counts_from_the_mask_and_answers_for_the_last_place(gguf: Path) -> None:
    tokens = np.random.default_rng(3).integers(0, 200, 37)

    logits = read(gguf.with_suffix(""), tokens, apart=30)

    expected = reference_logits(GgufFile.open(gguf), tokens)
    assert logits.shape == (1, 1, len(expected))
    assert np.linalg.norm(logits[0, 0] - expected) / np.linalg.norm(expected) < 0.08


def test_the_settings_name_what_the_graph_has(gguf: Path) -> None:
    folder = gguf.with_suffix("")
    session = open_session(folder / "model.onnx", threads=1)

    settings: dict[str, Any] = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))

    decoder = settings["model"]["decoder"]
    patterns = decoder["inputs"].values()
    names = {name % layer if "%d" in name else name for name in patterns for layer in range(LAYERS)}
    assert names == set(session.input_names)
    assert decoder["session_options"]["intra_op_num_threads"] == THREADS
    assert (decoder["hidden_size"], decoder["head_size"]) == (HIDDEN, HEAD_SIZE)
    assert settings["search"]["max_length"] == FITS
    assert not (folder / "adaptable.onnx").exists()


def test_it_writes_what_a_grammar_allows(engine: EngineProcess) -> None:
    choices = ["stop the pump", "speed the user"]

    made = engine.ask("generate", tokens=PROMPT, schema="", choices=choices, max_tokens=40)

    assert made["text"] in choices
    assert made["tokens"] > 3
    assert made["s"] > 0


def test_it_writes_what_a_schema_allows(engine: EngineProcess) -> None:
    schema = json.dumps(
        {
            "type": "object",
            "properties": {"stop": {"const": 7}},
            "required": ["stop"],
            "additionalProperties": False,
        }
    )

    made = engine.ask("generate", tokens=PROMPT, schema=schema, choices=[], max_tokens=60)

    assert made["text"] == '{"stop":7}'


def test_what_a_grammar_forces_may_be_longer_than_the_limit(engine: EngineProcess) -> None:
    only = "stop the pump and speed up the fan"

    made = engine.ask("generate", tokens=PROMPT, schema="", choices=[only], max_tokens=3)

    assert made["text"]
    assert only.startswith(made["text"])
    assert made["tokens"] >= 3


def test_it_writes_as_many_tokens_as_are_timed(engine: EngineProcess) -> None:
    made = engine.ask("plain", tokens=PROMPT, schema="", choices=[], max_tokens=20)

    assert made["tokens"] == 20
    assert engine.ask("memory")["peak_rss_mb"] > 10


def test_it_opens_no_file_to_tell_its_maker_of_what_it_does(
    gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if importlib.util.find_spec("onnxruntime_genai") is None:
        pytest.skip("onnxruntime-genai is not installed")
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    settings = {"folder": str(gguf.with_suffix(""))}

    with EngineProcess("edge_node.bench.engine_genai", settings=settings) as engine:
        engine.ask("plain", tokens=PROMPT, schema="", choices=[], max_tokens=4)

    assert not list(tmp_path.rglob("onnxruntime*"))
