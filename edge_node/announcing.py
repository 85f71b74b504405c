"""What the bus is told: envelopes for replies, events, the life of commands, and dead letters.

Knows the wire layout and the values; knows no broker, no stage and no file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any

from edge_node.errors import PayloadInvalid
from edge_node.identifiers import new_id
from edge_node.messages import (
    AnswerDraft,
    Command,
    CommandDraft,
    CommandState,
    Decision,
    NothingDraft,
    Outgoing,
    Quotation,
    RequestKind,
)
from edge_node.payloads import read_json, readable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from edge_node.errors import EdgeNodeError
    from edge_node.messages import Message, Operated, Request
    from edge_node.topics import EdgeTopics

NOT_IN_THE_MANUALS = "That is not in the manuals."
_MAX_CORRELATION = 256
_MAX_DEPTH = 32
_TASK = "task"
_TELLING = (CommandState.DENIED.value, CommandState.AWAITING_APPROVAL.value, CommandState.SENT.value)
"""States by which several commands together are told, the first that is there."""
_MOVING = frozenset({CommandState.PROPOSED, CommandState.AWAITING_APPROVAL, CommandState.SENT})


def cite(quotation: Quotation) -> str:
    """Return the place of a quotation as people write it, such as `manual/pump.md:12-14`."""
    if quotation.page is not None:
        return f"{quotation.file}, page {quotation.page}"
    lines = f"{quotation.first_line}"
    if quotation.last_line != quotation.first_line:
        lines += f"-{quotation.last_line}"
    return f"{quotation.file}:{lines}"


@dataclass(frozen=True, slots=True)
class Announcing:
    """Envelopes in the wire layout of one edge.

    Attributes:
        topics: Topics of the edge.
        clock: Seconds since the epoch, by the clock that commands expire by.
        wall: The time of day that envelopes carry; by `clock` where left out.
    """

    topics: EdgeTopics
    clock: Callable[[], float]
    wall: Callable[[], float] | None = None

    def outgoing(self, decisions: Sequence[Decision], moved: Sequence[Command]) -> tuple[Outgoing, ...]:
        """Return what devices and people get: commands, their lives, replies and events."""
        told: list[Outgoing] = []
        for command in moved:
            told += self.life(command)
        for _, group in groupby(decisions, key=lambda each: each.request.task or each.request.id):
            together = list(group)
            issued = [each.command for each in together if each.command]
            told += [order(command) for command in issued if command.state is CommandState.SENT]
            told.append(self._outcome(together))
            told += [self._life(command) for command in issued]
            told += self._approval_requests(together)
        return tuple(told)

    def life(self, command: Command) -> list[Outgoing]:
        """Return the message on the command's own topic, and the reply to who ordered it, if any."""
        told = [self._life(command)]
        if command.reply_to:
            data = command_data(command)
            data["final"] = data["final"] and not command.others_open
            told.append(self.envelope(command.reply_to, "command", data, corr=command.correlation))
        return told

    def response(self, operated: Operated) -> tuple[Outgoing, ...]:
        """Return what a person who asked for an operation gets, and what follows for devices and others."""
        told: list[Outgoing] = []
        for command in operated.commands:
            if command.state is CommandState.SENT:
                left_s = max(1, int(command.expires_at - self.clock()))
                told.append(replace(order(command), expiry_s=left_s))
        for command in operated.commands:
            told += self.life(command)
        data = {
            **operated.data,
            "operation": operated.operation,
            "text": operated.text,
            "final": operated.final,
        }
        if len(operated.commands) > 1:
            data = {"commands": [command_data(command) for command in operated.commands], **data}
        elif operated.commands:
            data = {**command_data(operated.commands[0]), **data}
        topic = self.topics.operation_response(operated.user, operated.operation)
        return (*told, self.envelope(topic, "response", data, corr=operated.correlation))

    def failure(self, operated: Operated, error: EdgeNodeError) -> tuple[Outgoing, ...]:
        """Return why an operation that had begun came to nothing, for who asked for it."""
        topic = self.topics.operation_response(operated.user, operated.operation)
        data = {
            "operation": operated.operation,
            "error": error.as_dict(),
            "text": str(error),
            "final": True,
        }
        return (self.envelope(topic, "error", data, corr=operated.correlation),)

    def refusal(self, message: Message, error: EdgeNodeError) -> tuple[Outgoing, ...]:
        """Return the dead letter of a message, and the error to its sender where there is a way to one."""
        data = {"topic": message.topic, "error": error.as_dict(), "text": str(error), "final": True}
        told = [self.envelope(self.topics.dead(error.code), "error", data)]
        user = self.topics.asking_user(message.topic)
        operating = self.topics.operating(message.topic)
        if operating:
            response = self.topics.operation_response(*operating)
            told.append(self.envelope(response, "error", data, corr=_correlation(message)))
        if user:
            wanted = message.response_topic
            own = self.topics.may_reply_to(wanted, user=user)
            corr = _correlation(message)
            told.append(self.envelope(wanted if own else self.topics.reply(user), "error", data, corr=corr))
        return tuple(told)

    def piece(self, request: Request, quotation: Quotation, *, number: int) -> Outgoing:
        """Return a piece of the answer to a request, for who is there to hear it."""
        data = {"seq": number, **quotation_data(quotation), "text": spoken(quotation), "final": False}
        topic = self.topics.stream(request.user)
        return replace(self.envelope(topic, "piece", data, corr=request.correlation), qos=0)

    def envelope(
        self, topic: str, kind: str, data: Mapping[str, Any], *, corr: str = "", retain: bool = False
    ) -> Outgoing:
        """Return a message of edge_node's own: `v id ts src corr type data`."""
        raw = corr.encode("utf-8", "surrogateescape")
        stamp = datetime.fromtimestamp((self.wall or self.clock)(), UTC).isoformat(timespec="milliseconds")
        body = {
            "v": 1,
            "id": new_id(),
            "ts": stamp.replace("+00:00", "Z"),
            "src": self.topics.edge,
            "corr": readable(raw),
            "type": kind,
            "data": data,
        }
        return Outgoing(topic, _json(body), retain=retain, correlation=raw)

    def _approval_requests(self, decisions: Sequence[Decision]) -> Iterator[Outgoing]:
        """Yield what each person is told who may approve what awaits it: one request for all of a task."""
        waiting = [
            (each.command, each.verdict)
            for each in decisions
            if each.command and each.verdict and each.command.state is CommandState.AWAITING_APPROVAL
        ]
        if not waiting:
            return
        first, verdict = waiting[0]
        expires_at = min(command.expires_at for command, _ in waiting)
        left_s = expires_at - self.clock()
        at = (self.wall or self.clock)() + left_s
        stamp = datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        data = command_data(first)
        if len(waiting) > 1:
            data = task_data([each for each in decisions if each.command in [one for one, _ in waiting]])
        data |= {"asked_by": first.user, "trigger": first.trigger, "expires_at": stamp}
        for user in verdict.approvers:
            topic = self.topics.operation_response(user, "approval")
            yield replace(self.envelope(topic, "approval", data), expiry_s=max(1, int(left_s)))

    def _life(self, command: Command) -> Outgoing:
        data = command_data(command)
        return self.envelope(self.topics.command(command.id), "command", data, corr=command.correlation)

    def _outcome(self, decisions: Sequence[Decision]) -> Outgoing:
        """Return the reply to a person, or the event of an alarm: one for all commands of a task."""
        decision, request = decisions[0], decisions[0].request
        if request.kind is RequestKind.ALERT:
            return self._alert(request)
        told = outcome_data(decision) if len(decisions) == 1 else task_data(decisions)
        data = {"node": decision.draft.node, **told, "decision": request.id}
        if request.kind is RequestKind.ALARM:
            data |= {"trigger": request.trigger, "device": request.device, "alarm": request.text}
            return self.envelope(self.topics.event(request.trigger), "event", data)
        kind = "command" if decision.command else _KINDS[type(decision.draft)]
        kind = "task" if len(decisions) > 1 else kind
        return self.envelope(request.reply_to, kind, data, corr=request.correlation)

    def _alert(self, request: Request) -> Outgoing:
        """Return that an episode begins or ends, for a trigger with `alert`."""
        name = ".".join(filter(None, (request.node, request.trigger, request.device)))
        ended = {"ended_at": self._stamp(request.created_at)} if request.over else {}
        data = {
            "alert": name,
            "state": "end" if request.over else "begin",
            "text": f"over: {request.text}" if request.over else request.text,
            "began_at": self._stamp(request.began_at),
            **ended,
            "node": request.node,
            "trigger": request.trigger,
            "device": request.device,
            "values": request.evidence.get("values", {}),
            "decision": request.id,
        }
        return self.envelope(self.topics.alert(name), "alert", data)

    def _stamp(self, at: float) -> str:
        """Return a time of the clock that commands expire by as the time of day."""
        wall = self.wall() + at - self.clock() if self.wall else at
        return datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


