"""Waiting for the files of a configuration to change.

Knows which folders a runtime file rests on, and how files look from outside; knows nothing of what stands
in them. The only module that imports watchfiles. Where the system tells of no changes, as over a network,
the files are looked at now and then all the same.
"""

from __future__ import annotations

import glob
import os
import threading
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, NamedTuple

import structlog
from watchfiles import watch

from edge_node.config.source import read_document
from edge_node.errors import ConfigurationInvalid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

log = structlog.get_logger(__name__)

_STEP_MS = 300  # an editor writes a file in several steps, and a copy of a folder takes a moment
_DEBOUNCE_MS = 3000
_LOOK_AGAIN_S = 10.0
_MOST_FILES = 20_000


class _Mark(NamedTuple):
    """How a file looks from outside."""

    changed_ns: int
    size: int
    inode: int


class _Ground(NamedTuple):
    """What a configuration rests on: folders to watch, and its files with their marks."""

    folders: frozenset[Path]
    marks: Mapping[Path, _Mark]


class Watching:
    """A thread that tells when a file of a configuration has changed.

    The files are the runtime file and everything in the folders of nodes, hidden files left out.

    Args:
        file: The runtime file.
        patterns: Folders of nodes as they were last read; they count while the runtime file cannot be read.
        on_change: Told of changes, once they have come to rest; must be short.
    """

    def __init__(self, file: Path, *, patterns: Iterable[str], on_change: Callable[[], None]) -> None:
        self._file = file.absolute()
        self._patterns = tuple(patterns)
        self._on_change = on_change
        self._stopping = threading.Event()
        self._ground = self._look()
        self._thread = threading.Thread(target=self._run, name="watching", daemon=True)

    def start(self) -> None:
        """Start the thread; what has changed since this was made is told too."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            watched = self._ground.folders
            for _ in self._stirrings(watched):
                ground = self._look()
                changed, self._ground = ground.marks != self._ground.marks, ground
                if changed:
                    self._on_change()
                if ground.folders != watched:
                    break

    def _stirrings(self, folders: frozenset[Path]) -> Iterator[object]:
        """Yield when something may have changed in the folders, and now and then."""
        yield None
        try:
            yield from watch(
                *folders,
                watch_filter=None,
                debounce=_DEBOUNCE_MS,
                step=_STEP_MS,
                stop_event=self._stopping,
                rust_timeout=int(_LOOK_AGAIN_S * 1000),
                yield_on_timeout=True,
                raise_interrupt=False,
                recursive=False,
            )
        except (OSError, RuntimeError) as problem:
            # A folder that vanished, or the system's limit of watches; its library maps both to these.
            log.warning("files_not_watched", reason=str(problem), looked_at_every_s=_LOOK_AGAIN_S)
            self._stopping.wait(_LOOK_AGAIN_S)

    def _look(self) -> _Ground:
        """Return what the configuration rests on now."""
        base = self._file.parent
        self._patterns = _patterns(self._file) or self._patterns
        folders = {base, self._file.resolve().parent}
        marks = dict(_marked([self._file]))
        for pattern in self._patterns:
            for name, within in ((str(PurePath(pattern).parent), False), (pattern, True)):
                # Path.glob takes no absolute pattern.
                found = [base / match for match in glob.glob(name, root_dir=base)]  # noqa: PTH207
                for folder in filter(Path.is_dir, found):
                    folders.add(folder)
                    if within:
                        folders.update(_take_in(folder, marks))
        return _Ground(frozenset(folders), marks)


def _patterns(file: Path) -> tuple[str, ...]:
    """Return the patterns of folders that a runtime file names; none where it cannot be read."""
    try:
        data = read_document(file).data
    except ConfigurationInvalid:
        return ()
    named = data.get("nodes", ["nodes/*"]) if isinstance(data, dict) else ()
    return tuple(each for each in named if isinstance(each, str)) if isinstance(named, list) else ()


def _take_in(folder: Path, marks: dict[Path, _Mark]) -> Iterator[Path]:
    """Mark the files of a folder and of those below it, and yield the folders."""
    for place, below, files in os.walk(folder):
        below[:] = [name for name in below if not name.startswith(".")]
        yield Path(place)
        marks.update(_marked(Path(place, name) for name in files if not name.startswith(".")))
        if len(marks) > _MOST_FILES:
            log.warning(
                "too_many_files", folder=str(folder), most=_MOST_FILES, hint="the rest is not watched"
            )
            return


def _marked(files: Iterable[Path]) -> Iterator[tuple[Path, _Mark]]:
    for file in files:
        try:
            seen = file.stat()
        except OSError:
            continue  # it vanished meanwhile, or is a link to nowhere
        yield file, _Mark(seen.st_mtime_ns, seen.st_size, seen.st_ino)
