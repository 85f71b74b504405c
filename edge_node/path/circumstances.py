"""What a decision rests on, gathered for its record; knows the twin and changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edge_node.messages import CommandDraft, Decision, Draft

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edge_node.messages import Message, Request
    from edge_node.path.carried import Asked, Begun
    from edge_node.path.judging import Judged
    from edge_node.path.trace import Trace
    from edge_node.protocols import Twin


class _Record(NamedTuple):
    """What all decisions on one request have in common."""

    asked: Asked
    message: Message | None
    stages_ms: Mapping[str, float]


class Circumstances:
    """What was known when something was decided.

    Args:
        twin: What is known of devices.
        made_by: What decides, by name; kept with every decision.
    """

    def __init__(self, twin: Twin, *, made_by: Mapping[str, str]) -> None:
        self._twin = twin
        self._made_by = dict(made_by)

    def decided(
        self, asked: Asked, orders: Sequence[Judged], *, begun: Begun, trace: Trace
    ) -> Iterator[Decision]:
        """Yield the decision on a request, or one for each command that it leads to."""
        record = _Record(asked, begun.message, dict(trace.stages_ms))
        for each in orders:
            yield self._decision(each.request, each.draft, record, judged=each)
        if not orders and isinstance(asked.proposal, Draft):
            yield self._decision(asked.request, asked.proposal, record, judged=None)

    def _decision(
        self, request: Request, draft: Draft, record: _Record, *, judged: Judged | None
    ) -> Decision:
        """Return a decision with what was known of the devices that its request or its draft names."""
        named = [request.device] if request.device else []
        if isinstance(draft, CommandDraft):
            named += [value for value in draft.arguments.values() if isinstance(value, str)]
        known = [state for device in named if (state := self._twin.state(draft.node, device))]
        return Decision(
            request,
            draft,
            judged.verdict if judged else None,
            judged.command if judged else None,
            record.asked.passages,
            states={state.device: state.fields for state in known},
            stages_ms=record.stages_ms,
            model=record.asked.record,
            message=record.message,
            times={state.device: self._twin.times(state.node, state.device) for state in known},
            matter=record.asked.matter,
            made_by=self._made_by,
        )
