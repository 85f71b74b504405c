"""The requests of triggers that have fired, kept until their message has its end.

A trigger remembers that it has fired, and must not be asked again after a crash: what its requests came to
would be lost. Knows the memory of the stages, the journal and what people are told; knows no stage by name.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from edge_node.errors import JournalError
from edge_node.messages import RequestKind

if TYPE_CHECKING:
    from collections.abc import Generator

    from edge_node.memory import Memory
    from edge_node.messages import Request, StateRow
    from edge_node.path.carried import Begun
    from edge_node.protocols import Announcing, Journal


class FiredRequests:
    """What has fired and is not decided yet.

    Args:
        memory: What the stages remember.
        journal: Where it is written.
        announcing: What people are told of alerts, which do not wait.
    """

    def __init__(self, memory: Memory, *, journal: Journal, announcing: Announcing) -> None:
        self._memory = memory
        self._journal = journal
        self._announcing = announcing

    def put_down(self, begun: Begun) -> None:
        """Write what fired, before it waits for the model while others go on.

        Alerts are told now: their end may come while the model thinks. What later messages change may reach
        the disk before this one ends: then its triggers must not be asked again after a crash, for they
        remember that they have fired.
        """
        self._tell_moved(begun)
        if not begun.fired or self._memory.recorded(begun.key):
            return
        alerts = [each for each in begun.decisions if each.request.kind is RequestKind.ALERT]
        told = {each.request.id for each in alerts}
        left = tuple(request for request in begun.requests if request.id not in told)
        states, begun.states = begun.states, ()
        if not alerts:
            # What the disk refuses is written later, together with this record.
            with suppress(JournalError):
                self._journal.states.remember((*states, self._memory.record(begun.key, left)))
            return
        rows = [*states, self._memory.record(begun.key, left)]
        outgoing = self._announcing.outgoing(alerts, ())
        try:
            self._journal.conclude(None, decisions=alerts, outgoing=outgoing, states=rows)
        except JournalError:
            self._journal.states.postpone([self._memory.record(begun.key, begun.requests)])
        else:
            begun.requests = left
            begun.decisions = [each for each in begun.decisions if each.request.id not in told]

    def _tell_moved(self, begun: Begun) -> None:
        """Write how commands went on, else the final reply of their task may come before it."""
        if begun.moved and not begun.moved_told:
            outgoing = self._announcing.outgoing((), begun.moved)
            with suppress(JournalError):  # it is written at the end then
                self._journal.conclude(None, commands=begun.moved, outgoing=outgoing)
                begun.moved_told = True

    @contextmanager
    def put_back(self, key: str, requests: tuple[Request, ...]) -> Generator[list[StateRow], None, None]:
        """Give the rows that forget the requests of a message; keep those where it cannot end on the disk.

        What its triggers remember may reach the disk later all the same, and the message comes again after
        a restart.
        """
        forgotten = [self._memory.forget(key)] if self._memory.recorded(key) else []
        try:
            yield forgotten
        except JournalError:
            if requests:
                self._journal.states.postpone([self._memory.record(key, requests)])
            raise
