"""From a GGUF file to a folder that can be run: graph, weights, tokenizer and manifest.

Knows the order of the steps and how a folder appears whole or not at all; the steps themselves
lie in the modules it calls.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import edge_node
from edge_node.model.manifest import (
    FORMAT,
    GRAPH_FILE,
    MANIFEST_FILE,
    Manifest,
    describe_file,
    verify_folder,
)
from edge_node.model.tokens import TOKENIZER_FILE, write_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_node.model.gguf_file import GgufFile

__all__ = ["build_language_model", "verify_folder"]


def build_language_model(gguf_path: Path, folder: Path, *, progress: Callable[[int, int], None]) -> None:
    """Build a model that can be run; `folder` appears, or changes, only once everything is written.

    Args:
        gguf_path: The GGUF file.
        folder: Where the model is to lie; what lies there is replaced.
        progress: Called with steps done and steps in all.

    Raises:
        ModelCorrupt: The GGUF file is cut short or lacks something.
        ModelUnsupported: Its architecture, tokenizer or a tensor type cannot be run.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        fresh = Path(scratch) / folder.name
        fresh.mkdir()
        _write(gguf_path, fresh, progress)
        if folder.exists():
            shutil.rmtree(folder)
        fresh.rename(folder)


def _write(gguf_path: Path, folder: Path, progress: Callable[[int, int], None]) -> None:
    # A running edge imports this module to verify; the libraries that build would cost it 17 MB.
    from edge_node.model.gguf_file import GgufFile  # noqa: PLC0415
    from edge_node.model.graph import DATA_FILE, build_graph  # noqa: PLC0415

    gguf = GgufFile.open(gguf_path)
    steps = gguf.dimensions.layers + 1
    write_tokenizer(gguf.vocabulary, folder / TOKENIZER_FILE, source=gguf_path)
    build_graph(gguf, folder, progress=lambda done, _total: progress(done, steps))
    manifest = _manifest(gguf, folder, files=(GRAPH_FILE, DATA_FILE, TOKENIZER_FILE))
    (folder / MANIFEST_FILE).write_text(manifest.model_dump_json(indent=2), encoding="utf-8")
    progress(steps, steps)


def _manifest(gguf: GgufFile, folder: Path, *, files: tuple[str, ...]) -> Manifest:
    return Manifest(
        format=FORMAT,
        builder=edge_node.__version__,
        architecture=gguf.architecture.name,
        dimensions=asdict(gguf.dimensions),
        context=gguf.dimensions.context,
        bos=gguf.vocabulary.bos,
        eos=list(gguf.vocabulary.eos),
        chat_template=gguf.vocabulary.chat_template,
        gguf_sha256=describe_file(gguf.path).sha256,
        files={name: describe_file(folder / name) for name in files},
    )
