"""What stages remember, on its way to the journal and back.

Knows rows and the order in which they are taken; knows nothing of what a stage remembers. Beside the
stages' rows it keeps the requests that wait for the model, because their triggers remember having fired.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import structlog

from edge_node.messages import Request, RequestKind, StateRow

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from edge_node.protocols import Remembering, States

log = structlog.get_logger(__name__)

_OWNER = "begun"


class Memory:
    """The memories of some stages.

    Whoever changes a stage holds a lock, and takes under it; the rest is safe to use from several threads.

    Args:
        stages: The stages by the owner that their rows name.
        states: Where rows are kept.
    """

    def __init__(self, stages: Mapping[str, Remembering], *, states: States) -> None:
        self._stages = stages
        self._states = states
        self._turns = itertools.count(1)
        self._begun: dict[str, tuple[Request, ...]] = {}
        self._recorded: dict[str, tuple[Request, ...]] = {}

    def renewed(self, stages: Mapping[str, Remembering]) -> Memory:
        """Return the memory of other stages, which begin with what is on the disk, beside this one."""
        other = Memory(stages, states=self._states)
        other._turns, other._begun, other._recorded = self._turns, self._begun, self._recorded
        for owner, stage in stages.items():
            stage.restore(self._states.remembered(owner))
        return other

    def restore(self) -> None:
        """Give every stage its rows of the last run."""
        self._turns = itertools.count(self._states.last_turn + 1)
        for owner, stage in self._stages.items():
            stage.restore(self._states.remembered(owner))
        for row in self._states.remembered(_OWNER):
            try:
                requests = _requests(row.body or "[]")
            except (TypeError, ValueError, KeyError) as problem:
                log.warning("requests_not_remembered", id=row.key, reason=str(problem))
            else:
                self._begun[row.key] = self._recorded[row.key] = requests

    def take(self, *, urgent: bool) -> tuple[StateRow, ...]:
        """Return what changed since it was last taken, in the order of turns.

        Args:
            urgent: Only what must be on the disk together with the message that changed it.
        """
        rows: list[StateRow] = []
        for stage in self._stages.values():
            rows += stage.take_changes(urgent=urgent)
        return tuple(self._in_turn(row) for row in rows) if rows else ()

    def record(self, key: str, requests: tuple[Request, ...]) -> StateRow:
        """Return the row that keeps the requests of a message."""
        self._recorded[key] = requests
        body = json.dumps([asdict(request) for request in requests], ensure_ascii=False)
        return self._in_turn(StateRow(_OWNER, key, body))

    def recorded(self, key: str) -> tuple[Request, ...]:
        """Return the requests that are kept for a message; none where nothing is."""
        return self._recorded.get(key, ())

    def forget(self, key: str) -> StateRow:
        """Return the row that forgets the requests of a message."""
        self._recorded.pop(key, None)
        return self._in_turn(StateRow(_OWNER, key, None))

    def begun(self, key: str) -> tuple[Request, ...] | None:
        """Return the requests a message led to in the last run, once; None where it begins now."""
        return self._begun.pop(key, None) if self._begun else None

    def interrupted(self, *, but: Collection[str]) -> list[tuple[str, tuple[Request, ...]]]:
        """Return the requests of the last run that wait for the model, by key, but for some messages'."""
        keys = [key for key in self._begun if key not in but]
        return [(key, self._begun.pop(key)) for key in keys]

    def _in_turn(self, row: StateRow) -> StateRow:
        return replace(row, turn=next(self._turns))


def _requests(body: str) -> tuple[Request, ...]:
    return tuple(Request(**{**each, "kind": RequestKind(each["kind"])}) for each in json.loads(body))
