"""The path of one message, stage by stage.

Knows the Protocols of the stages and the values that travel between them; knows no thread, no broker,
no file and no model.
"""

from __future__ import annotations

import math
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from edge_node.errors import EdgeNodeError, InputError, Interrupted
from edge_node.memory import Memory
from edge_node.messages import Open
from edge_node.path.carried import Asked, Begun, Result, Steps, timed
from edge_node.path.circumstances import Circumstances
from edge_node.path.fired import FiredRequests
from edge_node.path.judging import judged
from edge_node.path.stages import Stages
from edge_node.path.trace import Trace

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from edge_node.messages import Command, Message, StateRow

__all__ = ["Pipeline", "Result", "Stages", "Steps"]


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
        self._passages = passages
        self._deadline_s = deadline_s
        self._circumstances = Circumstances(stages.twin, made_by=made_by or {})
        self._remember(Memory(stages.remembering, states=stages.journal.states))
        # What one verdict allows counts for the next, on whichever thread and configuration; and what a stage
        # remembers is taken together with the message that changed it, and with no half of another one.
        self._one_at_a_time = one_at_a_time or threading.Lock()

    def path(
        self,
        message: Message | None,
        *,
        now: float,
        begun: Begun | None = None,
        trace: Trace | None = None,
    ) -> Steps:
        """Yield each request that needs the model, and at the end the result.

        The caller goes on with the same generator on the thread where the model runs, sends it the attention
        that the request has there, or throws in why the model cannot be had: that ends one request, and the
        others go on.

        Args:
            message: What came from the bus and stands in the journal, or None for the passing of time.
            now: Time of the step, seconds since the epoch.
            begun: What it has led to, where it has begun already: by `begin`, or in the last run.
            trace: How long its stages took so far.

        Raises:
            InputError: The message cannot be read; its sender can mend it.
            Interrupted: The service ends; the message has no end yet.
        """
        do, trace = self._stages, trace or Trace()
        begun = begun or self._begun(message, trace, now=now)
        for request in begun.requests:
            asked = Asked(request)
            try:
                asked.check_in_time(begun.now)
                asked.proposal = matter = do.understanding.draft(request)
                trace.lap("understand")
                if isinstance(matter, Open):
                    self._fired.put_down(begun)
                    attention = yield asked.open(matter)
                    trace.skip()
                    asked.waited(attention)
                    if matter.question:
                        asked.passages = do.retrieval.passages(
                            request.text, node=matter.node, limit=self._passages
                        )
                        trace.lap("retrieve")
                    made = do.drafting.draft(request, matter, asked.passages, attention=attention)
                    asked.made(made)
                    trace.lap("generate")
                    if attention:
                        attention.settle()
            except Interrupted:
                raise
            except EdgeNodeError as error:
                asked.fail(error)
            with self._one_at_a_time:
                orders = judged(asked.orders, request, gate=do.gate, lifecycle=do.lifecycle)
            if orders:
                trace.lap("gate")
            begun.decisions += self._circumstances.decided(asked, orders, begun=begun, trace=trace)
        self._conclude(begun)
        trace.lap("journal")
        yield Result(tuple(begun.decisions), begun.moved, trace.stages_ms, begun.operated)

    def interrupted(self, *, but: Iterable[Message]) -> list[Steps]:
        """Return the rest of the paths that waited for the model when the last run ended.

        Args:
            but: Messages that begin again anyway.
        """
        left = self._memory.interrupted(but=[message.id for message in but])
        return [self.path(None, now=0.0, begun=Begun(None, key, requests)) for key, requests in left]

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
            return self.path(message, now=now, begun=begun, trace=trace)
        if begun.states or (message and message.durable):
            self._stages.journal.conclude(message, states=begun.states)
        return None

    def _begun(self, message: Message | None, trace: Trace, *, now: float) -> Begun:
        """Return what a message, or the passing of time, has led to before anything is decided."""
        do = self._stages
        with self._one_at_a_time:
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
                requests = tuple(
                    timed(each, came_at=came_at, deadline_s=self._deadline_s) for each in requests
                )
            states = self._memory.take(urgent=True)
        trace.lap("trigger")
        key = message.id if message else requests[0].id if requests else ""
        return Begun(message, key, requests, moved=moved, operated=operated, states=states, now=now)

    def _conclude(self, begun: Begun) -> None:
        do, operated = self._stages, begun.operated
        issued = [decision.command for decision in begun.decisions if decision.command]
        moved = () if begun.moved_told else begun.moved
        outgoing = do.announcing.outgoing(begun.decisions, moved)
        if operated:
            issued += operated.commands
            outgoing += do.announcing.response(operated)
        with self._fired.put_back(begun.key, begun.requests if begun.fired else ()) as forgotten:
            do.journal.conclude(
                begun.message,
                decisions=begun.decisions,
                commands=[*moved, *issued],
                outgoing=outgoing,
                states=[*begun.states, *self._followed(issued), *forgotten],
            )

    def _followed(self, commands: Sequence[Command]) -> Sequence[StateRow]:
        if not commands:
            return ()
        with self._one_at_a_time:
            self._stages.twin.follow(commands)
            return self._memory.take(urgent=True)

    def bury(self, message: Message, error: EdgeNodeError) -> None:
        """Write the end of a message that cannot be handled, and tell its sender why.

        Where it is an approval that was refused, the command it was meant for keeps that.
        """
        told = self._stages.announcing.refusal(message, error)
        refused = self._stages.lifecycle.take_refused()
        with self._fired.put_back(message.id, self._memory.recorded(message.id)) as forgotten:
            self._stages.journal.conclude(
                message, commands=refused, outgoing=told, dead=error.code, states=forgotten
            )

    def follow(self, commands: Sequence[Command]) -> None:
        """Take up commands whose state changed outside the path of a message."""
        with self._one_at_a_time:
            self._stages.twin.follow(commands)

    def keep_up(self, message: Message) -> None:
        """Take up what a message says of devices, for those still under way with this configuration."""
        # It is told where the message is handled.
        with self._one_at_a_time, suppress(InputError):
            self._stages.twin.observe(message)

    @property
    def memory(self) -> Memory:
        """What the stages remember, on its way to the journal and back."""
        return self._memory

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
        self._remember(before.memory.renewed(self._stages.remembering))

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

    def _remember(self, memory: Memory) -> None:
        self._memory = memory
        self._fired = FiredRequests(memory, journal=self._stages.journal, announcing=self._stages.announcing)
