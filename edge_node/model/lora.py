"""LoRA adapters as training leaves them, turned into what a built model takes.

Knows the folder that PEFT writes, and how matrices lie in a built graph; knows nothing of how one is run.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from edge_node.errors import ModelCorrupt, ModelUnsupported
from edge_node.model.manifest import DOWN, UP, read_manifest
from edge_node.model.session import write_adapter

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_node.model.manifest import Decoder, Manifest

    Pair = tuple[NDArray[np.float32], NDArray[np.float32]]

_CONFIGURATION, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_NAME = re.compile(r".*\.layers\.(\d+)\.(?:self_attn|mlp)\.(\w+)_proj\.lora_([AB])(?:\.default)?\.weight")
_PRODUCTS = {
    "qkv": ("q", "k", "v"),
    "attn_output": ("o",),
    "gate_up": ("gate", "up"),
    "ffn_down": ("down",),
}
_TYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2")}
_LARGEST_HEAD = 10_000_000


def convert_adapter(folder: Path, path: Path, *, base: Path, half: bool = False) -> None:
    """Write the adapter that PEFT left in a folder as one for a built model.

    Args:
        folder: Holds adapter_config.json and adapter_model.safetensors.
        path: The .onnx_adapter file to write; it appears only once it is whole.
        base: Folder of the built model.
        half: Whether it is kept in 16 bits, at half the size.

    Raises:
        ModelCorrupt: A file of the folder is missing or cannot be read.
        ModelUnsupported: The adapter is of another kind or for a model of other widths.
    """
    manifest = read_manifest(base)
    if manifest.decoder is None:
        raise ModelUnsupported(base, expected="a language model", came="another kind")
    scale = _scale(folder / _CONFIGURATION)
    pairs = _pairs(folder / _WEIGHTS, scale=scale)
    parameters = _Layout(folder / _WEIGHTS, manifest=manifest, decoder=manifest.decoder).packed(pairs)
    write_adapter(path, parameters=parameters, base=manifest.base, half=half)


class _Layout:
    """Where the matrices of one base belong."""

    def __init__(self, path: Path, *, manifest: Manifest, decoder: Decoder) -> None:
        self._path = path
        self._base = ", ".join(manifest.sources)
        self._interleaved = decoder.architecture == "llama"
        size = {name: int(each) for name, each in decoder.dimensions.items()}
        self._layers, self._head = size["layers"], size["head_size"]
        queries, keys = size["heads"] * self._head, size["kv_heads"] * self._head
        hidden, wide = size["hidden"], size["feed_forward"]
        self._shapes = {
            "q": (queries, hidden),
            "k": (keys, hidden),
            "v": (keys, hidden),
            "o": (hidden, queries),
            "gate": (wide, hidden),
            "up": (wide, hidden),
            "down": (hidden, wide),
        }

    def packed(self, pairs: Mapping[tuple[int, str], Pair]) -> dict[str, NDArray[np.float32]]:
        """Return the matrices by the names of the graph's inputs."""
        for (layer, part), pair in pairs.items():
            self._check(layer, part, pair)
        parameters = {}
        for layer in range(self._layers):
            for product, parts in _PRODUCTS.items():
                given = {part: pairs[layer, part] for part in parts if (layer, part) in pairs}
                if given:
                    name = f"blk.{layer}.{product}"
                    parameters[name + DOWN] = np.concatenate([pair[0].T for pair in given.values()], axis=1)
                    parameters[name + UP] = self._up(parts, given)
        return parameters

    def _up(self, parts: tuple[str, ...], given: Mapping[str, Pair]) -> NDArray[np.float32]:
        """Return what leads each rank to the outputs of its own part alone."""
        columns = [self._shapes[part][0] for part in parts]
        joined = np.zeros((sum(pair[0].shape[0] for pair in given.values()), sum(columns)), np.float32)
        row = column = 0
        for part, width in zip(parts, columns, strict=True):
            if part in given:
                up = self._turned(part, given[part][1]).T
                joined[row : row + len(up), column : column + width] = up
                row += len(up)
            column += width
        return joined

    def _turned(self, part: str, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Put rows of heads in the order of GGUF, where the two of each rotary pair are neighbours."""
        if not self._interleaved or part not in {"q", "k"}:
            return rows
        halves = rows.reshape(-1, 2, self._head // 2, rows.shape[1])
        return halves.swapaxes(1, 2).reshape(rows.shape)

    def _check(self, layer: int, part: str, pair: Pair) -> None:
        rows, columns = self._shapes[part]
        down, up = pair
        if (
            layer >= self._layers
            or (up.shape[0], down.shape[1]) != (rows, columns)
            or len(down) != up.shape[1]
        ):
            raise ModelUnsupported(
                self._path,
                expected=f"an adapter of {self._base}: {self._layers} layers, {part} of {rows} by {columns}",
                came=f"{part} of {up.shape[0]} by {down.shape[1]} in layer {layer}",
            )


def _scale(path: Path) -> float:
    """Return what products of a pair are multiplied by.

    Source: Hu et al., LoRA (2021), section 4.1; Kalajdzievski, rank-stabilised LoRA (2023).
    """
    try:
        told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        rank, alpha = float(told["r"]), float(told["lora_alpha"])
        kind = told.get("peft_type", "LORA")
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise ModelCorrupt(path, expected="what PEFT writes of an adapter", came=str(error)) from error
    if kind != "LORA":
        raise ModelUnsupported(path, expected="an adapter of the kind LORA", came=str(kind))
    for key in ("use_dora", "modules_to_save", "rank_pattern", "alpha_pattern"):
        if told.get(key):
            raise ModelUnsupported(path, expected=f"an adapter without {key}", came="one with it")
    if told.get("bias", "none") != "none":
        raise ModelUnsupported(path, expected="an adapter without bias", came=str(told["bias"]))
    if rank < 1:
        raise ModelCorrupt(path, expected="r of at least 1", came=str(rank))
    return float(alpha / (rank**0.5 if told.get("use_rslora") else rank))


def _pairs(path: Path, *, scale: float) -> dict[tuple[int, str], Pair]:
    found: dict[tuple[int, str], dict[str, NDArray[np.float32]]] = {}
    parts = {part for parts in _PRODUCTS.values() for part in parts}
    for name, values in _tensors(path).items():
        named = _NAME.fullmatch(name)
        if named is None or named[2] not in parts:
            raise ModelUnsupported(path, expected="matrices of attention and feed-forward alone", came=name)
        found.setdefault((int(named[1]), named[2]), {})[named[3]] = values
    for place, pair in found.items():
        if len(pair) != len("AB"):
            raise ModelCorrupt(path, expected=f"both matrices of {place[1]} in layer {place[0]}", came="one")
    return {place: (pair["A"], pair["B"] * np.float32(scale)) for place, pair in found.items()}


def _tensors(path: Path) -> dict[str, NDArray[np.float32]]:
    """Return all tensors of a file.

    Source: the safetensors format: length of the head, head in JSON, then the bytes of all tensors.
    """
    try:
        content = path.read_bytes()
        length = int.from_bytes(content[:8], "little")
        if not content or length > _LARGEST_HEAD:
            _refuse(path, came=f"a head of {length} bytes")
        head = json.loads(content[8 : 8 + length])
        return {
            name: _tensor(path, told, content=memoryview(content)[8 + length :])
            for name, told in head.items()
            if name != "__metadata__"
        }
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise ModelCorrupt(path, expected="a whole safetensors file", came=str(error)) from error


def _tensor(path: Path, told: Mapping[str, Any], *, content: memoryview) -> NDArray[np.float32]:
    if told["dtype"] not in _TYPES:
        raise ModelUnsupported(path, expected=f"a type among {', '.join(_TYPES)}", came=str(told["dtype"]))
    start, end = told["data_offsets"]
    raw: NDArray[Any] = np.frombuffer(content[start:end], _TYPES[told["dtype"]])
    if told["dtype"] == "BF16":
        raw = (raw.astype(np.uint32) << 16).view(np.float32)
    values: NDArray[np.float32] = raw.astype(np.float32).reshape(told["shape"])
    if values.ndim != len("AB") or not np.isfinite(values).all():
        _refuse(path, came="what is no matrix of numbers")
    return values


def _refuse(path: Path, *, came: str) -> NoReturn:
    raise ModelCorrupt(path, expected="a whole safetensors file", came=came)
