"""What people ask of the edge itself: approve or cancel, reset a stop, reload, list devices, tell why.

Knows the topics of operations, who may ask for which, and the stages that carry them out; knows no bus,
no file and no thread. An approval goes through the gate again: what was true when a command was proposed
may be true no more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge_node.config.scalars import seconds
from edge_node.device_page import device_page
from edge_node.errors import (
    Denied,
    EnvelopeInvalid,
    NotPermitted,
    RequestUnknown,
    SignatureRefused,
    TopicInvalid,
    TransitionInvalid,
)
from edge_node.messages import CommandDraft, Operated, Outcome, Refusal, Request, RequestKind
from edge_node.payloads import MAX_CORRELATION, read_correlation, read_json
from edge_node.signing import Statement
from edge_node.topics import is_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edge_node.config.models import RuntimeConfig
    from edge_node.messages import Command, Message, RuleResult
    from edge_node.protocols import Decisions, Gate, Lifecycle, OperationalStop, Twin
    from edge_node.signing import Signatures
    from edge_node.topics import EdgeTopics

_KEYS: Mapping[str, tuple[str, ...]] = {
    "approve": ("command_id", "correlation", "counter", "signature"),
    "cancel": ("command_id", "request", "correlation"),
    "reset_stop": ("stop_id", "correlation"),
    "reload": ("correlation",),
    "reindex": ("correlation",),
    "devices": ("node", "after", "correlation"),
    "explain": ("id", "correlation"),
    "history": ("since", "node", "device", "limit", "correlation"),
}
_SUBJECTS = ("command_id", "stop_id", "id", "request")
_NEEDED = ("command_id", "id")
_DEFAULT_LIMIT = "20"
_LIMIT_DIGITS = 3
MAX_LISTED = 200
"""Decisions that are listed at once."""
_MAX_IDENTIFIER = 64
_MAX_DIGITS = 20


@dataclass(frozen=True, slots=True)
class _Asked:
    """An operation that was read.

    Attributes:
        operation: Its name.
        user: Who asks, from the topic.
        at: When it came, seconds since the epoch.
        subject: Identifier of the command, decision or stop that it is about; may be empty for a stop.
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
        decisions: What was decided, as it is kept.
        signatures: The keys of people, for approvals that must be signed.
        ask_reload: Told the user and the correlation of who asks to have the files read again, and the
            operation, `reload` or `reindex`; the answer follows when that is done.
        take_back: Told the user and the correlation of requests that are to be dropped before they are
            decided; returns whether there was any.
    """

    def __init__(  # noqa: PLR0913 - one for each thing that people ask about
        self,
        runtime: RuntimeConfig,
        *,
        topics: EdgeTopics,
        lifecycle: Lifecycle,
        gate: Gate,
        stop: OperationalStop,
        twin: Twin,
        decisions: Decisions,
        signatures: Signatures | None = None,
        ask_reload: Callable[[str, str, str], None] | None = None,
        take_back: Callable[[str, str], bool] | None = None,
    ) -> None:
        operators = runtime.operators
        self._readers = frozenset(operators.explain)
        self._decisions = decisions
        self._approvers = frozenset(operators.approve).union(*operators.roles.values())
        self._resetters = frozenset(runtime.stop.reset)
        self._limits = runtime.limits
        self._topics = topics
        self._lifecycle = lifecycle
        self._gate = gate
        self._stop = stop
        self._reloaders = frozenset(runtime.operators.reload)
        self._ask_reload = ask_reload
        self._take_back = take_back
        self._signatures = signatures
        self._twin = twin
        self._desks: Mapping[str, Callable[[_Asked], Operated]] = {
            "approve": self._approve,
            "cancel": self._cancel,
            "reset_stop": self._reset,
            "devices": self._devices,
            "explain": self._explain,
            "history": self._history,
            "reload": self._reload,
            "reindex": self._reload,
        }

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
        return self._desks[asked.operation](asked)

    def _approve(self, asked: _Asked) -> Operated:
        try:
            return self._let_go(asked)
        except (Denied, NotPermitted, SignatureRefused) as refused:
            refusal = Refusal(asked.user, asked.at, refused.field, str(refused))
            self._lifecycle.refuse(asked.subject, refusal=refusal)
            raise

    def _let_go(self, asked: _Asked) -> Operated:
        if asked.user not in self._approvers:
            raise NotPermitted(asked.user, operation="approve", key="operators.approve")
        waiting = self._lifecycle.awaiting(asked.subject)
        needing = [each for each in waiting if not each.behind]
        if any(asked.user not in self._gate.approvers(each.node, each.name) for each in needing):
            raise NotPermitted(asked.user, operation="approve", key="operators")
        self._check_whole(asked, waiting)
        signed = bool(asked.body.get("signature", ""))
        if signed or any(self._gate.signed(each.node, each.name) for each in waiting):
            self._check_signature(asked)
        rules = self._judged_again(asked, waiting)
        sent = self._lifecycle.approve(asked.subject, user=asked.user, rules=rules, signed=signed)
        return _done(asked, sent)

    def _check_whole(self, asked: _Asked, waiting: Sequence[Command]) -> None:
        """Return if an approval is meant for all that it would let go.

        Raises:
            TransitionInvalid: It names one command of a task, and others wait with it.
        """
        task = waiting[0].task
        if not task or asked.subject == task:
            return
        count = len(self._lifecycle.awaiting(task))
        if count > 1:
            expected = f"the identifier of its task, {task}, which lets {count} commands go"
            raise TransitionInvalid(asked.subject, expected=expected, came="that of one of them")

    def _judged_again(self, asked: _Asked, waiting: Sequence[Command]) -> dict[str, tuple[RuleResult, ...]]:
        """Return what the gate says now of commands that a person approves.

        Raises:
            Denied: One of them is denied; then none is sent.
        """
        rules: dict[str, tuple[RuleResult, ...]] = {}
        beside: list[CommandDraft] = []
        for command in waiting:
            draft, request = _proposal(command)
            verdict = self._gate.judge_approved(
                draft, request, proposed_at=command.created_at, by=asked.user, beside=tuple(beside)
            )
            if verdict.outcome is not Outcome.ALLOWED:
                raise Denied(command.id, rule=verdict.rule, reason=verdict.reason)
            rules[command.id] = verdict.rules
            beside.append(draft)
        return rules

    def _check_signature(self, asked: _Asked) -> None:
        """Return if an approval is signed by who gives it; its number counts once, whatever comes of it.

        Raises:
            SignatureRefused: It is not signed, not by this user, not for this command, or it came before.
        """
        if self._signatures is None or not asked.body.get("signature", ""):
            raise SignatureRefused(asked.user, expected="a signature")
        digits = asked.body.get("counter", "")
        digits = digits if digits.isascii() and digits.isdecimal() else "0"
        counter = int(digits[:_MAX_DIGITS])
        said = Statement(self._topics.edge, asked.operation, asked.subject, asked.user, counter)
        self._signatures.accept(said, asked.body.get("signature", ""))

    def _cancel(self, asked: _Asked) -> Operated:
        if asked.body.get("request", ""):
            return self._drop(asked)
        if asked.user not in self._approvers:
            may = self._ordered(asked)
        else:
            waiting = self._lifecycle.awaiting(asked.subject)
            may = all(
                asked.user == each.user or asked.user in self._gate.approvers(each.node, each.name)
                for each in waiting
            )
        if not may:
            raise NotPermitted(asked.user, operation="cancel", key="operators.approve")
        return _done(asked, self._lifecycle.cancel(asked.subject, user=asked.user))

    def _drop(self, asked: _Asked) -> Operated:
        """Take back a request that is not decided yet; its own reply tells its end."""
        if self._take_back is None or not self._take_back(asked.user, asked.subject):
            raise RequestUnknown(asked.subject)
        text = f"{asked.subject} is taken back: nothing will be done about it"
        return Operated(asked.operation, asked.user, asked.correlation, text)

    def _ordered(self, asked: _Asked) -> bool:
        """Return whether who asks has ordered the command; who may not learns nothing of others'."""
        try:
            waiting = self._lifecycle.awaiting(asked.subject)
        except TransitionInvalid:
            if asked.subject in self._lifecycle.open_ids():
                raise
            return False
        return all(each.user == asked.user for each in waiting)

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

    def _reload(self, asked: _Asked) -> Operated:
        if asked.user not in self._reloaders or self._ask_reload is None:
            raise NotPermitted(asked.user, operation=asked.operation, key="operators.reload")
        self._ask_reload(asked.user, asked.correlation, asked.operation)
        return Operated(asked.operation, asked.user, asked.correlation, "reading the files", final=False)

    def _devices(self, asked: _Asked) -> Operated:
        reports = self._twin.reports(node=asked.body.get("node", ""), after=asked.body.get("after", ""))
        page = device_page(reports, now=asked.at)
        text = f"{len(page['devices'])} devices" + (", and more" if page["after"] else "")
        return Operated(asked.operation, asked.user, asked.correlation, text, data=page)

    def _explain(self, asked: _Asked) -> Operated:
        self._check_reader(asked)
        found = self._decisions.explain(asked.subject)
        text = f"{len(found)} found under {asked.subject}"
        return Operated(asked.operation, asked.user, asked.correlation, text, data={"found": found})

    def _history(self, asked: _Asked) -> Operated:
        self._check_reader(asked)
        body = asked.body
        try:
            since = asked.at - seconds(body["since"]) if body.get("since") else 0.0
        except ValueError as problem:
            raise EnvelopeInvalid("since", expected=str(problem), came=body["since"][:40]) from problem
        limit = body.get("limit", _DEFAULT_LIMIT)
        if not limit.isdecimal() or len(limit) > _LIMIT_DIGITS or not 0 < int(limit) <= MAX_LISTED:
            expected = f"a number of 1 to {MAX_LISTED}, as a text"
            raise EnvelopeInvalid("limit", expected=expected, came=limit[:40])
        listed = self._decisions.history(
            since=since, node=body.get("node", ""), device=body.get("device", ""), limit=int(limit)
        )
        text = f"{len(listed)} decisions"
        return Operated(asked.operation, asked.user, asked.correlation, text, data={"history": listed})

    def _check_reader(self, asked: _Asked) -> None:
        """Refuse who is not named: what was decided holds the words of others."""
        if asked.user not in self._readers:
            raise NotPermitted(asked.user, operation=asked.operation, key="operators.explain")

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
        key = "request" if body.get("request", "") else _KEYS[operation][0]
        if key == "request" and body.get("command_id", ""):
            raise EnvelopeInvalid("request", expected="it or command_id", came="both")
        subject = body.get(key, "") if key in _SUBJECTS else ""
        longest = MAX_CORRELATION if key in ("id", "request") else _MAX_IDENTIFIER
        if len(subject) > longest or (not subject and key in _NEEDED):
            came = f"{len(subject)} characters" if subject else "none"
            raise EnvelopeInvalid(key, expected="an identifier", came=came)
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


def _done(asked: _Asked, commands: tuple[Command, ...]) -> Operated:
    told = (f"{each.name} {each.state.value}: {each.detail}" for each in commands)
    return Operated(asked.operation, asked.user, asked.correlation, "; ".join(told), commands)
