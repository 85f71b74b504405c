"""Where one model lies, and how one process at a time changes it.

Knows folders and locks; knows nothing of sources, hashes or builds.
"""

from __future__ import annotations

import fcntl
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge_node.errors import ModelError
from edge_node.model.fetch import PARTIAL
from edge_node.model.manifest import BUILT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from edge_node.model.catalogue import ModelFile
    from edge_node.protocols import Progress


@dataclass(frozen=True, slots=True)
class Place:
    """Where a model lies and what it consists of.

    Attributes:
        name: Name in the catalogue, or the path that was given in its place.
        folder: Folder of the model.
        files: Files of the catalogue that belong in it.
        sources: Files that ONNX files are built from and what each hashes to, the model itself first;
            none where the model runs as it is.
    """

    name: str
    folder: Path
    files: tuple[ModelFile, ...] = ()
    sources: Mapping[Path, str] = field(default_factory=dict)

    @property
    def ready(self) -> Path:
        """The folder that is handed to whoever runs the model."""
        return self.folder / BUILT if self.sources else self.folder


@contextmanager
def alone(place: Place, *, progress: Progress) -> Iterator[None]:
    """Let one process at a time change a model's folder, and clear what a killed one left there.

    Args:
        place: Where the model lies; its folder is made.
        progress: Told when another process has to end first.

    Raises:
        ModelError: The folder cannot be written to.
    """
    try:
        place.folder.mkdir(parents=True, exist_ok=True)
        lock = (place.folder / ".lock").open("w", encoding="utf-8")
    except OSError as error:
        raise ModelError(
            f"model {place.name}: expected to write to {place.folder}, came {error.strerror}",
            hint="set EDGE_NODE_HOME to a folder you may write to",
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.note(f"{place.name}: waiting for another process that works on it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        for left in place.folder.glob(f"{PARTIAL}*"):
            shutil.rmtree(left, ignore_errors=True)
        yield
