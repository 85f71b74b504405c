"""A disk that forgets: a SQLite VFS in memory that writes down every write and every synchronisation.

The journal's own code runs on it. `sqlite3` of the standard library cannot be given a VFS, so the one thing
exchanged is the connection: a thin adapter over apsw with the part of `sqlite3.Connection` that
`edge_node.database` uses. The write-ahead log is used with an exclusive lock, because a VFS in Python has no
shared memory; what is written and synchronised, and when, is the same. apsw carries a SQLite of its own.
"""

from __future__ import annotations

import itertools
import sqlite3
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import apsw

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from random import Random

_SECTOR = 512
FOLDER = "."
_numbers = itertools.count()


class Step(NamedTuple):
    """One step in the life of a disk.

    Attributes:
        kind: `write`, `truncate`, `delete`; `sync` of a file or of the `folder` they lie in; `lose`, a `sync`
            that failed; or `mark`.
        name: The file; of a mark, what was seen.
        at: Where it was written, or the new size.
        data: What was written.
    """

    kind: str
    name: str
    at: int = 0
    data: bytes = b""


@dataclass
class Disk:
    """Files, what was done to them, and what is to fail.

    Attributes:
        files: Name to content, as a reader sees it now.
        steps: Everything that was done, in order.
        full_at: The write, counted from 1, from which on there is no space; None for never.
        failing_sync: The synchronisation, counted from 1, that fails; None for none.
        writes: Writes so far.
        syncs: Synchronisations so far.
    """

    files: dict[str, bytearray] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    full_at: int | None = None
    failing_sync: int | None = None
    writes: int = 0
    syncs: int = 0

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._new: set[str] = set()

    def mark(self, what: str) -> None:
        """Put down that something was seen to be on the disk."""
        with self._lock:
            self.steps.append(Step("mark", what))

    def make(self, name: str) -> None:
        """Make a file that is not there."""
        if name not in self.files:
            self.files[name] = bytearray()
            self._new.add(name)

    def write(self, name: str, data: bytes, at: int) -> None:
        """Write into a file, which grows where that is needed."""
        with self._lock:
            self.writes += 1
            if self.full_at is not None and self.writes >= self.full_at:
                raise apsw.FullError("no space left")
            self.steps.append(Step("write", name, at, data))
            put(self.files[name], data, at)

    def truncate(self, name: str, size: int) -> None:
        """Cut a file."""
        with self._lock:
            self.steps.append(Step("truncate", name, size))
            del self.files[name][size:]

    def sync(self, name: str) -> None:
        """Bring what was written to a file onto the platter."""
        with self._lock:
            self.syncs += 1
            if self.syncs == self.failing_sync:
                # As Linux does: what could not be written is taken for written, and not tried again.
                self.steps.append(Step("lose", name))
                raise apsw.IOError("input/output error")
            self.steps.append(Step("sync", name))
            if name in self._new:
                # SQLite's own VFS synchronises the folder with the first synchronisation of a log.
                self._new.discard(name)
                self.steps.append(Step("folder", FOLDER))

    def delete(self, name: str, *, lasting: bool) -> None:
        """Remove a file; unless lasting, a power cut may bring it back."""
        with self._lock:
            self.files.pop(name, None)
            self.steps.append(Step("delete", name, int(lasting)))


def put(content: bytearray, data: bytes, at: int) -> None:
    """Write into a content, which grows where that is needed."""
    if len(content) < at:
        content.extend(bytes(at - len(content)))
    content[at : at + len(data)] = data


def after_power_cut(steps: Sequence[Step], chance: Random) -> dict[str, bytearray]:
    """Return the files as they may be found when the power goes after these steps.

    What was synchronised is there. Of what came after, any part may be there, in any order, and a write may
    be torn into sectors of which some are there.
    """
    found: dict[str, bytearray] = {}
    for name in {step.name for step in steps if step.kind not in ("mark", "folder")}:
        content = _found([step for step in steps if step.name in (name, FOLDER)], chance)
        if content is not None:
            found[name] = content
    return found


def _found(steps: Sequence[Step], chance: Random) -> bytearray | None:
    """Return what is found of a file, None where it is not there."""
    content: bytearray | None = None
    unsure: list[Step] = []
    for step in steps:
        match step.kind:
            case "sync":
                content = _applied(content, unsure)
                unsure = []
            case "lose":
                content = _applied(content, _some(unsure, chance))
                unsure = []
            case "delete" if step.at:
                content, unsure = None, []
            case "folder":
                gone = max(
                    (place for place, each in enumerate(unsure) if each.kind == "delete"), default=None
                )
                content, unsure = (content, unsure) if gone is None else (None, unsure[gone + 1 :])
            case "write" | "truncate" | "delete":
                unsure.append(step)
    return _applied(content, _some(unsure, chance))


def _some(unsure: Sequence[Step], chance: Random) -> list[Step]:
    """Return some of the steps, some of them torn, in some order."""
    share = chance.choice((0.0, 0.5, 0.9, 1.0))
    kept = [part for step in unsure if chance.random() < share for part in _torn(step, chance)]
    if chance.random() < 0.5:
        chance.shuffle(kept)
    return kept


