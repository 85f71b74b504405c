"""What people ask of the edge itself: approve or cancel a command, reset an operational stop, list devices.

Knows the topics of operations, who may ask for which, and the stages that carry them out; knows no bus,
no file and no thread. An approval goes through the gate again: what was true when a command was proposed
may be true no more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge_node.device_page import device_page
from edge_node.errors import Denied, EnvelopeInvalid, NotPermitted, TopicInvalid
from edge_node.messages import CommandDraft, Operated, Outcome, Request, RequestKind
from edge_node.payloads import read_correlation, read_json
from edge_node.topics import is_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_node.config.models import RuntimeConfig
    from edge_node.messages import Command, Message
    from edge_node.protocols import Gate, Lifecycle, OperationalStop, Twin
    from edge_node.topics import EdgeTopics

_KEYS: Mapping[str, tuple[str, ...]] = {
    "approve": ("command_id", "correlation"),
    "cancel": ("command_id", "correlation"),
    "reset_stop": ("stop_id", "correlation"),
    "devices": ("node", "after", "correlation"),
}
_MAX_IDENTIFIER = 64


@dataclass(frozen=True, slots=True)
class _Asked:
    """An operation that was read.

    Attributes:
        operation: Its name.
        user: Who asks, from the topic.
        at: When it came, seconds since the epoch.
        subject: Identifier of the command or the stop that it is about; may be empty for a stop.
        correlation: Correlation of the request.
        body: All that the request says.
    """

    operation: str
    user: str
    at: float
    subject: str
    correlation: str
    body: Mapping[str, str]


class OperatorDesk:
    """Operations on `op/{user}/request/{operation}`; who speaks follows from the topic.

    Args:
        runtime: Who may do what, and the limits of a payload.
        topics: Topics of the edge.
        lifecycle: The commands.
        gate: Asked again before an approved command leaves.
        stop: The operational stop.
        twin: What is known of devices.
    """

    def __init__(
        self,
        runtime: RuntimeConfig,
        *,
        topics: EdgeTopics,
        lifecycle: Lifecycle,
        gate: Gate,
        stop: OperationalStop,
        twin: Twin,
    ) -> None:
        self._approvers = frozenset(runtime.operators.approve)
        self._resetters = frozenset(runtime.stop.reset)
        self._limits = runtime.limits
        self._topics = topics
        self._lifecycle = lifecycle
        self._gate = gate
        self._stop = stop
        self._twin = twin

    def carry_out(self, message: Message) -> Operated | None:
        """Return what came of a message that asks for an operation, or None for any other message.

        Raises:
            InputError: It cannot be read, its user may not, or the command is not where it would have to be.
            LatchError: The disk refused a reset; the stop holds.
        """
        named = self._topics.operating(message.topic)
        if named is None:
            return None
        asked = self._read(message, user=named[0], operation=named[1])
        match asked.operation:
            case "approve":
                return self._approve(asked)
            case "cancel":
                return self._cancel(asked)
            case "devices":
                return self._devices(asked)
        return self._reset(asked)

    def _approve(self, asked: _Asked) -> Operated:
        if asked.user not in self._approvers:
            raise NotPermitted(asked.user, operation="approve", key="operators.approve")
        waiting = self._lifecycle.awaiting(asked.subject)
        verdict = self._gate.judge_approved(*_proposal(waiting), proposed_at=waiting.created_at)
        if verdict.outcome is not Outcome.ALLOWED:
            raise Denied(waiting.id, rule=verdict.rule, reason=verdict.reason)
        return _done(asked, self._lifecycle.approve(waiting.id, user=asked.user))

    def _cancel(self, asked: _Asked) -> Operated:
        if asked.user not in self._approvers and not self._ordered(asked):
            raise NotPermitted(asked.user, operation="cancel", key="operators.approve")
        return _done(asked, self._lifecycle.cancel(asked.subject, user=asked.user))

    def _ordered(self, asked: _Asked) -> bool:
        """Return whether who asks has ordered the command; who may not learns nothing of others'."""
        return (
            asked.subject in self._lifecycle.open_ids()
            and self._lifecycle.awaiting(asked.subject).user == asked.user
        )

    def _reset(self, asked: _Asked) -> Operated:
        if asked.user not in self._resetters:
            raise NotPermitted(asked.user, operation="reset_stop", key="stop.reset")
        self._stop.reset(
            user=asked.user,
            stop_id=asked.subject,
            asked_at=asked.at,
            decided=self._lifecycle.open_ids(),
        )
        return Operated(asked.operation, asked.user, asked.correlation, self._stop.status)

    def _devices(self, asked: _Asked) -> Operated:
        reports = self._twin.reports(node=asked.body.get("node", ""), after=asked.body.get("after", ""))
        page = device_page(reports, now=asked.at)
        text = f"{len(page['devices'])} devices" + (", and more" if page["after"] else "")
        return Operated(asked.operation, asked.user, asked.correlation, text, data=page)

    def _read(self, message: Message, *, user: str, operation: str) -> _Asked:
        if message.retained:
            raise EnvelopeInvalid(
                "retain",
                expected="a message sent now",
                came="a retained one",
                hint="publish without retain: a retained operation would be done again after every reconnect",
            )
        if not is_name(user):
            raise TopicInvalid(user[:80], expected="a user of 1 to 64 letters, digits, '.', '_' or '-'")
        if operation not in _KEYS:
            raise EnvelopeInvalid("operation", expected=f"one of {', '.join(_KEYS)}", came=operation[:80])
        body = self._body(message.payload, known=_KEYS[operation])
        subject = body.get("command_id", "") or body.get("stop_id", "")
        if len(subject) > _MAX_IDENTIFIER or (not subject and "command_id" in _KEYS[operation]):
            came = f"{len(subject)} characters" if subject else "none"
            raise EnvelopeInvalid(_KEYS[operation][0], expected="an identifier", came=came)
        correlation = read_correlation(message.correlation, own=body.get("correlation", ""))
        return _Asked(operation, user, message.received_at, subject, correlation, body)

    def _body(self, payload: bytes, *, known: tuple[str, ...]) -> dict[str, str]:
        limits = self._limits
        body: Any = read_json(payload or b"{}", max_bytes=limits.payload, max_depth=limits.depth)
        if not isinstance(body, dict):
            raise EnvelopeInvalid("payload", expected="a JSON object", came=type(body).__name__)
        for key, value in body.items():
            if key not in known:
                raise EnvelopeInvalid(key[:40], expected=f"only {', '.join(known)}", came="another key")
            if not isinstance(value, str):
                raise EnvelopeInvalid(key, expected="a text", came=type(value).__name__)
        return body


def _proposal(command: Command) -> tuple[CommandDraft, Request]:
    """Return the draft of a command and the request that led to it, as the gate saw them."""
    draft = CommandDraft(command.node, command.name, dict(command.arguments), command.origin)
    request = Request(
        id=command.id,
        kind=RequestKind.ALARM if command.trigger else RequestKind.ASK,
        message_id="",
        created_at=command.created_at,
        node=command.node,
        user=command.user,
        trigger=command.trigger,
        device=command.device if command.trigger else "",
    )
    return draft, request


def _done(asked: _Asked, command: Command) -> Operated:
    text = f"{command.name} {command.state.value}: {command.detail}"
    return Operated(asked.operation, asked.user, asked.correlation, text, command)
