"""The files of a manual, as the patterns of a node name them.

Knows patterns, folders and links; knows nothing of what stands in a file. No file outside the folder of
its node is ever named, whatever a pattern or a link says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_node.errors import DocumentUnreadable
from edge_node.knowledge.documents import LIMIT_BYTES, too_large

if TYPE_CHECKING:
    from pathlib import Path

    from edge_node.config.loaded import Node


@dataclass(frozen=True, slots=True)
class Source:
    """One file that a node's patterns name.

    Attributes:
        node: Name of the node.
        file: Path relative to the node's folder, with forward slashes.
        path: Where it lies.
        folder: Folder of the node, without links.
    """

    node: str
    file: str
    path: Path
    folder: Path

    def read(self) -> bytes:
        """Return the bytes of the file.

        Raises:
            DocumentUnreadable: It lies outside the node's folder, is too large, or cannot be read.
        """
        try:
            real = self.path.resolve(strict=True)
            if not real.is_relative_to(self.folder):
                raise DocumentUnreadable(
                    self.file,
                    expected="a file in the folder of its node",
                    came="a way out of it",
                    hint="copy the file into the folder",
                )
            if not real.is_file():
                raise DocumentUnreadable(self.file, expected="a file", came="something else")
            if (size := real.stat().st_size) > LIMIT_BYTES:
                raise too_large(self.file, size_bytes=size)
            return real.read_bytes()
        except (OSError, RuntimeError) as problem:
            # RuntimeError is how Python before 3.13 tells a circle of links.
            raise DocumentUnreadable(
                self.file, expected="a file that can be read", came=str(problem)
            ) from problem


def sources(node: Node) -> tuple[tuple[Source, ...], tuple[tuple[str, str], ...]]:
    """Return the files that a node's patterns name, sorted and each once, and what is wrong with patterns.

    The second part holds (pattern, sentence) for each pattern that names no file.
    """
    folder = node.folder.resolve()
    found: dict[str, Source] = {}
    empty: list[tuple[str, str]] = []
    for pattern in node.spec.manuals:
        try:
            paths = [path for path in folder.glob(pattern) if path.is_symlink() or path.is_file()]
        except (NotImplementedError, ValueError) as problem:
            empty.append((pattern, f"expected a pattern relative to the node's folder, came {problem}"))
            continue
        if not paths:
            empty.append((pattern, "names no file"))
        for path in paths:
            file = _printable(path.relative_to(folder).as_posix())
            found[file] = Source(node.name, file, path, folder)
    return tuple(found[file] for file in sorted(found)), tuple(empty)


def _printable(name: str) -> str:
    """Return a name that can be stored and shown; bytes that are not UTF-8 become question marks."""
    return name.encode("utf-8", "replace").decode("utf-8")
