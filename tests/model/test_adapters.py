"""Adapters: from what training leaves to answers, over one base that others share."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_node.errors import ModelCorrupt, ModelError, ModelUnsupported
from edge_node.messages import Grammar, Turn
from edge_node.model.adapted import AdaptedModel
from edge_node.model.build import build_language_model
from edge_node.model.gguf_file import GgufFile
from edge_node.model.graph import build_graph
from edge_node.model.language_model import OnnxLanguageModel
from edge_node.model.lora import convert_adapter
from edge_node.model.manifest import read_manifest
from edge_node.model.scheme import FLOAT
from edge_node.model.session import open_kv_session, read_adapter, write_adapter
from edge_node.model.turned_base import TurnedBase, is_turned
from tests.model.conftest import FEED_FORWARD, HEADS, HIDDEN, KV_HEADS, LAYERS, write_gguf
from tests.model.reference import reference_logits

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

RANK, ALPHA = 4, 8
NARROW = HIDDEN // HEADS * KV_HEADS
WIDTHS = {
    "self_attn.q_proj": (HIDDEN, HIDDEN),
    "self_attn.v_proj": (NARROW, HIDDEN),
    "mlp.up_proj": (FEED_FORWARD, HIDDEN),
    "mlp.down_proj": (HIDDEN, FEED_FORWARD),
}
TOKENS = np.arange(40, 60)
ANSWER = Grammar('start: "stop" | "speed" | "user"', kind="lark")
CHAT = [Turn("system", "Choose one of the words."), Turn("user", "pump")]


def write_peft(folder: Path, *, seed: int = 5, **told: object) -> dict[str, NDArray[np.float32]]:
    """Write an adapter as PEFT does; return its matrices by name."""
    random = np.random.default_rng(seed)
    folder.mkdir()
    matrices = {}
    for layer in range(LAYERS):
        for part, (rows, columns) in WIDTHS.items():
            stem = f"base_model.model.model.layers.{layer}.{part}"
            matrices[f"{stem}.lora_A.weight"] = random.normal(0, 0.2, (RANK, columns)).astype(np.float32)
            matrices[f"{stem}.lora_B.weight"] = random.normal(0, 0.2, (rows, RANK)).astype(np.float32)
    head, body = {}, b""
    for name, values in matrices.items():
        offsets = [len(body), len(body) + values.nbytes]
        head[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": offsets}
        body += values.tobytes()
    words = json.dumps(head).encode()
    (folder / "adapter_model.safetensors").write_bytes(len(words).to_bytes(8, "little") + words + body)
    configuration = {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "bias": "none", **told}
    (folder / "adapter_config.json").write_text(json.dumps(configuration))
    return matrices


class Merged:
    """A GGUF file whose matrices have an adapter added to them."""

    def __init__(self, gguf: GgufFile, matrices: dict[str, NDArray[np.float32]]) -> None:
        self._gguf, self._matrices = gguf, matrices
        self.dimensions, self.architecture, self.has = gguf.dimensions, gguf.architecture, gguf.has

    def tensor(self, name: str) -> NDArray[np.float32]:
        values = self._gguf.tensor(name)
        parts = {"attn_q": "self_attn.q", "attn_v": "self_attn.v", "ffn_up": "mlp.up", "ffn_down": "mlp.down"}
        _, _, rest = name.partition("blk.")
        layer, _, part = rest.removesuffix(".weight").partition(".")
        if part not in parts:
            return values
        stem = f"base_model.model.model.layers.{layer}.{parts[part]}_proj"
        added = self._matrices[f"{stem}.lora_B.weight"] @ self._matrices[f"{stem}.lora_A.weight"]
        if part == "attn_q" and self.architecture.name == "llama":
            added = added.reshape(HEADS, 2, -1, HIDDEN).swapaxes(1, 2).reshape(added.shape)
        return np.asarray(values + added * (ALPHA / RANK), np.float32)


@pytest.fixture(scope="module", params=["llama", "qwen2"])
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("base") / "base.gguf"
    write_gguf(path, architecture=request.param)
    build_language_model(path, path.parent / "onnx", progress=lambda _done, _total: None)
    return path.parent / "onnx"


@pytest.fixture
def adapter(base: Path, tmp_path: Path) -> Path:
    write_peft(tmp_path / "peft")
    convert_adapter(tmp_path / "peft", tmp_path / "own.onnx_adapter", base=base)
    return tmp_path / "own.onnx_adapter"


def test_an_adapter_computes_what_merged_weights_would(base: Path, tmp_path: Path) -> None:
    matrices = write_peft(tmp_path / "peft")
    convert_adapter(tmp_path / "peft", tmp_path / "own.onnx_adapter", base=base)
    gguf = GgufFile.open(base.parent / "base.gguf")
    build_graph(gguf, tmp_path, scheme=FLOAT, progress=lambda _done, _total: None)
    session = open_kv_session(tmp_path / "adaptable.onnx", threads=1, length=64)
    adapter = read_adapter(tmp_path / "own.onnx_adapter")
    session.check_adapter(adapter)
    plain, merged = reference_logits(gguf, TOKENS), reference_logits(Merged(gguf, matrices), TOKENS)  # type: ignore[arg-type]
    assert np.linalg.norm(plain - merged) > 0.1 * np.linalg.norm(plain)
    for active, expected in ((adapter, merged), (None, plain), (adapter, merged)):
        session.adapt(active)
        came = session.run(TOKENS, position=0)[-1]
        assert np.linalg.norm(came - expected) < 1e-4 * np.linalg.norm(expected)


def test_one_adapter_file_fits_a_base_however_it_was_built(base: Path, tmp_path: Path) -> None:
    matrices = write_peft(tmp_path / "peft")
    convert_adapter(tmp_path / "peft", tmp_path / "own.onnx_adapter", base=base)
    expected = reference_logits(Merged(GgufFile.open(base.parent / "base.gguf"), matrices), TOKENS)  # type: ignore[arg-type]
    adapter = read_adapter(tmp_path / "own.onnx_adapter")
    for bits in (8, 4):
        folder = tmp_path / f"built{bits}"
        build_language_model(
            base.parent / "base.gguf", folder, bits=bits, progress=lambda _done, _total: None
        )
        session = open_kv_session(folder / "adaptable.onnx", threads=1, length=64)
        session.adapt(adapter.changed(TurnedBase(folder).fitted) if is_turned(folder) else adapter)
        came = session.run(TOKENS, position=0)[-1]
        # 4 bits are fewer than what the weights came in; a wrong turn would leave nothing alike.
        assert np.linalg.norm(came - expected) < (0.08 if bits == 8 else 0.3) * np.linalg.norm(expected)
        assert is_turned(folder) == (bits == 8)


def test_norms_that_cannot_be_read_are_named(base: Path, adapter: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(base, broken)
    norms = broken / "norms.npz"
    norms.write_bytes(norms.read_bytes()[:100].ljust(norms.stat().st_size, b"\0"))
    with pytest.raises(ModelCorrupt, match=r"norms\.npz"):
        OnnxLanguageModel.open(broken, context=256, threads=1, adapters={"node": adapter})


def test_requests_switch_between_adapters_and_the_base(base: Path, adapter: Path, tmp_path: Path) -> None:
    write_peft(tmp_path / "other", seed=6)
    convert_adapter(tmp_path / "other", tmp_path / "other.onnx_adapter", base=base)
    files = {"own": adapter, "other": tmp_path / "other.onnx_adapter"}
    shared = OnnxLanguageModel.open(base, context=256, threads=1, adapters=files)

    def answer(model: OnnxLanguageModel | AdaptedModel) -> tuple[str, float]:
        generation = model.generate(CHAT, grammar=ANSWER, max_tokens=16)
        return generation.text, generation.log_probability

    alone = {
        name: answer(
            AdaptedModel(
                OnnxLanguageModel.open(base, context=256, threads=1, adapters={name: path}), adapter=name
            )
        )
        for name, path in files.items()
    }
    alone["base"] = answer(OnnxLanguageModel.open(base, context=256, threads=1))
    assert len(set(alone.values())) == 3
    models = {name: AdaptedModel(shared, adapter=name) for name in files}
    for name in ("own", "base", "other", "own", "base", "base", "other"):
        text, probability = answer(models.get(name, shared))
        assert text == alone[name][0]
        assert probability == pytest.approx(alone[name][1], abs=1e-4)


def test_an_adapter_of_another_base_is_refused_with_both_names(base: Path, tmp_path: Path) -> None:
    path = tmp_path / "foreign.onnx_adapter"
    write_adapter(path, parameters={}, base=4711)
    with pytest.raises(ModelUnsupported, match=r"foreign\.onnx_adapter.*base\.gguf.*came one of number 4711"):
        OnnxLanguageModel.open(base, context=256, threads=1, adapters={"node": path})


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("blk.9.qkv.lora_a", (HIDDEN, 2)),
        ("blk.0.qkv.lora_a", (HIDDEN + 1, 2)),
        ("blk.0.qkv.lora_a", (HIDDEN, 3)),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused(
    base: Path, tmp_path: Path, name: str, shape: tuple[int, int]
) -> None:
    path = tmp_path / "odd.onnx_adapter"
    parameters = {name: np.zeros(shape, np.float32), name[:-1] + "b": np.zeros((2, 128), np.float32)}
    write_adapter(path, parameters=parameters, base=read_manifest(base).base)
    with pytest.raises(ModelUnsupported, match=r"odd\.onnx_adapter"):
        OnnxLanguageModel.open(base, context=256, threads=1, adapters={"node": path})


def test_a_cut_or_missing_adapter_is_named(base: Path, adapter: Path, tmp_path: Path) -> None:
    whole = adapter.read_bytes()
    for kept in (0, 10, len(whole) // 2, len(whole) * 9 // 10):
        adapter.write_bytes(whole[:kept])
        with pytest.raises(ModelCorrupt, match=r"own\.onnx_adapter"):
            OnnxLanguageModel.open(base, context=256, threads=1, adapters={"node": adapter})
    with pytest.raises(ModelCorrupt, match="no file"):
        read_adapter(tmp_path / "none.onnx_adapter")


def test_an_adapter_with_altered_bytes_is_read_or_refused(base: Path, adapter: Path) -> None:
    whole, random = adapter.read_bytes(), np.random.default_rng(3)
    session = open_kv_session(base / "adaptable.onnx", threads=1, length=32)
    for _ in range(100):
        content = bytearray(whole)
        content[int(random.integers(0, 3000))] ^= int(random.integers(1, 256))
        adapter.write_bytes(content)
        try:
            session.check_adapter(read_adapter(adapter))
        except ModelError:
            continue


@pytest.mark.parametrize(
    "told",
    [{"peft_type": "IA3"}, {"use_dora": True}, {"bias": "all"}, {"modules_to_save": ["lm_head"]}, {"r": "x"}],
)
def test_adapters_of_other_kinds_are_refused(base: Path, tmp_path: Path, told: dict[str, object]) -> None:
    write_peft(tmp_path / "peft", **told)
    with pytest.raises(ModelError, match=r"adapter_config\.json"):
        convert_adapter(tmp_path / "peft", tmp_path / "own.onnx_adapter", base=base)
    assert not (tmp_path / "own.onnx_adapter").exists()


@pytest.mark.parametrize("kept", [0, 5, 300, 15_000])
def test_weights_cut_short_are_refused(base: Path, tmp_path: Path, kept: int) -> None:
    write_peft(tmp_path / "peft")
    path = tmp_path / "peft" / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ModelCorrupt, match="safetensors"):
        convert_adapter(tmp_path / "peft", tmp_path / "own.onnx_adapter", base=base)


def test_an_adapter_for_other_widths_is_refused_before_it_is_written(tmp_path: Path) -> None:
    write_gguf(tmp_path / "wide.gguf", architecture="qwen3")
    build_language_model(tmp_path / "wide.gguf", tmp_path / "wide", progress=lambda _done, _total: None)
    write_peft(tmp_path / "peft")
    with pytest.raises(ModelUnsupported, match=r"an adapter of wide\.gguf: 2 layers, q of 128 by 64"):
        convert_adapter(tmp_path / "peft", tmp_path / "own.onnx_adapter", base=tmp_path / "wide")
