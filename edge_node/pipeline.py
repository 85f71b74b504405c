"""The path of one message, stage by stage.

Knows the Protocols of the stages and the values that travel between them; knows no thread, no broker,
no file and no model.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge_node.errors import EdgeNodeError, InputError
from edge_node.messages import CommandDraft, Decision, NothingDraft, Open

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from edge_node.messages import Command, Draft, Message, Operated, Passage, Request
    from edge_node.protocols import (
        Announcing,
        Drafting,
        Gate,
        Journal,
        Lifecycle,
        Operations,
        Retrieval,
        Triggers,
        Twin,
        Understanding,
    )


@dataclass(frozen=True, slots=True)
class Stages:
    """The stages, in the order in which a message meets them."""

    twin: Twin
    lifecycle: Lifecycle
    operations: Operations
    triggers: Triggers
    understanding: Understanding
    retrieval: Retrieval
    drafting: Drafting
    gate: Gate
    announcing: Announcing
    journal: Journal


@dataclass(slots=True)
class Trace:
    """Milliseconds that each stage took, in the order in which they ran.

    Attributes:
        stages_ms: Stage to milliseconds; a stage that ran twice has the sum.
    """

    stages_ms: dict[str, float] = field(default_factory=dict)
    _last_s: float = field(default_factory=time.perf_counter)

    def skip(self) -> None:
        """Leave out the time since the last stage, which was spent waiting."""
        self._last_s = time.perf_counter()

    def lap(self, stage: str) -> None:
        """Book the time since the last stage to `stage`."""
        now_s = time.perf_counter()
        self.stages_ms[stage] = self.stages_ms.get(stage, 0.0) + (now_s - self._last_s) * 1000
        self._last_s = now_s


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one message.

    Attributes:
        decisions: One for each request, in order.
        moved: Commands whose state changed by what was observed, or by the passing of time.
        stages_ms: Milliseconds of each stage over the whole message.
        operated: What came of an operation, or None where none was asked for.
    """

    decisions: tuple[Decision, ...]
    moved: tuple[Command, ...]
    stages_ms: Mapping[str, float]
    operated: Operated | None = None


class Pipeline:
    """The stages in order.

    Args:
        stages: The stages.
        passages: Most passages that are shown to the model.
        one_at_a_time: Held for each verdict; to be shared with a pipeline whose messages are still under way.
    """

    def __init__(self, stages: Stages, *, passages: int, one_at_a_time: threading.Lock | None = None) -> None:
        self._stages = stages
        self._passages = passages
        # What one verdict allows counts for the next, whichever thread and configuration it is on.
        self._one_at_a_time = one_at_a_time or threading.Lock()

    def path(self, message: Message | None, *, now: float) -> Generator[Result | None, None, None]:
        """Yield None where the rest needs the model, and at the end the result.

        The caller goes on with the same generator on the thread where the model runs, or throws in why the
        model cannot be had: that ends one request, and the others go on.

        Args:
            message: What came from the bus and stands in the journal, or None for the passing of time.
            now: Time of the step, seconds since the epoch.

        Raises:
            InputError: The message cannot be read; its sender can mend it.
        """
        do, trace, decisions = self._stages, Trace(), list[Decision]()
        seen = do.twin.observe(message) if message else ()
        trace.lap("twin")
        moved = do.lifecycle.observe(seen) if message else do.lifecycle.due(now)
        with self._one_at_a_time:
            operated = do.operations.carry_out(message) if message else None
        requests = do.triggers.requests(message, seen) if message else do.triggers.due(now)
        trace.lap("trigger")
        for request in requests:
            verdict, command = None, None
            passages: tuple[Passage, ...] = ()
            record: Mapping[str, object] = {}
            try:
                draft = do.understanding.draft(request)
                trace.lap("understand")
                if isinstance(draft, Open):
                    yield None
                    trace.skip()
                    if draft.question:
                        passages = do.retrieval.passages(request.text, node=draft.node, limit=self._passages)
                        trace.lap("retrieve")
                    draft, record = do.drafting.draft(request, draft, passages)
                    trace.lap("generate")
            except EdgeNodeError as error:
                draft = NothingDraft(request.node, str(error), code=error.code)
            if isinstance(draft, CommandDraft):
                with self._one_at_a_time:
                    verdict = do.gate.judge(draft, request)
                    command = do.lifecycle.issue(draft, verdict, request)
                trace.lap("gate")
            states = self._states(request, draft)
            stages_ms = dict(trace.stages_ms)
            decisions.append(
                Decision(request, draft, verdict, command, passages, states, stages_ms, record),
            )
        changed = [*moved, *(decision.command for decision in decisions if decision.command)]
        outgoing = do.announcing.outgoing(decisions, moved)
        if operated:
            changed += [operated.command] if operated.command else []
            outgoing += do.announcing.response(operated)
        do.journal.conclude(message, decisions=decisions, commands=changed, outgoing=outgoing)
        trace.lap("journal")
        yield Result(tuple(decisions), moved, trace.stages_ms, operated)

    def keep_up(self, message: Message) -> None:
        """Take up what a message says of devices, for those still under way with this configuration."""
        with contextlib.suppress(InputError):  # it is told where the message is handled
            self._stages.twin.observe(message)

    def bury(self, message: Message, error: EdgeNodeError) -> None:
        """Write the end of a message that cannot be handled, and tell its sender why."""
        told = self._stages.announcing.refusal(message, error)
        self._stages.journal.conclude(message, outgoing=told, dead=error.code)

    def _states(self, request: Request, draft: Draft) -> dict[str, Mapping[str, object]]:
        """Return what was known of the devices that a request or its draft names."""
        named = [request.device] if request.device else []
        if isinstance(draft, CommandDraft):
            named += [value for value in draft.arguments.values() if isinstance(value, str)]
        known = (self._stages.twin.state(draft.node, device) for device in named)
        return {state.device: state.fields for state in known if state}
