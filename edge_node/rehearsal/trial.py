"""The scenarios of a node, performed one after the other.

Knows scenario files and rehearsals; prints nothing.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from edge_node.messages import Command, CommandState
from edge_node.rehearsal.expectations import Difference, differences
from edge_node.rehearsal.outcomes import outcomes_of
from edge_node.rehearsal.rehearsal import Rehearsal
from edge_node.rehearsal.telemetry import telemetry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edge_node.config.loaded import Configuration, Node
    from edge_node.config.scenario_check import Scenarios
    from edge_node.config.scenario_file import Devices, ScenarioConfig, StepConfig
    from edge_node.errors import EdgeNodeError
    from edge_node.rehearsal.props import Props

STEP_S = 0.01
"""Time that every step takes, so that what follows comes later."""
_EVERY_S = 1.0
_SOMEONE = "someone"


class Finding(StrEnum):
    """How a scenario ended."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Trial:
    """A scenario that was performed.

    Attributes:
        node: Node it is about.
        name: Its name.
        finding: How it ended.
        elapsed_ms: Real milliseconds it took.
        differences: Between what was expected and what came.
        reason: Why it was skipped; empty where it was not.
    """

    node: str
    name: str
    finding: Finding
    elapsed_ms: float
    differences: tuple[Difference, ...] = ()
    reason: str = ""


class Trials:
    """The scenarios of one node.

    Args:
        configuration: The runtime's settings; of its nodes only the one that is tried takes part.
        node: The node.
        scenarios: Its scenarios.
        props: Models and manuals of that node.
        require_models: Let a scenario fail that needs a model which is not there; it is skipped otherwise.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        node: Node,
        scenarios: Scenarios,
        props: Props,
        require_models: bool = False,
    ) -> None:
        operators = scenarios.spec.operators
        runtime = configuration.runtime.model_copy(update={"operators": operators})
        self._configuration = replace(configuration, runtime=runtime, nodes=(node,))
        self._node = node
        self._spec = scenarios.spec
        self._props = props
        self._require_models = require_models

    def run(self) -> Iterator[Trial]:
        """Yield the scenarios in the order of the file, each once it was performed."""
        for name, scenario in self._spec.scenarios.items():
            yield self._perform(name, scenario)

    def _perform(self, name: str, scenario: ScenarioConfig) -> Trial:
        began_s = time.perf_counter()
        self._props.renew()
        rehearsal = Rehearsal(self._configuration, props=self._props)
        try:
            _report(rehearsal, self._node, _merged(self._spec.given, scenario.given))
            rehearsal.pass_time(STEP_S)
            before, starts_at_s = len(rehearsal.happenings), rehearsal.elapsed_s
            for step in scenario.when:
                self._take(step, rehearsal, starts_at_s)
        finally:
            rehearsal.close()
        came = outcomes_of(rehearsal.happenings[before:], starts_at_s=starts_at_s)
        elapsed_ms = (time.perf_counter() - began_s) * 1000
        missing = self._props.missing
        if missing is not None and not self._require_models:
            return Trial(self._node.name, name, Finding.SKIPPED, elapsed_ms, reason=_told(missing))
        found = differences(scenario, came)
        if missing is not None:
            found = (Difference("the models", (_told(missing),)), *found)
        finding = Finding.FAILED if found else Finding.PASSED
        return Trial(self._node.name, name, finding, elapsed_ms, found)

    def _take(self, step: StepConfig, rehearsal: Rehearsal, starts_at_s: float) -> None:
        """Let a step happen, as often as it says, and a moment pass after it."""
        if step.at is not None:
            rehearsal.pass_time(max(0.0, starts_at_s + step.at - rehearsal.elapsed_s))
        for turn in range(step.times):
            if turn:
                rehearsal.pass_time((step.every or _EVERY_S) - STEP_S)
            _do(step, rehearsal, self._node)
            rehearsal.pass_time(STEP_S)


def _do(step: StepConfig, rehearsal: Rehearsal, node: Node) -> None:
    user = step.user or _SOMEONE
    if step.report is not None:
        _report(rehearsal, node, step.report)
    elif step.topic is not None:
        topic = step.topic.replace("{edge}", rehearsal.topics.edge)
        rehearsal.feed(topic, _payload(step.payload), retained=step.retained)
    elif step.ask is not None:
        rehearsal.ask(user, step.ask)
    elif step.wait is not None:
        rehearsal.pass_time(step.wait)
    elif step.approve is not None:
        _operate(rehearsal, "approve", command=step.approve, user=user)
    elif step.cancel is not None:
        _operate(rehearsal, "cancel", command=step.cancel, user=user)
    elif step.stop is not None:
        rehearsal.stop(user=user, reason=step.stop)
    elif step.restart:
        rehearsal.restart()


def _operate(rehearsal: Rehearsal, operation: str, *, command: str, user: str) -> None:
    """Let a person decide about the last command of a name that awaited approval, also once it is over."""
    waiting = [
        each.what.task
        if operation == "approve" and _waits_with_others(each.what, rehearsal)
        else each.what.id
        for each in rehearsal.happenings
        if isinstance(each.what, Command)
        and each.what.name == command
        and each.what.state is CommandState.AWAITING_APPROVAL
    ]
    body = {"command_id": waiting[-1] if waiting else "none-waits"}
    rehearsal.feed(rehearsal.topics.operation(user, operation), json.dumps(body).encode())


def _waits_with_others(command: Command, rehearsal: Rehearsal) -> bool:
    """Return whether others of its task waited for the same approval."""
    together = {
        each.what.id
        for each in rehearsal.happenings
        if isinstance(each.what, Command)
        and each.what.task
        and each.what.task == command.task
        and each.what.state is CommandState.AWAITING_APPROVAL
    }
    return len(together) > 1


def _report(rehearsal: Rehearsal, node: Node, devices: Devices) -> None:
    for device, fields in devices.items():
        for topic, payload in telemetry(node, device, fields):
            rehearsal.feed(topic, payload)


def _merged(common: Devices, own: Devices) -> Devices:
    """Return the fields of all devices; a scenario's own values count over those of every scenario."""
    return {device: {**common.get(device, {}), **own.get(device, {})} for device in {**common, **own}}


def _payload(payload: Any) -> bytes:
    if payload is None:
        return b""
    return payload.encode() if isinstance(payload, str) else json.dumps(payload, ensure_ascii=False).encode()


def _told(error: EdgeNodeError) -> str:
    return f"{error} ({error.hint})" if error.hint else str(error)


def summary(trial: Trial) -> Mapping[str, Any]:
    """Return a trial as plain data, for other programs."""
    return {
        "name": trial.name,
        "finding": trial.finding.value,
        "elapsed_ms": round(trial.elapsed_ms, 1),
        "reason": trial.reason,
        "differences": [
            {"expected": difference.expected, "came": list(difference.came)}
            for difference in trial.differences
        ],
    }
