"""The verdict on a command draft: the rules of the node file, asked in order.

Knows the node files, the twin and the time of the last command; publishes nothing and changes nothing, so
that the same draft in the same state gets the same verdict. Everything that no rule lets through is denied.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from edge_node.gate.arguments import complaint
from edge_node.gate.case import Case, Policy, policies
from edge_node.messages import Origin, Outcome, RequestKind, RuleResult, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from edge_node.config.loaded import Node
    from edge_node.config.models import OperatorsConfig
    from edge_node.messages import CommandDraft, Request
    from edge_node.protocols import Twin

_APPROVE = "approve"
_DEVICES_SHOWN = 8
_APPROVERS_SHOWN = 8
_HOUR_S = 3600.0


class PolicyGate:
    """The rules of all nodes' commands.

    In the order of `_rules`, which is the one place where it stands. The first rule that does not pass
    decides; `approve` is asked last and never denies.

    Conditions see the device's fields, over them the arguments by their names, and over those `device`
    (with `id` and `online`) and `origin`. A command that names no device is judged by the node's own
    device, the one of topics without a name in braces.

    Args:
        nodes: The nodes whose commands may be given.
        twin: What is known of devices.
        last_issued: Gives when a command of a node (node, name, device) was issued last, or None.
        issued: Gives when commands of a node (node, name, device) were issued within the last hour.
        operators: Who may do what.
        stopped: Gives why an operational stop lets no command come of a request, or nothing where it may.
        clock: Wall clock, seconds since the epoch.

    Raises:
        ConditionInvalid: A condition of a command does not compile.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        *,
        twin: Twin,
        last_issued: Callable[[str, str, str], float | None],
        issued: Callable[[str, str, str], Sequence[float]] = lambda *_: (),
        operators: OperatorsConfig | None = None,
        stopped: Callable[[Request], str] = lambda _: "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._nodes = {node.name: node.spec for node in nodes}
        self._policies = {node.name: policies(node) for node in nodes}
        self._twin = twin
        self._last_issued = last_issued
        self._issued = issued
        self._roles = {name: frozenset(users) for name, users in operators.roles.items()} if operators else {}
        self._approvers = frozenset(operators.approve) if operators else frozenset()
        self._stopped = stopped
        self._clock = clock

    def judge(self, draft: CommandDraft, request: Request, *, beside: Sequence[CommandDraft] = ()) -> Verdict:
        """Return the verdict on a command draft; never raises for a bad draft, denies it.

        Args:
            draft: The draft.
            request: What led to it.
            beside: Drafts of the same task that leave just before it; they count as sent.
        """
        asked: list[RuleResult] = []
        for result in self._rules(draft, request, beside=beside):
            asked.append(result)
            if not result.passed:
                if result.rule == _APPROVE:
                    users = sorted(self.approvers(draft.node, draft.name))
                    return Verdict(Outcome.NEEDS_APPROVAL, tuple(asked), tuple(users))
                return Verdict(Outcome.DENIED, tuple(asked))
        allowed = asked[-1].rule == _APPROVE
        return Verdict(Outcome.ALLOWED if allowed else Outcome.DENIED, tuple(asked))

    def judge_approved(
        self,
        draft: CommandDraft,
        request: Request,
        *,
        proposed_at: float,
        by: str,
        beside: Sequence[CommandDraft] = (),
    ) -> Verdict:
        """Return the verdict on a draft that a person approves: every rule as things are now.

        `approve` holds where that person may, or where nobody has to.

        Args:
            draft: The draft as it was proposed.
            request: What led to it.
            proposed_at: When it was proposed, seconds since the epoch; it does not count as its own
                predecessor.
            by: Who approves.
            beside: Drafts of the same task that leave just before it; they count as sent.
        """
        asked: list[RuleResult] = []
        for result in self._rules(draft, request, proposed_at=proposed_at, beside=beside):
            if result.rule == _APPROVE:
                passed = result.passed or by in self.approvers(draft.node, draft.name)
                outcome = Outcome.ALLOWED if passed else Outcome.DENIED
                return Verdict(outcome, (*asked, replace(result, passed=passed)))
            asked.append(result)
            if not result.passed:
                break
        return Verdict(Outcome.DENIED, tuple(asked))

    def approvers(self, node: str, name: str) -> frozenset[str]:
        """Return the users who may approve a command; nobody where there is no such command."""
        policy = self._policies.get(node, {}).get(name)
        if policy is None:
            return frozenset()
        by = policy.spec.approval.by
        return self._members(by) if by else self._approvers

    def signed(self, node: str, name: str) -> bool:
        """Return whether an approval of a command counts only with a signature."""
        policy = self._policies.get(node, {}).get(name)
        return policy is not None and policy.spec.approval.signed

    def _members(self, roles: Iterable[str]) -> frozenset[str]:
        return frozenset().union(*(self._roles.get(role, ()) for role in roles))

    def _rules(
        self,
        draft: CommandDraft,
        request: Request,
        *,
        proposed_at: float | None = None,
        beside: Sequence[CommandDraft] = (),
    ) -> Iterator[RuleResult]:
        """Yield the rules' results in their order; those after one that did not pass are not asked."""
        policy = self._policies.get(draft.node, {}).get(draft.name)
        if policy is None:
            yield RuleResult("command", passed=False, reason=self._unknown(draft))
            return
        yield RuleResult("command", passed=True, reason=f"{draft.node} has {draft.name}")
        wrong = complaint(policy.spec, draft.arguments)
        yield RuleResult("arguments", passed=not wrong, reason=wrong or "complete and within their ranges")
        yield self._device(draft, policy)
        yield self._caller(draft, request)
        case = Case.of(draft, policy, self._twin)
        before = sum(_is_again(each, case) for each in beside)
        yield from case.requirements()
        if policy.spec.limit.every is not None:
            yield self._pace(case, policy.spec.limit.every, proposed_at=proposed_at, before=before)
        if policy.spec.limit.per_hour is not None:
            yield self._budget(case, policy.spec.limit.per_hour, before=before)
        if policy.spec.limit.step is not None:
            yield case.step(policy.spec.limit.step)
        stopped = self._stopped(request)
        yield RuleResult("stop", passed=not stopped, reason=stopped or "no stop is in the way")
        approval = case.approval()
        yield approval if approval.passed else self._naming_approvers(approval, draft)

    def _naming_approvers(self, approval: RuleResult, draft: CommandDraft) -> RuleResult:
        users = sorted(self.approvers(draft.node, draft.name))
        listed = " or ".join(users[:_APPROVERS_SHOWN]) or "nobody, for the runtime file names none"
        more = f" or {len(users) - _APPROVERS_SHOWN} more" if len(users) > _APPROVERS_SHOWN else ""
        return replace(approval, reason=f"{approval.reason}; who may: {listed}{more}")

    def _unknown(self, draft: CommandDraft) -> str:
        if draft.node not in self._policies:
            return f"node {draft.node!r}: expected one of {', '.join(sorted(self._policies)) or 'none'}"
        known = ", ".join(self._policies[draft.node]) or "none"
        return f"command {draft.name!r}: expected one of {known}"

    def _caller(self, draft: CommandDraft, request: Request) -> RuleResult:
        """Return whether this request may lead to this command at all."""
        node = self._nodes[draft.node]
        if request.node not in ("", draft.node):
            reason = f"{request.node} was asked, and {draft.name} belongs to {draft.node}"
            return RuleResult("caller", passed=False, reason=reason)
        if request.kind is RequestKind.ASK:
            reason = f"{draft.node} {'takes' if node.ask else 'takes no'} orders"
            allow = node.commands[draft.name].allow
            if not node.ask or allow is None:
                return RuleResult("caller", passed=node.ask, reason=reason)
            passed = request.user in self._members(allow)
            roles = " or ".join(allow) or "no role at all"
            reason = f"{draft.name}: expected an order of {roles}, came one of {request.user}"
            return RuleResult("caller", passed=passed, reason="" if passed else reason)
        alarm = request.node and request.kind is RequestKind.ALARM
        trigger = node.triggers.get(request.trigger) if alarm else None
        named = {*(trigger.do or ()), *(trigger.choose or ())} if trigger else set[str]()
        may = "may" if draft.name in named else "may not"
        reason = f"trigger {request.trigger} {may} lead to {draft.name}"
        return RuleResult("caller", passed=draft.name in named, reason=reason)

    def _device(self, draft: CommandDraft, policy: Policy) -> RuleResult:
        """Return whether every device that is named is known and was heard lately."""
        for name in policy.device_arguments:
            reason = self._absence(draft.node, draft.arguments[name])
            if reason:
                return RuleResult("device", passed=False, reason=reason)
        named = ", ".join(str(draft.arguments[name]) for name in policy.device_arguments)
        return RuleResult("device", passed=True, reason=f"{named} online" if named else "names no device")

    def _absence(self, node: str, device: str) -> str:
        state = self._twin.state(node, device)
        if state is None:
            known = self._twin.devices(node)
            more = f" and {len(known) - _DEVICES_SHOWN} more" if len(known) > _DEVICES_SHOWN else ""
            listed = "one of " + ", ".join(known[:_DEVICES_SHOWN]) + more
            return (
                f"{device}: expected {listed if known else 'a device that was heard, of which there is none'}"
            )
        if not state.online:
            ago_s = max(0.0, self._clock() - state.seen_at)
            stale_s = self._nodes[node].stale
            return f"{device}: expected to be heard within {stale_s:g} s, last heard {ago_s:.0f} s ago"
        return ""

    def _budget(self, case: Case, per_hour: int, *, before: int) -> RuleResult:
        """Return whether the device has had fewer within the hour; an alarm's own count, and do not wait."""
        if case.draft.origin is Origin.RULE:
            return RuleResult("limit.per_hour", passed=True, reason="an alarm's own command does not wait")
        now = self._clock()
        times = self._issued(case.draft.node, case.draft.name, case.device)
        count = before + sum(abs(now - at) < _HOUR_S for at in times)
        reason = f"{case.draft.name}: expected at most {per_hour} within an hour, came {count} before it"
        passed = count < per_hour
        return RuleResult("limit.per_hour", passed=passed, reason="" if passed else reason)

    def _pace(self, case: Case, every_s: float, *, proposed_at: float | None, before: int) -> RuleResult:
        if case.draft.origin is Origin.RULE:
            # An alarm fires once in an episode: what the node's author wrote for it must not fall to a
            # person's order of a moment ago.
            return RuleResult("limit.every", passed=True, reason="an alarm's own command does not wait")
        last = self._last_issued(case.draft.node, case.draft.name, case.device)
        # After a clock was set back, the last command seems to lie ahead: that must not block for as long.
        since_s = None if last is None or last == proposed_at else abs(self._clock() - last)
        since_s = 0.0 if before else since_s
        if since_s is None or since_s >= every_s:
            return RuleResult("limit.every", passed=True, reason=f"no other within {every_s:g} s")
        to = f" to {case.device}" if case.device else ""
        reason = f"{case.draft.name}{to}: expected {every_s:g} s after the last one, came {since_s:.1f} s"
        return RuleResult("limit.every", passed=False, reason=reason)


def _is_again(draft: CommandDraft, case: Case) -> bool:
    """Return whether a draft is of the same command for the same device as a case."""
    if (draft.node, draft.name) != (case.draft.node, case.draft.name):
        return False
    device = next((str(draft.arguments.get(name)) for name in case.policy.device_arguments), "")
    return device == case.device
