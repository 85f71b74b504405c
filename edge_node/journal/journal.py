"""What must survive a power cut: messages, decisions, commands, and what is to leave.

Knows values and tables; knows nothing of MQTT or of why something was decided.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import structlog

from edge_node.database import Database
from edge_node.errors import EdgeNodeError, JournalError
from edge_node.journal import inbox, memory, outbox
from edge_node.journal.archive import Archive, put_decision
from edge_node.journal.pruning import Retention, prune
from edge_node.journal.records import command_from, decision_record
from edge_node.journal.schema import MIGRATIONS
from edge_node.journal.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from edge_node.database import Cursor
    from edge_node.journal.outbox import Parcel
    from edge_node.journal.writer import Row
    from edge_node.messages import Command, CommandState, Decision, Message, Outgoing, StateRow

JOURNAL_FILE = "journal.db"
_PRUNE_EVERY = 32
_log = structlog.get_logger(__name__)


class Journal:
    """The journal of one edge; every method may be called from any thread.

    Attributes:
        archive: What was decided, as it is kept.
        states: What stages remember over a restart.
        crowded_out: Announcements that were given up because too many others came behind them unsent.
    """

    def __init__(self, database: Database, *, clock: Callable[[], float], retention: Retention) -> None:
        self.archive = Archive(database)
        self._database = database
        self._clock = clock
        self._retention = retention
        self._writer = Writer(database)
        self._concluded = 0
        self.states = memory.States(database, writer=self._writer)
        self.crowded_out = 0

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        clock: Callable[[], float],
        retention: Retention | None = None,
    ) -> Journal:
        """Return the journal in `path`, made where it is missing; a corrupt file is set aside.

        Args:
            path: The file.
            clock: Wall clock, seconds since the epoch.
            retention: How long it remembers.

        Raises:
            JournalError: It cannot be opened or was written by a newer version.
        """
        database = Database.open(path, migrations=MIGRATIONS, set_aside=True, error=JournalError)
        return cls(database, clock=clock, retention=retention or Retention())

    @property
    def alive(self) -> bool:
        """Whether the thread that writes runs."""
        return self._writer.alive

    @property
    def failure(self) -> EdgeNodeError | None:
        """Why the last writes did not reach the disk, or None where they did."""
        return self._writer.failure

    def receive(
        self,
        message: Message,
        *,
        on_durable: Callable[[], None],
        on_duplicate: Callable[[], None],
        ended: bool = False,
    ) -> None:
        """Take in a message without waiting for the disk.

        Exactly one of the two is called on the writer's thread, once the message is on the disk and may
        be acknowledged to the broker; none where the disk refused, so that the broker keeps it. They
        must be short and must not raise.

        Args:
            message: The message; one that is not durable is not written, and `on_durable` is called here.
            on_durable: It is to be handled.
            on_duplicate: A request with the same topic, correlation and payload came shortly before, or
                the broker delivered again what stands here: it has ended and must not be handled again.
            ended: Whether it has its end with this, so that it is only kept; `kept` returns it.

        Raises:
            JournalError: The journal is closed, or the disk does not keep up.
        """
        if not message.durable:
            on_durable()
            return
        if inbox.is_plain(message) and not ended:
            self._writer.add(
                inbox.insert,
                inbox.row_of(message),
                done=lambda _: on_durable(),
                failed=lambda error: _log.error("message_not_journaled", id=message.id, reason=str(error)),
            )
            return
        self._writer.submit(
            lambda cursor: inbox.add(
                cursor, message, now=self._clock(), request_s=self._retention.request_s, ended=ended
            ),
            one_statement=True,
            done=lambda fresh: on_durable() if fresh else on_duplicate(),
            failed=lambda error: _log.error("message_not_journaled", id=message.id, reason=str(error)),
        )

    def conclude(
        self,
        message: Message | None,
        *,
        decisions: Sequence[Decision] = (),
        commands: Sequence[Command] = (),
        outgoing: Iterable[Outgoing] = (),
        dead: str = "",
        states: Sequence[StateRow] = (),
    ) -> None:
        """Write, in one transaction, the end of a message and all that came of it.

        It is on the disk on return, but for the end of a message that led to nothing, and what stages
        remember of it: that is written soon. Lost to a power cut, the message is handled once more, as the
        first one of the next run.

        Args:
            message: The message that ends; None for what came of the passing of time.
            decisions: What was decided.
            commands: Commands as they are now.
            outgoing: What is to leave, in order.
            dead: Why the message could not be handled; empty where it could.
            states: What stages remember of it; rows that the disk refuses go with the next ones.

        Raises:
            JournalError: Nothing of it was written; also where the message has already ended. Of one that
                led to nothing, the log tells.
        """
        leaving = tuple(outgoing)
        records = tuple((each, decision_record(each)) for each in decisions)
        ending = message if message is not None and message.durable else None
        if not (records or commands or leaving or dead):
            if states:
                self._end_soon_with(ending, states)
            elif ending:
                self._end_soon(ending)
            return

        def write(cursor: Cursor) -> None:
            now = self._clock()
            if ending:
                self._end(cursor, ending, dead=dead, now=now)
            for decision, record in records:
                put_decision(cursor, decision, record=record, now=now)
            for command in commands:
                outbox.put_command(cursor, command, now=now)
            for each in leaving:
                outbox.add(cursor, each, now=now)
            memory.put(cursor, states)
            if self._prunes_now():
                self._prune(cursor, now=now)

        self.states.write(write, states)

    def _end_soon(self, message: Message) -> None:
        now = self._clock()
        self._writer.add(
            self._end_rows,
            (message.id,),
            done=lambda _: None,
            failed=lambda error: _log.error("end_not_journaled", id=message.id, reason=str(error)),
        )
        if self._prunes_now():
            self._writer.submit(
                lambda cursor: self._prune(cursor, now=now),
                done=lambda _: None,
                failed=lambda error: _log.error("journal_not_pruned", reason=str(error)),
            )

    def _end_soon_with(self, message: Message | None, states: Sequence[StateRow]) -> None:
        now = self._clock()

        def write(cursor: Cursor) -> None:
            if message:
                self._end(cursor, message, dead="", now=now)
            memory.put(cursor, states)

        self.states.submit(write, states)

    def _end_rows(self, cursor: Cursor, rows: Sequence[Row]) -> None:
        if not inbox.end_all(cursor, [row[0] for row in rows], now=self._clock()):
            raise self._ended_before(rows[0][0])

    def _end(self, cursor: Cursor, message: Message, *, dead: str, now: float) -> None:
        if not inbox.end(cursor, message.id, dead=dead, now=now):
            raise self._ended_before(message.id)

    def _ended_before(self, message_id: str) -> JournalError:
        return JournalError(
            self._database.path,
            reason=f"message {message_id}: expected it to be open, came one that has ended or is unknown",
            hint="it was handled twice; what came of the second time was not written",
        )

    def unfinished(self) -> tuple[Message, ...]:
        """Return the messages that were acknowledged but have no recorded end, in the order they came."""
        # Behind everything that waits to be written, so that what has ended is not among them.
        rows = self._writer.write(lambda cursor: cursor.execute(inbox.OPEN).fetchall())
        return tuple(inbox.message_from(row) for row in rows)

    def leave(self, message: Message) -> None:
        """End an acknowledged message as a duplicate: another edge answers it; does not wait for the disk."""
        self._writer.submit(
            lambda cursor: inbox.leave(cursor, message.id, now=self._clock()),
            done=lambda _: None,
            failed=lambda error: _log.error("message_not_left", id=message.id, reason=str(error)),
        )

    def kept(self, prefix: str, *, since: float) -> tuple[Message, ...]:
        """Return the messages on topics that begin with `prefix`, ended or not, in the order they came."""
        rows = self._database.execute(inbox.BELOW, (since, len(prefix), prefix))
        return tuple(inbox.message_from(row) for row in rows)

    def recent(self, *, since: float, last: int = 10_000) -> Iterator[Message]:
        """Return those of the last messages that were received after a time, ended or not, as they came."""
        return inbox.recent(self._database.execute, since=since, last=last)

    @property
    def request_s(self) -> float:
        """Seconds within which the same request from the same caller counts as sent twice."""
        return self._retention.request_s

    def pending(self, *, after: int = 0, limit: int = 100, commands: bool = True) -> tuple[Parcel, ...]:
        """Return what is to leave, oldest first; what has expired is not among it.

        Args:
            after: Only pieces behind this row, so that what is under way is not taken twice.
            limit: Most pieces.
            commands: Whether those that carry commands are wanted too.
        """
        now = self._clock()
        return cast(
            "tuple[Parcel, ...]",
            self._writer.write(
                lambda cursor: outbox.take(cursor, now=now, after=after, limit=limit, commands=commands)
            ),
        )

    def withdraw(self, end: Callable[[Command], CommandState | None], *, detail: str) -> tuple[Command, ...]:
        """Return the commands that were on their way out or awaited approval and end here, for a stop.

        Args:
            end: Gives the state in which a command ends, or None where it goes on.
            detail: Why they end, in a sentence.

        Raises:
            JournalError: It is not on the disk.
        """
        waiting = outbox.waiting(self._database.execute)
        if not waiting:
            return ()
        now = self._clock()
        return cast(
            "tuple[Command, ...]",
            self._writer.write(lambda cursor: outbox.withdraw(cursor, now=now, ending=end, detail=detail)),
        )

    def mark_sent(self, row_id: int) -> None:
        """Put down that a piece is about to leave; needed before one that must not be sent twice leaves.

        Raises:
            JournalError: It is not on the disk, so it must not leave; also where it is no longer pending.
        """

        def write(cursor: Cursor) -> None:
            cursor.execute(
                "UPDATE outbox SET state = 'sent' WHERE sequence = ? AND state = 'pending'", (row_id,)
            )
            if cursor.rowcount != 1:
                raise JournalError(
                    self._database.path,
                    reason=f"outbox row {row_id}: expected it to be pending, came another state",
                )

        self._writer.write(write)

    def mark_unsent(self, row_id: int) -> None:
        """Take back `mark_sent`, where the piece is known not to have left."""
        self._writer.write(
            lambda cursor: cursor.execute(
                "UPDATE outbox SET state = 'pending' WHERE sequence = ? AND state = 'sent'", (row_id,)
            )
        )

    def mark_delivered(self, row_id: int) -> None:
        """Put down that the broker has a piece; does not wait for the disk.

        Lost to a power cut, it means that an idempotent piece is sent once more and any other is doubtful.
        """
        self._end_later(row_id, state="delivered")

    def mark_refused(self, row_id: int, *, reason: str) -> None:
        """Put down that the broker will not take a piece; does not wait for the disk."""
        self._end_later(row_id, state="refused", reason=reason)

    def _end_later(self, row_id: int, *, state: str, reason: str = "") -> None:
        now = self._clock()
        self._writer.submit(
            lambda cursor: outbox.end(cursor, row_id, state=state, now=now, reason=reason),
            one_statement=True,
            done=lambda _: None,
            failed=lambda error: _log.error("outbox_not_written", row=row_id, state=state, reason=str(error)),
        )

    def mark_doubtful(self, row_id: int) -> tuple[Command, ...]:
        """Put down that the connection went before the broker answered for a piece marked as sent.

        Returns the command, now unknown, where it must not be sent twice and nothing else is known of it.
        """
        now = self._clock()
        return cast(
            "tuple[Command, ...]",
            self._writer.write(lambda cursor: outbox.settle_doubtful(cursor, now=now, row_id=row_id)),
        )

    def recover(self) -> tuple[Command, ...]:
        """Return the commands that became unknown because the last run ended before the broker answered.

        To be called once at the start, before anything leaves: such a command is never sent again; what
        may be sent twice is pending again.
        """
        now = self._clock()
        return cast(
            "tuple[Command, ...]", self._writer.write(lambda cursor: outbox.settle_doubtful(cursor, now=now))
        )

    def command(self, command_id: str) -> Command | None:
        """Return a command as it is now, or None where it is not known."""
        rows = self._database.execute("SELECT record FROM commands WHERE id = ?", (command_id,))
        return command_from(rows[0][0]) if rows else None

    def open_commands(self, *, ended_since: float = math.inf) -> tuple[Command, ...]:
        """Return the commands whose life goes on, and those that ended after a time, oldest first."""
        query = "SELECT record FROM commands WHERE ended_at IS NULL OR ended_at >= ? ORDER BY sequence"
        return tuple(command_from(row[0]) for row in self._database.execute(query, (ended_since,)))

    def remember(self, key: str, value: str) -> None:
        """Keep a value under a name for the next run; on the disk on return."""
        self._writer.write(
            lambda cursor: cursor.execute(
                "INSERT INTO meta (key, value) VALUES (?, ?)"
                " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                (key, value),
            )
        )

    def recall(self, key: str) -> str | None:
        """Return what was kept under a name, or None."""
        rows = self._database.execute("SELECT value FROM meta WHERE key = ?", (key,))
        return rows[0][0] if rows else None

    def _prunes_now(self) -> bool:
        self._concluded += 1
        return self._concluded % _PRUNE_EVERY == 0

    def _prune(self, cursor: Cursor, *, now: float) -> None:
        kept = self._retention
        prune(cursor, before=now - kept.age_s, rows=kept.rows, fewer={"decisions": kept.decisions})
        self.crowded_out += outbox.crowd_out(cursor, rows=self._retention.rows, now=now)

    def close(self) -> None:
        """Write what is queued and close the file."""
        self._writer.close()
        self._database.close()
