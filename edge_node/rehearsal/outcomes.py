"""What came of a scenario, in the words in which scenarios expect it.

Knows the happenings of a rehearsal; knows no expectation.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edge_node.announcing import cite
from edge_node.messages import (
    AnswerDraft,
    Command,
    CommandState,
    Decision,
    NothingDraft,
    Outgoing,
    RequestKind,
)
from edge_node.rehearsal.rehearsal import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edge_node.messages import Verdict
    from edge_node.rehearsal.rehearsal import Happening

_SHOWN = 300


@dataclass(frozen=True, slots=True)
class Outcome:
    """One thing that came.

    Attributes:
        kind: The key that expects it: command, denied, answer, declines, reply, event, refused or message.
        at_s: When, in seconds since the start.
        name: Command, trigger, error code or topic.
        line: It in one line, as a person reads it.
        arguments: Arguments of a command.
        state: How far a command has come by this.
        command_id: The command.
        topic: Topic on which a device gets a command.
        payload: What a message holds: JSON read, or text.
        rule: Rule that denied.
        device: Device of an event.
        text: Words of an answer, a reason or an alarm.
        files: Files of the manual that an answer comes from.
        code: Kind of a reply.
        rules: What each rule of the gate said, a line each.
    """

    kind: str
    at_s: float
    name: str
    line: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    state: str = ""
    command_id: str = ""
    topic: str = ""
    payload: Any = None
    rule: str = ""
    device: str = ""
    text: str = ""
    files: tuple[str, ...] = ()
    code: str = ""
    rules: tuple[str, ...] = ()


def outcomes_of(happenings: Sequence[Happening], *, starts_at_s: float) -> tuple[Outcome, ...]:
    """Return what came, in order; times count from `starts_at_s`."""
    commands = {each.what.id: each.what for each in happenings if isinstance(each.what, Command)}
    return tuple(
        outcome
        for happening in happenings
        for outcome in _outcomes(happening, happening.at_s - starts_at_s, commands)
    )


def _outcomes(happening: Happening, at_s: float, commands: Mapping[str, Command]) -> Iterator[Outcome]:
    match happening.what:
        case Decision() as decision:
            yield from _decided(decision, at_s)
        case Command() as command if command.state not in {CommandState.DENIED, CommandState.SENT}:
            yield _moved(command, at_s, state=command.state.value)
        case Outgoing() as outgoing:
            body = _read(outgoing.payload)
            ordered = commands.get(outgoing.command_id)
            if ordered is not None:
                yield _moved(ordered, at_s, state="sent", topic=outgoing.topic, payload=body)
            line = f"message {outgoing.topic} {_short(_text(outgoing.payload))}"
            yield Outcome("message", at_s, outgoing.topic, line, payload=body)
        case Refusal(message, error):
            line = f"refused {message.topic}: {error.code}, {error}"
            yield Outcome("refused", at_s, error.code, line, text=str(error))


def _decided(decision: Decision, at_s: float) -> Iterator[Outcome]:
    request, draft = decision.request, decision.draft
    if request.kind is RequestKind.ALARM:
        line = f"event {request.trigger} of {request.device}: {request.text}"
        yield Outcome("event", at_s, request.trigger, line, device=request.device, text=request.text)
    match draft:
        case AnswerDraft(quotations=()):
            yield Outcome("declines", at_s, draft.node, "declines: that is not in the manuals")
        case AnswerDraft(quotations=quotations):
            text = " ".join(" ".join(quotation.text.split()) for quotation in quotations)
            places = ", ".join(cite(quotation) for quotation in quotations)
            files = tuple(quotation.file for quotation in quotations)
            yield Outcome(
                "answer", at_s, draft.node, f"answer: {_short(text)} ({places})", text=text, files=files
            )
        case NothingDraft() if request.kind is RequestKind.ASK:
            line = f"reply {draft.code}: {draft.reason}"
            yield Outcome("reply", at_s, draft.code, line, code=draft.code, text=draft.reason)
    command, verdict = decision.command, decision.verdict
    if command is not None and command.state is CommandState.DENIED and verdict is not None:
        yield Outcome(
            "denied",
            at_s,
            command.name,
            f"denied {call(command.name, command.arguments)} by {verdict.rule}: {verdict.reason}",
            arguments=command.arguments,
            rule=verdict.rule,
            text=verdict.reason,
            rules=_rules(verdict),
        )


def _moved(command: Command, at_s: float, *, state: str, topic: str = "", payload: Any = None) -> Outcome:
    detail = f": {_short(json.dumps(payload, ensure_ascii=False))} on {topic}" if topic else ""
    if not detail and command.detail:
        detail = f": {command.detail}"
    line = f"command {call(command.name, command.arguments)} {state.replace('_', ' ')}{detail}"
    return Outcome(
        "command",
        at_s,
        command.name,
        line,
        arguments=command.arguments,
        state=state,
        command_id=command.id,
        topic=topic,
        payload=payload,
        text=command.detail,
    )


def _rules(verdict: Verdict) -> tuple[str, ...]:
    return tuple(
        f"{'passed' if rule.passed else 'denied'} {rule.rule}: {rule.reason}" for rule in verdict.rules
    )


def call(name: str, arguments: Mapping[str, Any]) -> str:
    """Return a command as it is written for people."""
    return f"{name}({', '.join(f'{key}={value}' for key, value in arguments.items())})"


def _read(payload: bytes) -> Any:
    try:
        return json.loads(payload)
    except ValueError:
        return _text(payload)


def _text(payload: bytes) -> str:
    return payload.decode("utf-8", "replace")


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
