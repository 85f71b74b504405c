"""The path of one message, stage by stage.

Knows the Protocols of the stages and the values that travel between them; knows no thread, no broker,
no file and no model.
"""

from __future__ import annotations

import math
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

from edge_node.begun import Begun, Trace
from edge_node.errors import DeadlinePassed, EdgeNodeError, InputError, Interrupted, JournalError
from edge_node.memory import Memory
from edge_node.messages import CommandDraft, Decision, NothingDraft, Open, RequestKind, Wanted

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping, Sequence

    from edge_node.messages import Command, Message, Operated, Passage, Request, StateRow
    from edge_node.protocols import (
        Announcing,
        Attention,
        Drafting,
        Gate,
        Journal,
        Lifecycle,
        Operations,
        Remembering,
        Retrieval,
        Triggers,
        Twin,
        Understanding,
    )


@dataclass(frozen=True, slots=True)
class Stages:
    """The stages, in the order in which a message meets them.

    Attributes:
        remembering: Those whose memory outlives the process, by the owner that their rows name.
    """

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
    remembering: Mapping[str, Remembering] = field(default_factory=dict)


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


Steps: TypeAlias = "Generator[Result | Wanted, Attention | None, None]"
"""The path of a message: each request that needs the model, which is sent the attention it has there, and at
the end the result."""