_KINDS: dict[type, str] = {AnswerDraft: "answer", NothingDraft: "nothing", CommandDraft: "command"}


def order(command: Command) -> Outgoing:
    """Return what the device gets."""
    expiry_s = max(1, int(command.expires_at - command.created_at))
    return Outgoing(command.topic, command.payload, expiry_s=expiry_s, command_id=command.id)


def outcome_data(decision: Decision) -> dict[str, Any]:
    """Return what a person or an event is told of a decision; `final` where nothing more will follow.

    Where the context had no room for all, `left_out` tells what the model did not see, and so does the text.
    """
    data = _outcome_data(decision)
    left_out = decision.model.get("left_out")
    if left_out:
        unseen = ", ".join(f"{count} {what}" for what, count in left_out.items())
        data |= {"text": f"{data['text']} (The model was not shown: {unseen}.)", "left_out": left_out}
    return data


def _outcome_data(decision: Decision) -> dict[str, Any]:
    draft = decision.draft
    if decision.command:
        rule = decision.verdict.rule if decision.verdict else ""
        return {**command_data(decision.command), "origin": _origin(draft), "rule": rule}
    if isinstance(draft, AnswerDraft):
        return {**answer_data(draft), "final": True}
    reason = draft.reason if isinstance(draft, NothingDraft) else ""
    code = draft.code if isinstance(draft, NothingDraft) else ""
    offers = draft.offers if isinstance(draft, NothingDraft) else ()
    told = [
        {"number": number, "command": offer.name, "arguments": dict(offer.arguments)}
        for number, offer in enumerate(offers, start=1)
    ]
    return {"text": reason, "code": code, **({"offers": told} if told else {}), "final": True}


