"""The verdicts on what a request leads to: each command on its own, and several as one thing.

Knows the gate and the life of commands; changes nothing before all verdicts stand. Of several commands none
leaves if one is denied, and those behind one that a person has to approve wait with it, so that their order
is kept.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from edge_node.identifiers import new_id
from edge_node.messages import Outcome, RuleResult, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_node.messages import Command, CommandDraft, Request
    from edge_node.protocols import Gate, Lifecycle

TASK = "task"
"""The rule that decides where a command falls or waits because of another one of its task."""


class Judged(NamedTuple):
    """A command, why it came about and what may become of it."""

    request: Request
    draft: CommandDraft
    verdict: Verdict
    command: Command


def judged(
    drafts: Sequence[CommandDraft], request: Request, *, gate: Gate, lifecycle: Lifecycle
) -> list[Judged]:
    """Return the verdict on each draft in order, and the command that comes of it.

    To be called with the lock under which all verdicts are given: what one allows counts for the next.
    """
    verdicts: list[Verdict] = []
    beside: list[CommandDraft] = []
    for draft in drafts:
        verdict = gate.judge(draft, request, beside=tuple(beside))
        verdicts.append(verdict)
        if verdict.outcome is not Outcome.DENIED:
            beside.append(draft)
    if len(drafts) > 1:
        verdicts = as_one(drafts, verdicts)
    requests = [request] if len(drafts) == 1 else _parts(request, len(drafts))
    return [
        Judged(part, draft, verdict, lifecycle.issue(draft, verdict, part))
        for part, draft, verdict in zip(requests, drafts, verdicts, strict=True)
    ]


def as_one(drafts: Sequence[CommandDraft], verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Return the verdicts on commands that stand and fall together."""
    denied = next((at for at, each in enumerate(verdicts) if each.outcome is Outcome.DENIED), None)
    if denied is not None:
        why = f"{_call(drafts[denied])} was denied by {verdicts[denied].rule}: {verdicts[denied].reason}"
        return [each if each.outcome is Outcome.DENIED else _denied(each, why) for each in verdicts]
    waiting = [at for at, each in enumerate(verdicts) if each.outcome is Outcome.NEEDS_APPROVAL]
    if not waiting:
        return list(verdicts)
    named = [set(verdicts[at].approvers) for at in waiting]
    common = set.intersection(*named)
    if not common and all(named):
        why = "nobody may approve all of it: order one thing at a time"
        return [_denied(each, why) for each in verdicts]
    first, approvers = waiting[0], tuple(sorted(common))
    why = f"it stands behind {_call(drafts[first])}, which a person has to approve"
    return [
        each
        if at < first
        else replace(each, approvers=approvers)
        if at in waiting
        else Verdict(Outcome.NEEDS_APPROVAL, (*each.rules, RuleResult(TASK, False, why)), approvers)  # noqa: FBT003 - the one field there is
        for at, each in enumerate(verdicts)
    ]


def _denied(verdict: Verdict, why: str) -> Verdict:
    return Verdict(Outcome.DENIED, (*verdict.rules, RuleResult(TASK, passed=False, reason=why)))


def _parts(request: Request, count: int) -> list[Request]:
    """Return the request once for each command; the first keeps its identifier, which is the task's."""
    return [
        replace(request, id=new_id() if number else request.id, task=request.id) for number in range(count)
    ]


def _call(draft: CommandDraft) -> str:
    return f"{draft.name}({', '.join(f'{name} = {value}' for name, value in draft.arguments.items())})"
