"""ONNX exports of decoders, as Optimum and others leave them: found, described, and laid ready.

Knows the files of such a folder; knows nothing of how an export is run.
"""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING, Any

from edge_node.errors import ModelCorrupt, ModelUnsupported
from edge_node.model.manifest import GRAPH_FILE, Decoder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CONFIGURATION, TOKENIZER = "config.json", "tokenizer.json"
_BESIDE = ("generation_config.json", "tokenizer_config.json", "chat_template.jinja")
_GRAPHS = (GRAPH_FILE, "decoder_model_merged.onnx", "onnx/model.onnx", "onnx/decoder_model_merged.onnx")


def export_files(path: Path) -> tuple[Path, ...]:
    """Return the files of an export, the graph first; none where there is no export of a decoder.

    Args:
        path: Its folder, or one graph in it or in its folder `onnx`.
    """
    graphs = [path] if path.suffix == ".onnx" else [path / name for name in _GRAPHS]
    graph = next((each for each in graphs if each.is_file()), None)
    if graph is None:
        return ()
    root = graph.parent if (graph.parent / CONFIGURATION).is_file() else graph.parent.parent
    needed = [root / CONFIGURATION, root / TOKENIZER]
    if not all(each.is_file() for each in needed):
        return ()
    beside = [root / name for name in _BESIDE if (root / name).is_file()]
    weights = sorted(each for each in graph.parent.glob(f"{graph.name}?data*") if each.is_file())
    return (graph, *weights, *needed, *beside)


def lay_ready(files: Sequence[Path], folder: Path) -> Decoder:
    """Put graph, weights and tokenizer of an export into `folder`; return what it is.

    Args:
        files: What `export_files` returned.
        folder: Where to put them: as links to the same bytes where that can be, else as copies.

    Raises:
        ModelCorrupt: A file cannot be read or lacks something.
    """
    graph, *_ = files
    by_name = {path.name: path for path in files}
    for path in files:
        if path.name.startswith(graph.name) or path.name == TOKENIZER:
            _link(path, folder / (GRAPH_FILE if path == graph else path.name))
    told = _read(by_name[CONFIGURATION])
    generating = {**told, **_read(by_name.get("generation_config.json"))}
    context = told.get("max_position_embeddings")
    if not isinstance(context, int) or context < 1:
        expected = "max_position_embeddings, a number of tokens"
        raise ModelCorrupt(by_name[CONFIGURATION], expected=expected, came=f"{context!r:.40}")
    return Decoder(
        architecture=str(told.get("model_type", "unknown")),
        dimensions={},
        context=context,
        exported=True,
        bos=next(iter(_tokens(generating.get("bos_token_id"), path=by_name[CONFIGURATION])), None),
        eos=_tokens(generating.get("eos_token_id"), path=by_name[CONFIGURATION]),
        chat_template=_template(by_name),
    )


def _tokens(value: Any, *, path: Path) -> list[int]:
    found = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(each, int) and each >= 0 for each in found):
        raise ModelCorrupt(path, expected="identifiers of tokens", came=f"{value!r:.40}")
    return list(found)


def _template(by_name: dict[str, Path]) -> str:
    if path := by_name.get("chat_template.jinja"):
        try:
            return path.read_text(encoding="utf-8")
        except ValueError as error:
            raise ModelCorrupt(path, expected="a chat template", came=str(error)) from error
    told = _read(by_name.get("tokenizer_config.json")).get("chat_template", "")
    if isinstance(told, list):  # several, each with a name
        told = next((each.get("template") for each in told if each.get("name") == "default"), "")
    if not isinstance(told, str) or not told:
        raise ModelUnsupported(by_name[CONFIGURATION], expected="a model with a chat template", came="none")
    return told


def _read(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelCorrupt(path, expected="JSON", came=str(error)) from error
    if not isinstance(told, dict):
        raise ModelCorrupt(path, expected="a JSON object", came=type(told).__name__)
    return told


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source.resolve(), target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)