def _torn(step: Step, chance: Random) -> Iterator[Step]:
    if step.kind != "write" or chance.random() < 0.6:
        yield step
        return
    for start in range(0, len(step.data), _SECTOR):
        if chance.random() < 0.5:
            yield step._replace(at=step.at + start, data=step.data[start : start + _SECTOR])


def _applied(content: bytearray | None, steps: Sequence[Step]) -> bytearray | None:
    for step in steps:
        if step.kind == "delete":
            content = None
            continue
        content = bytearray() if content is None else content
        if step.kind == "write":
            put(content, step.data, step.at)
        else:
            del content[step.at :]
    return content


class _File:
    """An open file of a disk, as SQLite wants it."""

    def __init__(self, disk: Disk, name: str) -> None:
        self._disk = disk
        self._name = name
        disk.make(name)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802 - SQLite's names
        return bytes(self._disk.files[self._name][offset : offset + amount])

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self._disk.write(self._name, bytes(data), offset)

    def xTruncate(self, size: int) -> None:  # noqa: N802
        self._disk.truncate(self._name, size)

    def xSync(self, _flags: int) -> None:  # noqa: N802
        self._disk.sync(self._name)

    def xFileSize(self) -> int:  # noqa: N802
        return len(self._disk.files[self._name])

    def xSectorSize(self) -> int:  # noqa: N802
        return _SECTOR

    def xDeviceCharacteristics(self) -> int:  # noqa: N802
        # What SQLite assumes of every disk: a write changes nothing beside it.
        return apsw.SQLITE_IOCAP_POWERSAFE_OVERWRITE

    def xLock(self, _level: int) -> None:  # noqa: N802
        """Alone on this disk."""

    def xUnlock(self, _level: int) -> None:  # noqa: N802
        """Alone on this disk."""

    def xCheckReservedLock(self) -> bool:  # noqa: N802
        return False

    def xFileControl(self, _op: int, _pointer: int) -> bool:  # noqa: N802
        return False

    def xClose(self) -> None:  # noqa: N802
        """Keep the content."""


class _Vfs(apsw.VFS):
    """A disk, under a name of its own within SQLite."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.name = f"disk-{next(_numbers)}"
        super().__init__(self.name, base="")

    def xOpen(self, name: Any, flags: list[int]) -> Any:  # noqa: N802
        flags[1] = flags[0]
        return _File(self._disk, name.filename() if isinstance(name, apsw.URIFilename) else name or "temp")

    def xDelete(self, name: str, syncdir: bool) -> None:  # noqa: N802, FBT001
        self._disk.delete(name, lasting=syncdir)

    def xAccess(self, name: str, _flags: int) -> bool:  # noqa: N802
        return name in self._disk.files

    def xFullPathname(self, name: str) -> str:  # noqa: N802
        return name


class Sqlite:
    """The module `sqlite3`, but that its connections are of apsw and on a disk of ours.

    Args:
        disk: The disk.
        checkpoint_pages: Pages of the log after which they are brought into the file.
    """

    def __init__(self, disk: Disk, *, checkpoint_pages: int) -> None:
        self._vfs = _Vfs(disk)
        self._checkpoint_pages = checkpoint_pages

    def __getattr__(self, name: str) -> Any:
        return getattr(sqlite3, name)

    def connect(self, *_: Any, **__: Any) -> Connection:
        """Return a connection to the one database of the disk."""
        return Connection(self._vfs.name, checkpoint_pages=self._checkpoint_pages)

    def unregister(self) -> None:
        """Take the disk away from SQLite."""
        self._vfs.unregister()


class Connection:
    """The part of `sqlite3.Connection` that the product uses, over apsw."""

    def __init__(self, vfs: str, *, checkpoint_pages: int) -> None:
        self._connection = apsw.Connection("journal.db", vfs=vfs)
        self.execute("PRAGMA locking_mode = EXCLUSIVE")
        self.execute(f"PRAGMA wal_autocheckpoint = {checkpoint_pages}")

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Cursor:
        return Cursor(self._connection).execute(sql, parameters)

    def close(self) -> None:
        self._connection.close(force=True)

    def backup(self, target: Any) -> None:
        raise NotImplementedError


class Cursor:
    """The part of `sqlite3.Cursor` that the product uses, over apsw."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._rows: list[Any] = []
        self.rowcount = -1
        self.lastrowid: int | None = None

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Cursor:
        before = self._connection.total_changes()
        try:
            self._rows = list(self._connection.execute(sql, tuple(parameters)))
        except apsw.Error as problem:
            raise _error(problem) from problem
        self.rowcount = self._connection.total_changes() - before
        self.lastrowid = self._connection.last_insert_rowid()
        return self

    def fetchone(self) -> Any:
        return self._rows.pop(0) if self._rows else None

    def fetchall(self) -> list[Any]:
        rows, self._rows = self._rows, []
        return rows

    def close(self) -> None:
        """Hold nothing."""


def _error(problem: apsw.Error) -> sqlite3.Error:
    error = sqlite3.OperationalError(str(problem))
    # What a VFS raised comes back as it was raised, without a code.
    raised = {apsw.FullError: apsw.SQLITE_FULL, apsw.IOError: apsw.SQLITE_IOERR}
    error.sqlite_errorcode = getattr(problem, "extendedresult", raised.get(type(problem), apsw.SQLITE_ERROR))
    return error
