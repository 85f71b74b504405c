"""One command draft in the state of its device: requirements, step and approval.

Knows conditions and values; knows no request, no clock and no other rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge_node.conditions import Condition
from edge_node.messages import RuleResult

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edge_node.config.loaded import Node
    from edge_node.config.models import CommandConfig
    from edge_node.messages import CommandDraft
    from edge_node.protocols import Twin

_ROUNDING = 1e-9
"""Share of a step that the subtraction of two doubles may add to it."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What the node file says of one command, compiled.

    Attributes:
        spec: The command.
        device_arguments: Names of the arguments that name devices.
        requirements: The conditions of `require`.
        approval: The condition of `approve`, or None for never and always.
    """

    spec: CommandConfig
    device_arguments: tuple[str, ...]
    requirements: tuple[Condition, ...]
    approval: Condition | None


def policies(node: Node) -> dict[str, Policy]:
    """Return the commands of a node by name, compiled.

    Raises:
        ConditionInvalid: A condition does not compile.
    """
    return {name: _policy(spec) for name, spec in node.spec.commands.items()}


def _policy(spec: CommandConfig) -> Policy:
    plain = spec.approval.when in ("never", "always")
    return Policy(
        spec=spec,
        device_arguments=tuple(name for name, argument in spec.args.items() if argument.device),
        requirements=tuple(Condition.compile(source) for source in spec.require),
        approval=None if plain else Condition.compile(spec.approval.when),
    )


@dataclass(frozen=True, slots=True)
class Case:
    """A draft with everything that conditions may see of it.

    Attributes:
        draft: The draft, with arguments found good.
        policy: What the node file says of the command.
        device: The device it goes to; empty where it names none.
        fields: What the device reported.
        values: What conditions see: fields, arguments, `device` and `origin`.
    """

    draft: CommandDraft
    policy: Policy
    device: str
    fields: Mapping[str, Any]
    values: Mapping[str, Any]

    @classmethod
    def of(cls, draft: CommandDraft, policy: Policy, twin: Twin) -> Case:
        """Return the case of a draft in the present state of its device."""
        device = next((str(draft.arguments[name]) for name in policy.device_arguments), "")
        state = twin.state(draft.node, device or draft.node)
        fields = state.fields if state else {}
        values = {**fields, **draft.arguments, "origin": draft.origin.value}
        if state:
            values["device"] = {"id": state.device, "online": state.online}
        return cls(draft, policy, device, fields, values)

    def requirements(self) -> Iterator[RuleResult]:
        """Yield the result of each condition of `require`; unknown counts as no."""
        for index, condition in enumerate(self.policy.requirements):
            holds = condition.evaluate(self.values)
            reason = f"{condition.source}: holds" if holds else self._why_not(condition, holds=holds)
            yield RuleResult(f"require[{index}]", passed=holds is True, reason=reason)

    def step(self, limit: float) -> RuleResult:
        """Return whether the expected field changes by no more than `limit` from its last report."""
        expect = self.policy.spec.expect
        if expect is None:
            return RuleResult("limit.step", passed=False, reason="expected `expect`, which names the field")
        new, reported = (
            self.draft.arguments.get(str(expect.equals), expect.equals),
            self.fields.get(expect.field),
        )
        if not _is_number(new) or not _is_number(reported):
            shown = "unknown" if reported is None else str(reported)
            reason = f"{expect.field}: expected a number to step from, came {shown}, for a step to {new}"
            return RuleResult("limit.step", passed=False, reason=reason)
        passed = abs(new - reported) <= limit * (1 + _ROUNDING)
        reason = f"{expect.field}: expected a change of at most {limit:g}, came {reported} to {new}"
        return RuleResult("limit.step", passed=passed, reason="" if passed else reason)

    def approval(self) -> RuleResult:
        """Return whether it may go without a person; unknown counts as no."""
        source = self.policy.spec.approval.when
        if self.policy.approval is None:
            passed = source == "never"
            reason = "needs no approval" if passed else "a person has to approve every such command"
            return RuleResult("approve", passed=passed, reason=reason)
        needed = self.policy.approval.evaluate(self.values)
        if needed is False:
            return RuleResult("approve", passed=True, reason=f"needs no approval: {source} is false")
        why = "holds" if needed else f"is unknown ({self._unknown(self.policy.approval)})"
        return RuleResult("approve", passed=False, reason=f"a person has to approve: {source} {why}")

    def _why_not(self, condition: Condition, *, holds: bool | None) -> str:
        if holds is None:
            return f"{condition.source}: unknown, and unknown denies ({self._unknown(condition)})"
        seen = ", ".join(f"{name} = {self._shown(name)}" for name in sorted(condition.names))
        return (
            f"{condition.source}: does not hold with {seen}" if seen else f"{condition.source}: never holds"
        )

    def _unknown(self, condition: Condition) -> str:
        missing = sorted(name for name in condition.names if name not in self.values)
        if missing:
            return f"no value for {', '.join(missing)}"
        seen = ", ".join(f"{name} = {self._shown(name)}" for name in sorted(condition.names))
        return f"it cannot be told with {seen}"

    def _shown(self, name: str) -> str:
        value = self.values.get(name, "unknown")
        if isinstance(value, dict):
            return f"{value['id']} ({'online' if value['online'] else 'offline'})"
        return repr(value)[:60]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
