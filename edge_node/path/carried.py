"""What a message carries along its path: how far it has come, each of its requests, and its result.

Knows values only; knows no stage.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

from edge_node.errors import DeadlinePassed
from edge_node.messages import CommandDraft, NothingDraft, RequestKind, TaskDraft, Wanted

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from edge_node.errors import EdgeNodeError
    from edge_node.messages import (
        Command,
        Decision,
        Message,
        Open,
        Operated,
        Passage,
        Proposal,
        Request,
        StateRow,
    )
    from edge_node.protocols import Attention


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one message.

    Attributes:
        decisions: One for each request, or for each command of a task, in order.
        moved: Commands whose state changed by what was observed, or by the passing of time.
        stages_ms: Milliseconds of each stage over the whole message.
        operated: What came of an operation, or None where none was asked for.
    """

    decisions: tuple[Decision, ...]
    moved: tuple[Command, ...]
    stages_ms: Mapping[str, float]
    operated: Operated | None = None


Steps: TypeAlias = "Generator[Result | Wanted, Attention | None, None]"
"""The path of a message: each request that needs the model, which is sent the attention it has there, and at
the end the result."""


@dataclass(slots=True)
class Begun:
    """A message, or the passing of time, and what has come of it so far.

    Attributes:
        message: The message; None for the passing of time.
        key: By what it is found again after a restart.
        requests: What wants a decision.
        moved: Commands whose state changed.
        operated: What came of an operation.
        states: What stages remember of it and is not on the disk yet.
        now: Time of the step; 0 where the requests waited for the model when the last run ended.
        decisions: What was decided.
        moved_told: Whether the commands that moved stand in the journal already.
    """

    message: Message | None
    key: str
    requests: tuple[Request, ...]
    moved: tuple[Command, ...] = ()
    operated: Operated | None = None
    states: Sequence[StateRow] = ()
    now: float = 0.0
    decisions: list[Decision] = field(default_factory=list)
    moved_told: bool = False

    @property
    def fired(self) -> bool:
        """Whether a trigger fired, which remembers it."""
        return any(request.trigger for request in self.requests)

    @property
    def led_to_nothing(self) -> bool:
        """Whether there is nothing to decide, to tell or to carry out."""
        return not (self.requests or self.moved or self.operated)


@dataclass(slots=True)
class Asked:
    """One request on its way to a decision.

    Attributes:
        request: The request.
        proposal: What it leads to, or what is open still.
        matter: What the cheap tiers left open for the model; None where they settled it.
        passages: What was retrieved.
        record: What the model read and wrote.
    """

    request: Request
    proposal: Proposal | Open | None = None
    matter: Open | None = None
    passages: tuple[Passage, ...] = ()
    record: Mapping[str, object] = field(default_factory=dict)

    def check_in_time(self, now: float) -> None:
        """Return if what a person said is not too old to be done, as after a power cut.

        Raises:
            DeadlinePassed: It is.
        """
        late_s = now - _expiry(self.request)
        if self.request.kind is RequestKind.ASK and late_s > 0:
            raise DeadlinePassed(late_s=late_s)

    def open(self, matter: Open) -> Wanted:
        """Return with what the model is wanted for what the cheap tiers left open."""
        self.matter = matter
        return Wanted(self.request, matter.question, _expiry(self.request))

    def waited(self, attention: Attention | None) -> None:
        """Take up how long it waited for the model."""
        self.record = {"waited_ms": round(attention.waited_s * 1000, 1)} if attention else {}

    def made(self, made: tuple[Proposal, Mapping[str, object]]) -> None:
        """Take up what the model proposes, and what it read and wrote."""
        self.proposal, self.record = made[0], {**self.record, **made[1]}

    def fail(self, error: EdgeNodeError) -> None:
        """Let it lead to nothing, because of an error."""
        self.proposal = NothingDraft(self.request.node, str(error), code=error.code)

    @property
    def orders(self) -> tuple[CommandDraft, ...]:
        """The commands that are proposed, in order; none where it leads to something else."""
        if isinstance(self.proposal, TaskDraft):
            return self.proposal.drafts
        return (self.proposal,) if isinstance(self.proposal, CommandDraft) else ()


def timed(request: Request, *, came_at: float, deadline_s: float) -> Request:
    """Return a request that says how long it is wanted.

    It counts from when its message came: the device's own time, which an alarm carries, may lag.
    """
    if request.expires_at is not None or math.isinf(deadline_s):
        return request
    return replace(request, expires_at=came_at + deadline_s)


def _expiry(request: Request) -> float:
    return math.inf if request.expires_at is None else request.expires_at