class Pipeline:
    """The stages in order.

    Args:
        stages: The stages.
        passages: Passages that are looked up for a question.
        deadline_s: Seconds within which a request is decided, unless it says itself.
        made_by: What decides, by name; kept with every decision.
        one_at_a_time: Held for each verdict; to be shared with a pipeline whose messages are still under way.
    """

    def __init__(
        self,
        stages: Stages,
        *,
        passages: int,
        deadline_s: float = math.inf,
        made_by: Mapping[str, str] | None = None,
        one_at_a_time: threading.Lock | None = None,
    ) -> None:
        self._stages = stages
        self._made_by = dict(made_by or {})
        self._passages = passages
        self._deadline_s = deadline_s
        self._memory = Memory(stages.remembering, states=stages.journal.states)
        # What one verdict allows counts for the next, on whichever thread and configuration; and what a stage
        # remembers is taken together with the message that changed it, and with no half of another one.
        self._one_at_a_time = one_at_a_time or threading.Lock()

    def restore(self) -> None:
        """Give the stages what they remembered; to be called once, before the first message."""
        self._memory.restore()

    def take_over(self, before: Pipeline) -> None:
        """Go on with what the stages of another configuration remember; to be called between two messages.

        Raises:
            JournalError: It is not on the disk, and this one remembers nothing.
        """
        while before.save():
            pass
        self._memory = before.memory.renewed(self._stages.remembering)

    @property
    def memory(self) -> Memory:
        """What the stages remember, on its way to the journal and back."""
        return self._memory

    def save(self) -> bool:
        """Write what stages remember and is not on the disk yet; return whether there was anything.

        To be called between two messages, on the thread that begins them.

        Raises:
            JournalError: It is not on the disk; it goes with the next rows.
        """
        with self._one_at_a_time:
            rows = self._memory.take(urgent=False)
        self._stages.journal.states.remember(rows)
        return bool(rows)

    def interrupted(self, *, but: Iterable[Message]) -> list[Steps]:
        """Return the rest of the paths that waited for the model when the last run ended.

        Args:
            but: Messages that begin again anyway.
        """
        left = self._memory.interrupted(but=[message.id for message in but])
        return [self._decide(Begun(None, key, requests), Trace()) for key, requests in left]

    def path(self, message: Message | None, *, now: float) -> Steps:
        """Yield each request that needs the model, and at the end the result.

        The caller goes on with the same generator on the thread where the model runs, sends it the attention
        that the request has there, or throws in why the model cannot be had: that ends one request, and the
        others go on.

        Args:
            message: What came from the bus and stands in the journal, or None for the passing of time.
            now: Time of the step, seconds since the epoch.

        Raises:
            InputError: The message cannot be read; its sender can mend it.
            Interrupted: The service ends; the message has no end yet.
        """
        trace = Trace()
        yield from self._decide(self._begun(message, trace, now=now), trace)

    def begin(self, message: Message | None, *, now: float) -> Steps | None:
        """Return the rest of the path of a message, None where it led to nothing and has its end by now.

        Otherwise as `path`. Most messages lead to nothing, and come by the thousand.

        Raises:
            InputError: The message cannot be read; its sender can mend it.
            JournalError: Its end, or what stages remember of it, is not to be written.
        """
        trace = Trace()
        begun = self._begun(message, trace, now=now)
        if not begun.led_to_nothing:
            return self._decide(begun, trace)
        if begun.states or (message and message.durable):
            self._stages.journal.conclude(message, states=begun.states)
        return None

    def _begun(self, message: Message | None, trace: Trace, *, now: float) -> Begun:
        with self._one_at_a_time:
            begun = self._begin(message, trace, now=now)
        trace.lap("trigger")
        return begun

    def _begin(self, message: Message | None, trace: Trace, *, now: float) -> Begun:
        """Return what a message, or the passing of time, has led to before anything is decided."""
        do = self._stages
        seen = do.twin.observe(message) if message else ()
        trace.lap("twin")
        moved = do.lifecycle.observe(seen) if message else do.lifecycle.due(now)
        operated = do.operations.carry_out(message) if message else None
        requests = self._memory.begun(message.id) if message else None
        if requests is None:
            requests = do.triggers.requests(message, seen) if message else do.triggers.due(now)
        if moved:
            do.twin.follow(moved)
        if requests:
            came_at = message.received_at if message else now
            requests = tuple(self._timed(each, came_at=came_at) for each in requests)
        states = self._memory.take(urgent=True)
        key = message.id if message else requests[0].id if requests else ""
        return Begun(message, key, requests, moved=moved, operated=operated, states=states, now=now)

    def _decide(self, begun: Begun, trace: Trace) -> Steps:
        do, decisions = self._stages, list[Decision]()
        for request in begun.requests:
            verdict, command, matter = None, None, None
            passages: tuple[Passage, ...] = ()
            record: Mapping[str, object] = {}
            try:
                _check_in_time(request, begun.now)
                draft = do.understanding.draft(request)
                trace.lap("understand")
                if isinstance(draft, Open):
                    self._put_down(begun, decisions)
                    matter = draft
                    attention = yield Wanted(request, draft.question, _expiry(request))
                    trace.skip()
                    record = {"waited_ms": round(attention.waited_s * 1000, 1)} if attention else {}
                    if draft.question:
                        passages = do.retrieval.passages(request.text, node=draft.node, limit=self._passages)
                        trace.lap("retrieve")
                    draft, made = do.drafting.draft(request, draft, passages, attention=attention)
                    record = {**record, **made}
                    trace.lap("generate")
                    if attention:
                        attention.settle()
            except Interrupted:
                raise
            except EdgeNodeError as error:
                draft = NothingDraft(request.node, str(error), code=error.code)
            if isinstance(draft, CommandDraft):
                with self._one_at_a_time:
                    verdict = do.gate.judge(draft, request)
                    command = do.lifecycle.issue(draft, verdict, request)
                trace.lap("gate")
            decided = Decision(request, draft, verdict, command, passages, {}, dict(trace.stages_ms), record)
            decisions.append(self._with_circumstances(decided, message=begun.message, matter=matter))
        self._conclude(begun, decisions)
        trace.lap("journal")
        yield Result(tuple(decisions), begun.moved, trace.stages_ms, begun.operated)

    def _timed(self, request: Request, *, came_at: float) -> Request:
        """Return a request that says how long it is wanted.

        It counts from when its message came: the device's own time, which an alarm carries, may lag.
        """
        if request.expires_at is not None or math.isinf(self._deadline_s):
            return request
        return replace(request, expires_at=came_at + self._deadline_s)

    def _put_down(self, begun: Begun, decisions: list[Decision]) -> None:
        """Write what fired, before it waits for the model while others go on.

        Alerts are told now: their end may come while the model thinks. What later messages change may reach
        the disk before this one ends: then its triggers must not be asked again after a crash, for they
        remember that they have fired.
        """
        if not begun.fired or self._memory.recorded(begun.key):
            return
        alerts = [each for each in decisions if each.request.kind is RequestKind.ALERT]
        told = {each.request.id for each in alerts}
        left = tuple(request for request in begun.requests if request.id not in told)
        states, begun.states = begun.states, ()
        if not alerts:
            # What the disk refuses is written later, together with this record.
            with suppress(JournalError):
                self._stages.journal.states.remember((*states, self._memory.record(begun.key, left)))
            return
        rows = [*states, self._memory.record(begun.key, left)]
        outgoing = self._stages.announcing.outgoing(alerts, ())
        try:
            self._stages.journal.conclude(None, decisions=alerts, outgoing=outgoing, states=rows)
        except JournalError:
            self._stages.journal.states.postpone([self._memory.record(begun.key, begun.requests)])
        else:
            begun.requests = left
            decisions[:] = [each for each in decisions if each.request.id not in told]

    def _conclude(self, begun: Begun, decisions: Sequence[Decision]) -> None:
        do, operated = self._stages, begun.operated
        issued = [decision.command for decision in decisions if decision.command]
        outgoing = do.announcing.outgoing(decisions, begun.moved)
        if operated:
            issued += [operated.command] if operated.command else []
            outgoing += do.announcing.response(operated)
        with self._put_back(begun.key, begun.requests if begun.fired else ()) as forgotten:
            do.journal.conclude(
                begun.message,
                decisions=decisions,
                commands=[*begun.moved, *issued],
                outgoing=outgoing,
                states=[*begun.states, *self._followed(issued), *forgotten],
            )

    @contextmanager
    def _put_back(self, key: str, requests: tuple[Request, ...]) -> Generator[list[StateRow], None, None]:
        """Give the rows that forget the requests of a message; keep those where it cannot end on the disk.

        What its triggers remember may reach the disk later all the same, and the message comes again after
        a restart.
        """
        forgotten = [self._memory.forget(key)] if self._memory.recorded(key) else []
        try:
            yield forgotten
        except JournalError:
            if requests:
                self._stages.journal.states.postpone([self._memory.record(key, requests)])
            raise

    def _followed(self, commands: Sequence[Command]) -> Sequence[StateRow]:
        if not commands:
            return ()
        with self._one_at_a_time:
            self._stages.twin.follow(commands)
            return self._memory.take(urgent=True)

    def follow(self, commands: Sequence[Command]) -> None:
        """Take up commands whose state changed outside the path of a message."""
        with self._one_at_a_time:
            self._stages.twin.follow(commands)

    def keep_up(self, message: Message) -> None:
        """Take up what a message says of devices, for those still under way with this configuration."""
        # It is told where the message is handled.
        with self._one_at_a_time, suppress(InputError):
            self._stages.twin.observe(message)

    def bury(self, message: Message, error: EdgeNodeError) -> None:
        """Write the end of a message that cannot be handled, and tell its sender why."""
        told = self._stages.announcing.refusal(message, error)
        with self._put_back(message.id, self._memory.recorded(message.id)) as forgotten:
            self._stages.journal.conclude(message, outgoing=told, dead=error.code, states=forgotten)

    def _with_circumstances(
        self, decision: Decision, *, message: Message | None, matter: Open | None
    ) -> Decision:
        """Return a decision with what was known of the devices that its request or its draft names."""
        twin, draft = self._stages.twin, decision.draft
        named = [decision.request.device] if decision.request.device else []
        if isinstance(draft, CommandDraft):
            named += [value for value in draft.arguments.values() if isinstance(value, str)]
        known = [state for device in named if (state := twin.state(draft.node, device))]
        return replace(
            decision,
            states={state.device: state.fields for state in known},
            times={state.device: twin.times(state.node, state.device) for state in known},
            message=message,
            matter=matter,
            made_by=self._made_by,
        )


def _expiry(request: Request) -> float:
    return math.inf if request.expires_at is None else request.expires_at


def _check_in_time(request: Request, now: float) -> None:
    """Return if what a person said is not too old to be done, as after a power cut."""
    late_s = now - _expiry(request)
    if request.kind is RequestKind.ASK and late_s > 0:
        raise DeadlinePassed(late_s=late_s)
