"""From the files of a model to a folder that can be run: graph, weights, tokenizer and manifest.

Knows the order of the steps and how a folder appears whole or not at all; the steps themselves
lie in the modules it calls.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from edge_node.model.chat_template import ChatTemplate
from edge_node.model.export import CONFIGURATION, lay_ready
from edge_node.model.manifest import GRAPH_FILE, Decoder, describe_file, verify_folder, write_manifest
from edge_node.model.scheme import Scheme
from edge_node.model.tokens import TOKENIZER_FILE, Tokenizer, check_vocabulary, write_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = [
    "build_embedding_model",
    "build_exported_model",
    "build_language_model",
    "build_model",
    "verify_folder",
]


def build_model(
    sources: Sequence[Path],
    folder: Path,
    *,
    bits: int | None = None,
    progress: Callable[[int, int], None],
) -> None:
    """Build a model that can be run; `folder` appears, or changes, only once everything is written.

    Args:
        sources: A GGUF file; the ONNX export of a decoder with what `export_files` found; or that of an
            embedding model and what belongs to it.
        folder: Where the model is to lie; what lies there is replaced.
        bits: Of the weights in the layers of a language model, 8 or 4; 8 where left out.
        progress: Called with steps done and steps in all.

    Raises:
        ModelCorrupt: A file is cut short or lacks something.
        ModelUnsupported: Its architecture, tokenizer or a tensor type cannot be run.
    """
    model, *beside = sources
    if CONFIGURATION in {path.name for path in beside}:
        build_exported_model(sources, folder, progress=progress)
    elif model.suffix == ".gguf":
        build_language_model(model, folder, bits=bits, progress=progress)
    else:
        build_embedding_model(model, folder, beside=beside, progress=progress)


def build_language_model(
    gguf_path: Path, folder: Path, *, bits: int | None = None, progress: Callable[[int, int], None]
) -> None:
    """Build a language model from a GGUF file; otherwise as `build_model`."""
    # A running edge imports this module to verify; the libraries that build would cost it 17 MB.
    from edge_node.model.gguf_file import GgufFile  # noqa: PLC0415
    from edge_node.model.graph import build_graph  # noqa: PLC0415

    with _replaced(folder) as fresh:
        gguf = GgufFile.open(gguf_path)
        ChatTemplate(gguf.vocabulary.chat_template, of=gguf_path)
        steps = gguf.dimensions.layers + 1
        write_tokenizer(gguf.vocabulary, fresh / TOKENIZER_FILE, source=gguf_path)
        build_graph(gguf, fresh, scheme=Scheme(bits), progress=lambda done, _total: progress(done, steps))
        decoder = Decoder(
            architecture=gguf.architecture.name,
            dimensions=asdict(gguf.dimensions),
            context=gguf.dimensions.context,
            bits=bits,
            bos=gguf.vocabulary.bos,
            eos=list(gguf.vocabulary.eos),
            chat_template=gguf.vocabulary.chat_template,
        )
        write_manifest(fresh, sources={gguf_path: describe_file(gguf_path).sha256}, decoder=decoder)
        progress(steps, steps)


def build_exported_model(
    sources: Sequence[Path], folder: Path, *, progress: Callable[[int, int], None]
) -> None:
    """Lay the ONNX export of a language model ready to run; otherwise as `build_model`."""
    from edge_node.model.export_session import open_export_session  # noqa: PLC0415 - as above

    with _replaced(folder) as fresh:
        decoder = lay_ready(sources, fresh)
        ChatTemplate(decoder.chat_template, of=sources[0])
        tokenizer = Tokenizer.open(
            fresh / TOKENIZER_FILE, bos=decoder.bos, eos=decoder.eos, chat_template=decoder.chat_template
        )
        session = open_export_session(fresh / GRAPH_FILE, threads=1, length=1)
        check_vocabulary(sources[0], tokenizer=tokenizer, vocabulary=session.vocabulary, eos=decoder.eos)
        hashes = {path: describe_file(path).sha256 for path in sources}
        write_manifest(fresh, sources=hashes, decoder=decoder)
        progress(1, 1)


def build_embedding_model(
    export: Path, folder: Path, *, beside: Sequence[Path], progress: Callable[[int, int], None]
) -> None:
    """Build an embedding model from an ONNX export and the files `beside` it; otherwise as `build_model`."""
    from edge_node.model.embedding_graph import build_embedding_graph  # noqa: PLC0415 - as above

    with _replaced(folder) as fresh:
        for path in beside:
            shutil.copyfile(path, fresh / path.name)
        build_embedding_graph(export, fresh)
        write_manifest(fresh, sources={path: describe_file(path).sha256 for path in (export, *beside)})
        progress(1, 1)


@contextmanager
def _replaced(folder: Path) -> Iterator[Path]:
    """Give an empty folder, and put it in the place of `folder` where all went well."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        fresh = Path(scratch) / folder.name
        fresh.mkdir()
        yield fresh
        if folder.exists():
            shutil.rmtree(folder)
        fresh.rename(folder)
