"""SQLite files that survive a power cut: the one door to sqlite3.

Knows how a file is opened, brought to its schema version, checked and set aside; knows nothing of the
tables inside it.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from edge_node.errors import DatabaseError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Cursor = sqlite3.Cursor
"""What a transaction gives: `execute`, `executemany`, `fetchall`, `lastrowid`, `rowcount`."""

_T = TypeVar("_T")
_UNWRITTEN = (sqlite3.Error, UnicodeEncodeError, OverflowError)
"""Why a statement fails: SQLite itself, half a character in a text, or a number that is too large for it."""
_BUSY_TIMEOUT_S = 10.0
_WAL_LIMIT_BYTES = 16 * 1024 * 1024
_CORRUPT = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_HINTS = {
    sqlite3.SQLITE_FULL: "free space on the disk",
    sqlite3.SQLITE_BUSY: "another process holds the file; end it first",
    sqlite3.SQLITE_READONLY: "the file or its folder may not be written by this user",
    sqlite3.SQLITE_CANTOPEN: "the folder must exist and be writable by this user",
    sqlite3.SQLITE_CORRUPT: "restore the file from a backup, or move it away to start with an empty one",
    sqlite3.SQLITE_NOTADB: "restore the file from a backup, or move it away to start with an empty one",
}

_log = structlog.get_logger(__name__)


class Database:
    """One SQLite file, safe to use from several threads.

    Committed means on the disk: write-ahead log with synchronous=FULL. One connection behind one lock,
    so that a thread inside `transaction()` is alone with the file.

    Attributes:
        path: The file.
    """

    def __init__(self, connection: sqlite3.Connection, *, path: Path, error: type[DatabaseError]) -> None:
        self.path = path
        self._connection = connection
        self._error = error
        self._lock = threading.RLock()

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        migrations: Sequence[Sequence[str]] = (),
        set_aside: bool = False,
        read_only: bool = False,
        error: type[DatabaseError] = DatabaseError,
    ) -> Database:
        """Return the database in `path`, made where it is missing, checked and at its newest schema.

        Args:
            path: The file; it and its folders are made readable by their owner only.
            migrations: The statements that lead from schema version n to n + 1, for n from 0. An
                existing file is copied to `<name>.version-<n>` before it is changed.
            set_aside: Rename a corrupt file to `<name>.corrupt-<time>` and start with an empty one.
            read_only: Neither make nor change anything.
            error: What every failure is raised as.

        Raises:
            DatabaseError: As `error`: it cannot be opened, is corrupt, or is newer than this program.
        """
        try:
            return cls._opened(path, migrations=migrations, read_only=read_only, error=error)
        except _Corrupt as corrupt:
            if not set_aside or read_only:
                raise _failure(error, path, corrupt.cause) from corrupt
            _move_away(path, reason=str(corrupt.cause), error=error)
            return cls._opened(path, migrations=migrations, read_only=read_only, error=error)

    @classmethod
    def in_memory(
        cls, *, migrations: Sequence[Sequence[str]], error: type[DatabaseError] = DatabaseError
    ) -> Database:
        """Return an empty database at its newest schema that lies in memory and ends with the process."""
        connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        database = cls(connection, path=Path(":memory:"), error=error)
        database._migrate(migrations, read_only=False)
        return database

    @classmethod
    def _opened(
        cls, path: Path, *, migrations: Sequence[Sequence[str]], read_only: bool, error: type[DatabaseError]
    ) -> Database:
        connection: sqlite3.Connection | None = None
        try:
            if not read_only:
                _create(path)
            connection = _connect(path, read_only=read_only)
            _check(connection)
            database = cls(connection, path=path, error=error)
            database._migrate(migrations, read_only=read_only)
        except BaseException as problem:
            if connection is not None:
                connection.close()
            if isinstance(problem, OSError):
                raise error(path, reason=f"cannot be made ({problem})") from problem
            if isinstance(problem, sqlite3.Error):
                if _code(problem) in _CORRUPT:
                    raise _Corrupt(problem) from problem
                raise _failure(error, path, problem) from problem
            raise
        return database

    def _migrate(self, migrations: Sequence[Sequence[str]], *, read_only: bool) -> None:
        version = self._version()
        if version > len(migrations) > 0:
            raise self._error(
                self.path,
                reason=f"expected schema version {len(migrations)} or older, came {version}",
                hint="it was written by a newer edge_node; install that, or move the file away",
            )
        if version == len(migrations) or not migrations:
            return
        if read_only:
            raise self._error(
                self.path,
                reason=f"expected schema version {len(migrations)}, came {version}",
                hint="start the edge once, so that it brings the file up to date",
            )
        if version:
            self.backup(self.path.with_name(f"{self.path.name}.version-{version}"))
        with self.transaction() as cursor:
            # Another process may have done it between the look above and the lock.
            for statements in migrations[self._version() :]:
                for statement in statements:
                    cursor.execute(statement)
            cursor.execute(f"PRAGMA user_version = {len(migrations)}")

    def _version(self) -> int:
        return int(self._connection.execute("PRAGMA user_version").fetchone()[0])

    @contextmanager
    def transaction(self) -> Iterator[Cursor]:
        """Give a cursor whose writes are all on the disk at the end, or none after an exception.

        Raises:
            DatabaseError: A statement failed, or the disk refused; nothing was written.
        """
        with self._lock:
            try:
                cursor = self._connection.execute("BEGIN IMMEDIATE")
            except sqlite3.Error as problem:
                raise _failure(self._error, self.path, problem) from problem
            try:
                yield cursor
                self._connection.execute("COMMIT")
            except BaseException as problem:
                self._roll_back()
                if isinstance(problem, sqlite3.Error):
                    raise _failure(self._error, self.path, problem) from problem
                raise
            finally:
                cursor.close()

    @contextmanager
    def part(self, cursor: Cursor) -> Iterator[None]:
        """Make one part of a running transaction stand or fall alone; the others are not touched.

        Raises:
            DatabaseError: A statement failed; what the part wrote is undone.
        """
        try:
            cursor.execute("SAVEPOINT part")
            yield
            cursor.execute("RELEASE part")
        except BaseException as problem:
            # After a full disk SQLite has already given up the whole transaction.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK TO part")
                self._connection.execute("RELEASE part")
            if isinstance(problem, _UNWRITTEN):
                raise _failure(self._error, self.path, problem) from problem
            raise

    def statement(self, write: Callable[[Cursor], _T], cursor: Cursor) -> _T:
        """Return what a part returns that changes rows in one statement at most, within a transaction.

        Such a part stands or falls alone without a savepoint: SQLite undoes a statement that fails.

        Raises:
            DatabaseError: The statement failed; nothing of it was written.
        """
        try:
            return write(cursor)
        except _UNWRITTEN as problem:
            raise _failure(self._error, self.path, problem) from problem

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction runs; some failures, such as a full disk, end it at once."""
        return self._connection.in_transaction

    def _roll_back(self) -> None:
        # SQLite has already rolled back by itself after some errors, such as a full disk.
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of one statement; a write outside `transaction()` is on the disk on return.

        Raises:
            DatabaseError: The statement failed.
        """
        with self._lock:
            try:
                return self._connection.execute(sql, parameters).fetchall()
            except sqlite3.Error as problem:
                raise _failure(self._error, self.path, problem) from problem

    def backup(self, target: Path) -> None:
        """Write a consistent copy to `target`, readable by its owner only, while others go on.

        Raises:
            DatabaseError: The copy cannot be written.
        """
        copy: sqlite3.Connection | None = None
        try:
            with self._lock:
                target.unlink(missing_ok=True)
                _create(target)
                copy = sqlite3.connect(target)
                self._connection.backup(copy)
        except (OSError, sqlite3.Error) as problem:
            raise self._error(self.path, reason=f"cannot be copied to {target} ({problem})") from problem
        finally:
            if copy is not None:
                copy.close()

    def close(self) -> None:
        """Close the file; further use raises DatabaseError."""
        with self._lock:
            self._connection.close()


class _Corrupt(Exception):
    """A signal within this module, never seen outside."""

    def __init__(self, cause: sqlite3.Error) -> None:
        super().__init__(str(cause))
        self.cause = cause


def _code(problem: Exception) -> int:
    # The low byte is the primary code; errors of the Python layer carry none.
    return int(getattr(problem, "sqlite_errorcode", 0)) & 0xFF


def _failure(error: type[DatabaseError], path: Path, problem: Exception) -> DatabaseError:
    return error(path, reason=str(problem), hint=_HINTS.get(_code(problem), ""))


def _connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rw'}",
        uri=True,
        timeout=_BUSY_TIMEOUT_S,
        isolation_level=None,  # transactions begin and end where this module says so
        check_same_thread=False,  # the lock of Database sees to it
    )
    try:
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA foreign_keys = ON")
        if not read_only:
            _write_ahead(connection)
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT_BYTES}")
    except BaseException:
        connection.close()
        raise
    return connection


def _write_ahead(connection: sqlite3.Connection) -> None:
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise sqlite3.OperationalError(
            f"expected a file system that carries a write-ahead log, came journal mode {mode!r}"
        )


def _check(connection: sqlite3.Connection) -> None:
    verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        problem = sqlite3.DatabaseError(verdict)
        problem.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise problem


def _create(path: Path) -> None:
    """Make an empty file and its folders, on the disk even if the power goes now."""
    missing = [folder for folder in path.parents if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)
    # The log and the shared memory beside it take over the mode of the file.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.close(descriptor)
    for folder in (path.parent, *(folder.parent for folder in missing)):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _move_away(path: Path, *, reason: str, error: type[DatabaseError]) -> None:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    aside = path.with_name(f"{path.name}.corrupt-{stamp}")
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.corrupt-{stamp}-{number}")
    try:
        for suffix in ("", "-wal", "-shm"):
            part = path.with_name(path.name + suffix)
            if part.exists():
                part.rename(aside.with_name(aside.name + suffix))
    except OSError as problem:
        raise error(path, reason=f"is corrupt and cannot be set aside ({problem})") from problem
    _log.critical(
        "database_corrupt",
        file=str(path),
        set_aside_as=str(aside),
        reason=reason,
        consequence="started with an empty file; what the old one held is not known to this edge any more",
    )
