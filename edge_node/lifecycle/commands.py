"""The life of commands after the gate: issued, sent, acknowledged, and shown by the device or not.

Knows the node files and what devices report; knows no broker and no file. A command counts as carried
out only when its device's own report shows it.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edge_node.errors import PayloadInvalid, TransitionInvalid
from edge_node.identifiers import new_id
from edge_node.lifecycle.life import Life, is_open, moved, sent_at
from edge_node.lifecycle.ordered import device_of, expectation_of
from edge_node.lifecycle.publication import is_of, names_in, payload_of, stamp, topic_of
from edge_node.messages import Approval, Command, CommandState, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from edge_node.config.loaded import Node
    from edge_node.config.models import CommandConfig
    from edge_node.messages import CommandDraft, Observation, Refusal, Request, RuleResult, Verdict

HOUR_S = 3600.0
_TASK = "task"
_FIRST = {
    Outcome.ALLOWED: CommandState.SENT,
    Outcome.DENIED: CommandState.DENIED,
    Outcome.NEEDS_APPROVAL: CommandState.AWAITING_APPROVAL,
}


class CommandLifecycle:
    """All commands that may still change, watched until they end.

    A command is `sent` once it is handed to the outbox, `acknowledged` once the broker has it, and
    `verified` once its device reports the expected value in a message that came after it was sent.
    A command that names no device is shown by the node's own device, which has the name of the node.
    Safe to use from several threads.

    Args:
        nodes: The nodes whose commands are issued.
        clock: Wall clock, seconds since the epoch.
        new_id: Gives the identifier of a command.
        fields: Gives what is known of a device of a node, for payloads that take up a field.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        *,
        clock: Callable[[], float] = time.time,
        new_id: Callable[[], str] = new_id,
        fields: Callable[[str, str], Mapping[str, Any]] = lambda _node, _device: {},
    ) -> None:
        self._specs = {(node.name, name): spec for node in nodes for name, spec in node.spec.commands.items()}
        self._clock = clock
        self._new_id = new_id
        self._fields = fields
        self._field_names = {
            node.name: frozenset(name for entry in node.spec.listen for name in entry.fields)
            for node in nodes
        }
        self._counts: Counter[str] = Counter()
        self._open: dict[str, Life] = {}
        self._issued_at: dict[tuple[str, str, str], float] = {}
        self._recent: dict[tuple[str, str, str], deque[float]] = {}
        self._refused: set[str] = set()
        self._lock = threading.Lock()

    def renewed(
        self, nodes: Sequence[Node], *, fields: Callable[[str, str], Mapping[str, Any]] | None = None
    ) -> CommandLifecycle:
        """Return a lifecycle for other nodes that watches the same commands, together with this one.

        A command that awaited approval can be approved only where its node would give the same one again.
        """
        other = CommandLifecycle(nodes, clock=self._clock, new_id=self._new_id, fields=fields or self._fields)
        other._open, other._issued_at, other._recent = self._open, self._issued_at, self._recent
        other._counts, other._refused = self._counts, self._refused
        other._lock = self._lock
        return other

    def issue(self, draft: CommandDraft, verdict: Verdict, request: Request) -> Command:
        """Return the command with its identifier, its first state and what its device gets.

        Raises:
            TopicInvalid: An argument may not stand in the command's topic; the gate denies such a one.
        PayloadInvalid: A field that its payload takes up is not known; `require` denies such a one.
        """
        now = self._clock()
        spec = self._specs.get((draft.node, draft.name))
        proposed = Command(
            id=self._new_id(),
            node=draft.node,
            name=draft.name,
            device=device_of(spec, draft),
            arguments=dict(draft.arguments),
            state=CommandState.PROPOSED,
            created_at=now,
            expires_at=now,
            idempotent=False,
            topic="",
            payload=b"",
            reply_to=request.reply_to,
            correlation=request.correlation,
            origin=draft.origin,
            user=request.user,
            trigger=request.trigger,
            decision=request.id,
            task=request.task,
            behind=verdict.outcome is Outcome.NEEDS_APPROVAL and verdict.rule == _TASK,
        )
        if spec is None or verdict.outcome is Outcome.DENIED:
            return moved(proposed, CommandState.DENIED, detail=verdict.reason)
        state = _FIRST[verdict.outcome]
        reason = verdict.reason if state is CommandState.AWAITING_APPROVAL else ""
        with self._lock:
            command = moved(self._filled(proposed, spec), state, detail=reason)
            self._issued_at[command.node, command.name, command.device] = now
            if state is CommandState.SENT:
                command = replace(command, sent_at=now)
                self._count(command, at=now)
            self._open[command.id] = Life(command, since=now, sent_at=now)
        return command

    def observe(self, observations: Sequence[Observation]) -> tuple[Command, ...]:
        """Return the commands whose state changed by what devices reported."""
        if not self._open:  # as mostly; what is issued this very moment was shown by nothing yet
            return ()
        with self._lock:
            shown = [
                self._move(life, CommandState.VERIFIED, life.told())
                for observation in observations
                for life in tuple(self._open.values())
                if life.is_shown_by(observation)
            ]
        return tuple(shown)

    def due(self, now: float) -> tuple[Command, ...]:
        """Return the commands whose state changed by the passing of time, up to `now`."""
        with self._lock:
            over = [life for life in self._open.values() if now >= life.deadline]
            # A task is approved as one thing: what can no longer be approved takes the rest of it along.
            tasks = {life.command.task for life in over if _awaits(life)} - {""}
            over += [
                life
                for life in self._open.values()
                if _awaits(life) and life.command.task in tasks and life not in over
            ]
            lapsed = [self._move(life, *life.lapse()) for life in over]
        return tuple(lapsed)

    def acknowledged(self, command_id: str) -> Command | None:
        """Return the command that the broker has now, or None where its life is over or further on."""
        with self._lock:
            life = self._open.get(command_id)
            if life is None or life.command.state is not CommandState.SENT:
                return None
            return self._move(life, CommandState.ACKNOWLEDGED, detail="the broker has it")

    def uncertain(self, command_id: str) -> Command | None:
        """Return the command of which nobody can tell whether it left before a crash, or None if over."""
        with self._lock:
            life = self._open.get(command_id)
            if life is None or life.command.state is not CommandState.SENT:
                return None
            detail = "it may have left before the restart, and is not sent twice"
            return self._move(life, CommandState.UNKNOWN, detail=detail)

    def approve(
        self,
        subject: str,
        *,
        user: str,
        rules: Mapping[str, tuple[RuleResult, ...]] | None = None,
        signed: bool = False,
    ) -> tuple[Command, ...]:
        """Return the commands that awaited approval under an identifier, now sent.

        Args:
            subject: Identifier of a command, or of the task that all of them are of.
            user: Who approves.
            rules: Command to what the gate said of it now.
            signed: Whether the approval is signed.

        Raises:
            TransitionInvalid: None awaits approval, or not any more; none is sent.
        """
        with self._lock:
            lives = self._waiting(subject)
            for life in lives:
                if not self._stands(life.command):
                    expected = "one that its node would still give"
                    came = "one of an older configuration"
                    raise TransitionInvalid(life.command.id, expected=expected, came=came)
            return tuple(self._release(life, user=user, rules=rules or {}, signed=signed) for life in lives)

    def _release(
        self, life: Life, *, user: str, rules: Mapping[str, tuple[RuleResult, ...]], signed: bool
    ) -> Command:
        now = self._clock()
        approval = Approval(user, now, signed, rules.get(life.command.id, ()))
        life.command = replace(life.command, approval=approval)
        command = self._move(life, CommandState.SENT, detail=f"approved by {user}")
        self._issued_at[command.node, command.name, command.device] = now
        self._count(command, at=now)
        return command

    def refuse(self, subject: str, *, refusal: Refusal) -> None:
        """Take note, for each command that awaits approval under an identifier, that one was refused."""
        with self._lock:
            for life in self._open.values():
                if subject and subject in {life.command.id, life.command.task} and _awaits(life):
                    life.refuse(refusal)
                    self._refused.add(life.command.id)

    def take_refused(self) -> tuple[Command, ...]:
        """Return the open commands of which a refusal was noted since this was last asked."""
        with self._lock:
            lives = [self._open[each] for each in sorted(self._refused) if each in self._open]
            self._refused.clear()
            return tuple(life.command for life in lives)

    def cancel(self, subject: str, *, user: str) -> tuple[Command, ...]:
        """Return the commands that awaited approval under an identifier, now cancelled.

        That of one command stands for all of its task that wait.

        Raises:
            TransitionInvalid: None awaits approval, or not any more.
        """
        with self._lock:
            lives = self._waiting(subject)
            task = lives[0].command.task
            return tuple(
                self._move(life, CommandState.CANCELLED, detail=f"cancelled by {user}")
                for life in (self._waiting(task) if task else lives)
            )

    def awaiting(self, subject: str) -> tuple[Command, ...]:
        """Return the commands that await approval under an identifier: a command's own, or their task's.

        Raises:
            TransitionInvalid: None does, or not any more.
        """
        with self._lock:
            return tuple(life.command for life in self._waiting(subject))

    def open_ids(self) -> tuple[str, ...]:
        """Return the identifiers of all commands that may still change."""
        with self._lock:
            return tuple(self._open)

    def withdraw(self, commands: Iterable[Command]) -> tuple[Command, ...]:
        """Watch commands no more that ended because of an operational stop, or with the last run."""
        ended = tuple(commands)
        with self._lock:
            for command in ended:
                self._open.pop(command.id, None)
            return tuple(
                replace(
                    command,
                    others_open=self._others(command)
                    + sum(bool(command.task) and other.task == command.task for other in ended[number:]),
                )
                for number, command in enumerate(ended, start=1)
            )

    def restore(self, commands: Iterable[Command]) -> None:
        """Watch commands again that were open before a restart; what has ended only counts as issued.

        One that the broker had already gets its time to be shown anew, for reports may have been missed.
        """
        now = self._clock()
        with self._lock:
            for command in commands:
                if command.state in {CommandState.DENIED, CommandState.PROPOSED}:
                    continue
                key = (command.node, command.name, command.device)
                self._issued_at[key] = max(command.created_at, self._issued_at.get(key, -math.inf))
                at = sent_at(command)
                if at is not None:
                    self._count(command, at=at)
                if is_open(command):
                    since = now if command.state is CommandState.ACKNOWLEDGED else command.created_at
                    self._open[command.id] = Life(command, since=since, sent_at=command.created_at)

    def last_issued(self, node: str, name: str, device: str) -> float | None:
        """Return when a command was last sent, or put before a person, for a device; None if never."""
        with self._lock:
            return self._issued_at.get((node, name, device))

    def issued(self, node: str, name: str, device: str) -> tuple[float, ...]:
        """Return when commands for a device were sent within the last hour or so."""
        with self._lock:
            return tuple(self._recent.get((node, name, device), ()))

    def _count(self, command: Command, *, at: float) -> None:
        times = self._recent.setdefault((command.node, command.name, command.device), deque())
        times.append(at)
        # A clock that was set back must not keep old times for ever.
        while abs(times[0] - times[-1]) > HOUR_S:
            times.popleft()

    def _filled(self, command: Command, spec: CommandConfig) -> Command:
        """Return a command with what its device gets and what is expected of it."""
        topic = topic_of(spec.publish.topic, {**command.arguments, "command_id": command.id})
        values = {
            **self._fields(command.node, command.device or command.node),
            **command.arguments,
            "command_id": command.id,
            "command_time": stamp(command.created_at),
            "command_count": self._counts[topic],
        }
        wanted = names_in(spec.publish.payload) & self._field_names[command.node]
        for name in sorted(wanted - values.keys()):
            raise PayloadInvalid(
                expected=f"a known value for {{{name}}}",
                came="none",
                hint="let a condition in `require` ask for it, so that the gate denies the command",
            )
        payload = payload_of(spec.publish.payload, values)
        self._counts[topic] += 1
        return replace(
            command,
            expires_at=command.created_at + spec.expires,
            idempotent=spec.publish.idempotent,
            topic=topic,
            payload=payload,
            expectation=expectation_of(spec, command),
        )

    def _waiting(self, subject: str) -> list[Life]:
        """Return what awaits approval under the identifier of a command or of a task."""
        lives = [life for life in self._open.values() if life.command.task == subject and _awaits(life)]
        return [self._awaiting(life.command.id) for life in lives if subject] or [self._awaiting(subject)]

    def _others(self, command: Command) -> int:
        """Return how many others of its task may still change."""
        if not command.task:
            return 0
        return sum(
            life.command.task == command.task and life.command.id != command.id
            for life in self._open.values()
        )

    def _awaiting(self, command_id: str) -> Life:
        life = self._open.get(command_id)
        if life is None or life.command.state is not CommandState.AWAITING_APPROVAL:
            came = "one that is over, or none of this edge" if life is None else life.command.state.value
            raise TransitionInvalid(command_id, expected="one that awaits approval", came=came)
        if self._clock() >= life.command.expires_at:
            raise TransitionInvalid(command_id, expected="an approval in time", came="one after it expired")
        return life

    def _stands(self, command: Command) -> bool:
        """Return whether its node would send the same to the same device today."""
        spec = self._specs.get((command.node, command.name))
        if spec is None or spec.args.keys() != command.arguments.keys():
            return False
        values = {**command.arguments, "command_id": command.id}
        return (
            topic_of(spec.publish.topic, values) == command.topic
            and expectation_of(spec, command) == command.expectation
            and is_of(command.payload, spec.publish.payload, values)
        )

    def _move(self, life: Life, state: CommandState, detail: str) -> Command:
        """Return the command in its next state; one that has ended is watched no more."""
        command = life.enter(state, detail=detail, at=self._clock())
        if not is_open(command):
            del self._open[command.id]
        return replace(command, others_open=self._others(command))


def _awaits(life: Life) -> bool:
    return life.command.state is CommandState.AWAITING_APPROVAL
