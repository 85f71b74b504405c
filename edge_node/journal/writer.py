"""The one thread that writes to the journal, many jobs to one synchronisation of the disk.

Knows the database and jobs; knows nothing of the tables.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from edge_node.errors import DatabaseError, EdgeNodeError, JournalError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_node.database import Cursor, Database

_BATCH_S = 0.010
_QUEUED_JOBS = 1000
_ROOM_S = 5.0

_log = structlog.get_logger(__name__)

Row = tuple[Any, ...]


@dataclass(slots=True)
class _Job:
    """Something to write.

    Attributes:
        write: Does it, within the transaction of its batch; for a row, gets all rows of its kind instead.
        done: Called with what `write` returned, on this thread, once it is on the disk.
        failed: Called with the error where it is not.
        one_statement: Whether it changes rows in one statement at most, which stands or falls by itself.
    """

    write: Callable[..., Any]
    done: Callable[[Any], None]
    failed: Callable[[EdgeNodeError], None]
    one_statement: bool
    row: Row | None = None


class Writer:
    """Group commit: while one batch is being synchronised, the next one gathers.

    An idle writer commits at once; a busy one takes up jobs for at most 10 ms before it commits.

    Attributes:
        failure: Why the last batch did not reach the disk, or None where it did.
    """

    def __init__(self, database: Database) -> None:
        self.failure: EdgeNodeError | None = None
        self._database = database
        # Without a lock of its own: three threads would stand in each other's way once for each message.
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._room = threading.Event()
        self._closed = False
        self._ended = False
        self._taken: deque[_Job] = deque()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def submit(
        self,
        write: Callable[[Cursor], Any],
        *,
        done: Callable[[Any], None],
        failed: Callable[[EdgeNodeError], None],
        one_statement: bool = False,
    ) -> None:
        """Queue a job; exactly one of `done` and `failed` is called later, on the writer's thread.

        Args:
            write: Does it, within the transaction of its batch.
            done: Called with what `write` returned.
            failed: Called with the error where it is not on the disk.
            one_statement: Whether it changes rows in one statement at most; undoing it alone costs nothing.

        Raises:
            JournalError: The journal is closed, or the disk is so slow that the queue stays full.
        """
        self._put(_Job(write, done, failed, one_statement))

    def add(
        self,
        write: Callable[[Cursor, Sequence[Row]], None],
        row: Row,
        *,
        done: Callable[[Any], None],
        failed: Callable[[EdgeNodeError], None],
    ) -> None:
        """Queue a row, to be written together with others of its batch; else as `submit`.

        It keeps its place among rows of its kind and before each job that was queued behind it, but not
        among rows of another kind.

        Args:
            write: Writes rows, all or none; the same for all rows of a kind.
            row: The row.
            done: Called with None.
            failed: Called with the error where it is not on the disk.

        Raises:
            JournalError: As `submit`.
        """
        self._put(_Job(write, done, failed, one_statement=False, row=row))

    def _put(self, job: _Job) -> None:
        if self._jobs.qsize() >= _QUEUED_JOBS:
            self._wait_for_room()
        if self._closed:
            raise self._is_closed()
        self._jobs.put(job)
        if self._ended:
            # The thread ended in between and may have looked for the last time before this job was there.
            self._abandon()

    def write(self, write: Callable[[Cursor], Any]) -> Any:
        """Return what `write` returns, once it is on the disk.

        Raises:
            JournalError: It is not on the disk.
        """
        if threading.current_thread() is self._thread:
            raise JournalError(self._database.path, reason="its own thread cannot wait for itself")
        future: Future[Any] = Future()
        self.submit(write, done=future.set_result, failed=future.set_exception)
        return future.result()

    def close(self) -> None:
        """Write what is queued and end the thread."""
        self._closed = True
        self._jobs.put(None)
        self._thread.join()

    def _wait_for_room(self) -> None:
        until_s = time.monotonic() + _ROOM_S
        while not self._ended and self._jobs.qsize() >= _QUEUED_JOBS:
            self._room.clear()
            if not self._room.wait(until_s - time.monotonic()):
                raise JournalError(
                    self._database.path,
                    reason=f"{_QUEUED_JOBS} writes wait for the disk",
                    hint="the disk is too slow or failing",
                )

    def _run(self) -> None:
        try:
            ended = False
            while not ended:
                ended = self._batch()
        finally:
            # Reached at the end, and where a callback broke its promise not to raise: whoever waits
            # must not wait for ever, and `alive` tells the watchdog.
            self._closed = self._ended = True
            for job in self._taken:
                job.failed(self._is_closed())
            self._abandon()
            self._room.set()

    def _batch(self) -> bool:
        """Bring one batch to the disk, tell its jobs, and return whether it was the last one."""
        first = self._jobs.get()
        outcomes: list[tuple[Any, EdgeNodeError | None]] = []
        last = first is None
        try:
            if first is not None:
                with self._database.transaction() as cursor:
                    last = self._gather(first, cursor, outcomes)
        except DatabaseError as problem:
            self._fail(problem)
            outcomes = [(None, problem)] * len(self._taken)
        else:
            self.failure = None
        for result, error in outcomes:
            job = self._taken.popleft()
            job.done(result) if error is None else job.failed(error)
        self._room.set()
        return last

    def _gather(self, first: _Job, cursor: Cursor, outcomes: list[tuple[Any, EdgeNodeError | None]]) -> bool:
        """Do the first job and those that wait behind it; return whether the last one of all was met."""
        began_s = time.monotonic()
        rows: dict[Callable[..., Any], list[int]] = {}
        job: _Job | None = first
        while job is not None:
            self._taken.append(job)
            if job.row is not None:
                rows.setdefault(job.write, []).append(len(outcomes))
                outcomes.append((None, None))
            else:
                self._write_rows(rows, cursor, outcomes)
                outcomes.append(self._attempt(job.write, cursor, one_statement=job.one_statement))
            if time.monotonic() - began_s >= _BATCH_S or self._jobs.empty():
                break
            job = self._jobs.get_nowait()
        self._write_rows(rows, cursor, outcomes)
        return job is None

    def _write_rows(
        self,
        rows: dict[Callable[..., Any], list[int]],
        cursor: Cursor,
        outcomes: list[tuple[Any, EdgeNodeError | None]],
    ) -> None:
        """Write the rows gathered so far, by their places, kind by kind; where a kind fails, row by row."""
        for write, places in rows.items():
            jobs = [self._taken[place] for place in places]
            together = [job.row for job in jobs]
            # A single row needs no savepoint: it is one statement.
            alone = len(together) == 1
            outcome = self._attempt(_writing(write, together), cursor, one_statement=alone)
            if alone:
                outcomes[places[0]] = outcome
            elif outcome[1] is not None:
                for place, row in zip(places, together, strict=True):
                    outcomes[place] = self._attempt(_writing(write, [row]), cursor, one_statement=True)
        rows.clear()

    def _attempt(
        self, write: Callable[[Cursor], Any], cursor: Cursor, *, one_statement: bool = False
    ) -> tuple[Any, EdgeNodeError | None]:
        try:
            if one_statement:
                return self._database.statement(write, cursor), None
            with self._database.part(cursor):
                return write(cursor), None
        except EdgeNodeError as problem:
            if not self._database.in_transaction:
                raise
            return None, problem

    def _fail(self, problem: EdgeNodeError) -> None:
        if self.failure is None:
            _log.critical("journal_write_failed", reason=str(problem), hint=problem.hint)
        self.failure = problem

    def _abandon(self) -> None:
        while True:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return
            if job is not None:
                job.failed(self._is_closed())

    def _is_closed(self) -> JournalError:
        return JournalError(self._database.path, reason="is closed")


def _writing(write: Callable[[Cursor, Sequence[Any]], None], rows: Sequence[Any]) -> Callable[[Cursor], Any]:
    return lambda cursor: write(cursor, rows)