def task_data(decisions: Sequence[Decision]) -> dict[str, Any]:
    """Return what is told of several commands that stand and fall together.

    `command_id` is the one identifier by which all that waits can be approved or cancelled.
    """
    told = [outcome_data(decision) for decision in decisions]
    denied = [each for each in told if each["state"] == CommandState.DENIED.value and each["rule"] != _TASK]
    text = "; ".join(each["text"] for each in told)
    states = [each["state"] for each in told]
    state = next((each for each in _TELLING if each in states), states[0])
    if state == CommandState.DENIED.value:
        others = ", ".join(each["call"] for each in told if each not in denied)
        why = "; ".join(each["text"] for each in denied) or told[0]["text"]
        text = f"nothing was done: {why}" + (f"; so neither was {others}" if denied and others else "")
    task = decisions[0].request.task
    return {
        "task": task,
        "command_id": task,
        "commands": told,
        "state": state,
        "text": text,
        "final": all(each["final"] for each in told),
    }


def answer_data(draft: AnswerDraft) -> dict[str, Any]:
    """Return an answer in words and as quotations with their places."""
    words = [spoken(quotation) for quotation in draft.quotations]
    return {
        "found": bool(words),
        "text": "\n".join(words) or NOT_IN_THE_MANUALS,
        "quotations": [quotation_data(quotation) for quotation in draft.quotations],
    }


def spoken(quotation: Quotation) -> str:
    """Return a quotation with its place, as people read it."""
    return f"“{quotation.text}” ({cite(quotation)})"


def quotation_data(quotation: Quotation) -> dict[str, Any]:
    """Return a quotation in parts."""
    return {
        "text": quotation.text,
        "cite": cite(quotation),
        "file": quotation.file,
        "first_line": quotation.first_line,
        "last_line": quotation.last_line,
        "page": quotation.page,
    }


def command_data(command: Command) -> dict[str, Any]:
    """Return the state of a command in words and in parts."""
    spoken = ", ".join(f"{name} = {value}" for name, value in command.arguments.items())
    call = f"{command.name}({spoken})"
    detail = f": {command.detail}" if command.detail else ""
    task = {"task": command.task} if command.task else {}
    return {
        **task,
        "call": call,
        "command_id": command.id,
        "decision": command.decision,
        "node": command.node,
        "command": command.name,
        "device": command.device,
        "arguments": dict(command.arguments),
        "state": command.state.value,
        "reason": command.detail,
        "text": f"{call} {command.state.value.replace('_', ' ')}{detail}",
        "final": is_final(command),
    }


def _json(body: Mapping[str, Any]) -> bytes:
    """Return JSON that every reader takes, also of what a denied draft held: half characters, no numbers."""
    try:
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError:
        named = json.loads(json.dumps(body), parse_constant=str)
        text = json.dumps(named, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")


def is_final(command: Command) -> bool:
    """Return whether nothing more will be told of a command."""
    if command.state is CommandState.ACKNOWLEDGED:
        return command.expectation is None
    return command.state not in _MOVING


def _correlation(message: Message) -> str:
    """Return by what the sender of a refused question tells replies apart: the property, else the JSON's."""
    if message.correlation or not message.payload.lstrip().startswith(b"{"):
        return message.correlation.decode("utf-8", "surrogateescape")
    try:
        body = read_json(message.payload, max_bytes=len(message.payload), max_depth=_MAX_DEPTH)
    except PayloadInvalid:
        return ""
    own = body.get("correlation", "")
    return own if isinstance(own, str) and own.isprintable() and len(own) <= _MAX_CORRELATION else ""


def _origin(draft: object) -> str:
    return draft.origin.value if isinstance(draft, CommandDraft) else ""
