"""A scenario file read, and what its keys mean to the node beside it.

Each device's field, command, argument and trigger that a scenario names must be one of the node's, so that
a scenario which passes says something. Knows nothing of how scenarios are performed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_node.config.findings import Findings
from edge_node.config.load import read_model
from edge_node.config.scenario_file import (
    OUTCOME_DETAILS,
    OUTCOME_KINDS,
    STEP_DETAILS,
    STEP_KINDS,
    ScenariosConfig,
)
from edge_node.errors import ConfigurationInvalid, TopicInvalid
from edge_node.topics import VERSION, TopicPattern, check_topic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edge_node.config.loaded import Node
    from edge_node.config.scalars import Section
    from edge_node.config.scenario_file import Devices, OutcomeConfig, ScenarioConfig, StepConfig
    from edge_node.config.source import KeyPath

SCENARIO_FILE = "scenarios.yaml"


@dataclass(frozen=True, slots=True)
class Scenarios:
    """The scenarios of one node.

    Attributes:
        spec: The content of scenarios.yaml.
        file: The file.
    """

    spec: ScenariosConfig
    file: Path


def load_scenarios(node: Node) -> Scenarios | None:
    """Return the scenarios beside a node file, or None where there are none.

    Raises:
        ConfigurationInvalid: It holds every problem of the file.
    """
    file = node.folder / SCENARIO_FILE
    if not file.exists():
        return None
    spec, document = read_model(file, ScenariosConfig)
    findings = Findings(document)
    check = _Check(node, findings)
    check.devices(spec.given, ("given",))
    for name, scenario in spec.scenarios.items():
        check.scenario(scenario, ("scenarios", name))
    if findings.problems:
        raise ConfigurationInvalid(sorted(findings.problems, key=lambda problem: problem.line))
    return Scenarios(spec, file)


class _Check:
    """What scenarios name, looked up in their node."""

    def __init__(self, node: Node, findings: Findings) -> None:
        self._spec = node.spec
        self._findings = findings
        self._patterns = [TopicPattern.parse(entry.topic) for entry in node.spec.listen]
        self._fields = {field for entry in node.spec.listen for field in entry.fields}

    def scenario(self, scenario: ScenarioConfig, path: KeyPath) -> None:
        self.devices(scenario.given, (*path, "given"))
        for index, step in enumerate(scenario.when):
            self._step(step, (*path, "when", index))
        for index, outcome in enumerate(scenario.then or ()):
            self._outcome(outcome, (*path, "then", index))

    def devices(self, devices: Devices, path: KeyPath) -> None:
        """Look at devices and their fields: a report must have a topic to come on."""
        named = any(pattern.names for pattern in self._patterns)
        single = any(not pattern.names for pattern in self._patterns)
        for device, fields in devices.items():
            place: KeyPath = (*path, device)
            if single and not named and device != self._spec.name:
                self._findings.unknown(place, device, what="the node's own device", known=[self._spec.name])
            for field in fields:
                if field not in self._fields:
                    self._findings.unknown((*place, field), field, what="a field", known=self._fields)

    def _step(self, step: StepConfig, path: KeyPath) -> None:
        self._together(step, path, kinds=STEP_KINDS, details=STEP_DETAILS)
        self.devices(step.report or {}, (*path, "report"))
        if step.topic is not None:
            self._topic(step.topic, (*path, "topic"))
        if step.ask is not None and not self._spec.ask:
            expected = "a node with `ask: true`"
            self._findings.add((*path, "ask"), expected=expected, came="one without")
        for key in ("approve", "cancel"):
            self._command(getattr(step, key), (*path, key))

    def _outcome(self, outcome: OutcomeConfig, path: KeyPath) -> None:
        self._together(outcome, path, kinds=OUTCOME_KINDS, details=OUTCOME_DETAILS)
        for key in ("command", "denied"):
            self._command(getattr(outcome, key), (*path, key))
        command = self._spec.commands.get(outcome.command or outcome.denied or "")
        for argument in outcome.with_ or {} if command else {}:
            if command is not None and argument not in command.args:
                place: KeyPath = (*path, "with", argument)
                self._findings.unknown(place, argument, what="an argument", known=command.args)
        if outcome.event is not None and outcome.event not in self._spec.triggers:
            self._findings.unknown(
                (*path, "event"), outcome.event, what="a trigger", known=self._spec.triggers
            )

    def _command(self, name: str | None, path: KeyPath) -> None:
        if name is not None and name not in self._spec.commands:
            self._findings.unknown(path, name, what="a command", known=self._spec.commands)

    def _topic(self, topic: str, path: KeyPath) -> None:
        """Look at the topic of a message: the edge must listen to it, or nothing would be tried."""
        try:
            check_topic(topic)
        except TopicInvalid as error:
            expected = str(error).partition("expected ")[2].partition(", came ")[0]
            self._findings.add(path, expected=f"a topic with {expected}", came=repr(topic))
            return
        if topic.startswith(f"{VERSION}/"):
            return  # how the edge is named there is known only once it runs
        if not any(pattern.match(topic) is not None for pattern in self._patterns):
            listened = ", ".join(pattern.source for pattern in self._patterns) or "none"
            self._findings.add(
                path, expected=f"a topic that the node listens to: {listened}", came=repr(topic)
            )

    def _together(
        self,
        section: Section,
        path: KeyPath,
        *,
        kinds: Sequence[str],
        details: Mapping[str, Sequence[str]],
    ) -> None:
        """Look at which keys stand together: one kind, and only what goes with it."""
        said = section.model_dump(by_alias=True, exclude_unset=True).items()
        written = {key for key, value in said if value is not None}
        found = [kind for kind in kinds if kind in written]
        if len(found) != 1:
            came = " and ".join(found) or "none of them"
            self._findings.add(path, expected=f"exactly one of {', '.join(kinds)}", came=came)
            return
        for detail, beside in details.items():
            if detail in written and found[0] not in beside:
                self._findings.add(
                    (*path, detail),
                    expected=f"{detail!r} beside {' or '.join(beside)} only",
                    came=f"it beside {found[0]}",
                )
