"""What a built model says of itself, and whether its files are still those that were built.

Knows hashes and JSON; knows nothing of sources, ONNX or tokens.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from edge_node.errors import ModelCorrupt, ModelMissing
from edge_node.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

BUILT = "onnx"
MANIFEST_FILE = "manifest.json"
GRAPH_FILE = "model.onnx"
ADAPTABLE_FILE = "adaptable.onnx"
NORMS_FILE = "norms.npz"
DOWN, UP = ".lora_a", ".lora_b"
"""Ends of the names of the two matrices that an adapter has for one product."""
FORMAT = 5
_HINT = "build the model again with `edge-node model build`"


class BuiltFile(BaseModel):
    """One file of a built model.

    Attributes:
        sha256: Hash of its content, in hexadecimal.
        size: Its length in bytes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    sha256: str
    size: int


class Decoder(BaseModel):
    """What a language model is, beyond its files.

    Attributes:
        architecture: Family of the model.
        dimensions: Sizes of the decoder, by name.
        context: Tokens the model can read.
        exported: Whether the graph is an export as others make it.
        bits: Of the weights in its layers as they were asked for; None where the file's own types decided.
        bos: Token that opens a text, or None.
        eos: Tokens that end an answer.
        chat_template: Jinja source that lays out a chat.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    architecture: str
    dimensions: dict[str, int | float]
    context: int
    exported: bool = False
    bits: int | None = None
    bos: int | None
    eos: list[int]
    chat_template: str


class Manifest(BaseModel):
    """What a built model is.

    Attributes:
        format: Layout of the folder; a build of another layout is built again.
        builder: Version of edge_node that built it.
        sources: Names of the files it was built from, and what each hashed to.
        files: Its files by name.
        decoder: What it is as a language model; None where it is none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    format: int
    builder: str
    sources: dict[str, str]
    files: dict[str, BuiltFile]
    decoder: Decoder | None

    @property
    def base(self) -> int:
        """Number by which adapters name the source that they were made for: 31 bits of its hash."""
        return min((int(digest[:8], 16) >> 1 for digest in self.sources.values()), default=0)

    @property
    def digest(self) -> str:
        """Hash over everything that the model is, in hexadecimal."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


def write_manifest(folder: Path, *, sources: Mapping[Path, str], decoder: Decoder | None = None) -> None:
    """Write down what lies in the folder of a built model, as its last file.

    Args:
        folder: Holds all other files.
        sources: Files it was built from, and what each hashes to.
        decoder: What it is as a language model; None where it is none.
    """
    manifest = Manifest(
        format=FORMAT,
        builder=__version__,
        sources={path.name: digest for path, digest in sources.items()},
        files={path.name: describe_file(path) for path in sorted(folder.iterdir())},
        decoder=decoder,
    )
    (folder / MANIFEST_FILE).write_text(manifest.model_dump_json(indent=2), encoding="utf-8")


def joint_digest(files: Mapping[str, BuiltFile]) -> str:
    """Return a hash over names and contents of files, in hexadecimal."""
    lines = [f"{name} {file.sha256}\n" for name, file in sorted(files.items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def describe_file(path: Path) -> BuiltFile:
    """Return hash and size of a file, read a piece at a time."""
    with path.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    return BuiltFile(sha256=digest, size=path.stat().st_size)


def read_manifest(folder: Path) -> Manifest:
    """Return what the built model in `folder` says of itself, its files being there in full length.

    Raises:
        ModelMissing: There is no manifest.
        ModelCorrupt: The manifest cannot be read, has another format, or a file is missing or cut short.
    """
    path = folder / MANIFEST_FILE
    if not path.is_file():
        raise ModelMissing(folder.name)
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        came = f"{error.error_count()} problems, the first: {error.errors()[0]['msg']}"
        raise ModelCorrupt(path, expected="a manifest", came=came, hint=_HINT) from error
    if manifest.format != FORMAT:
        raise ModelCorrupt(path, expected=f"format {FORMAT}", came=f"format {manifest.format}", hint=_HINT)
    for name, file in manifest.files.items():
        _check_size(folder / name, file=file)
    return manifest


def verify_folder(folder: Path) -> None:
    """Read every file of a built model and compare it with the manifest.

    Raises:
        ModelMissing: There is no manifest.
        ModelCorrupt: The manifest cannot be read, or a file is not the one that was built.
    """
    for name, file in read_manifest(folder).files.items():
        came = describe_file(folder / name)
        if came != file:
            raise ModelCorrupt(
                folder / name, expected=f"sha256 {file.sha256}", came=f"sha256 {came.sha256}", hint=_HINT
            )


def _check_size(path: Path, *, file: BuiltFile) -> None:
    if not path.is_file():
        raise ModelCorrupt(path, expected=f"{file.size} bytes", came="no file", hint=_HINT)
    if (size := path.stat().st_size) != file.size:
        raise ModelCorrupt(path, expected=f"{file.size} bytes", came=f"{size} bytes", hint=_HINT)
