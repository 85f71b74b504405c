"""The scenario file as a model: what is known, what happens, and what must come of it.

Knows the keys, their types and which of them stand together; what they mean to a node stands in
`edge_node.config.scenario_check`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from edge_node.config.runtime_file import OperatorsConfig
from edge_node.config.scalars import Identifier, Name, Seconds, Section

Fields = dict[Identifier, Any]
Devices = dict[str, Fields]
State = Literal[
    "awaiting_approval",
    "sent",
    "acknowledged",
    "verified",
    "unverified",
    "expired",
    "cancelled",
    "unknown",
]

_NOTHING = "nothing"

STEP_KINDS = ("report", "topic", "ask", "wait", "approve", "cancel", "stop", "restart")
"""Keys of a step of which exactly one stands in each."""
STEP_DETAILS = {
    "payload": ("topic",),
    "retained": ("topic",),
    "user": ("ask", "approve", "cancel", "stop"),
    "times": ("report", "topic", "ask"),
    "every": ("report", "topic", "ask"),
}
"""Other keys of a step, with the kinds beside which each may stand."""
OUTCOME_KINDS = ("command", "denied", "answer", "declines", "reply", "event", "refused", "message")
"""Keys of an expected outcome of which exactly one stands in each."""
OUTCOME_DETAILS = {
    "with": ("command", "denied"),
    "state": ("command",),
    "topic": ("command",),
    "payload": ("command", "message"),
    "by": ("denied",),
    "says": ("denied", "event", "refused"),
    "device": ("event",),
    "from": ("answer",),
    "code": ("reply",),
}
"""Other keys of an expected outcome, with the kinds beside which each may stand."""


class StepConfig(Section):
    """One thing that happens; exactly one of report, topic, ask, wait, approve, cancel, stop, restart."""

    at: Seconds | None = Field(default=None, description="Time since the start; time passes until then.")
    report: Devices | None = Field(
        default=None, description="Device to fields, as its topics and payloads would bring them."
    )
    topic: str | None = Field(default=None, description="Topic of a message, as it comes from the broker.")
    payload: Any = Field(default=None, description="Its payload: a text as it stands, all else as JSON.")
    retained: bool = Field(default=False, description="Whether the broker had kept it from before.")
    ask: str | None = Field(default=None, description="What a person asks or orders.")
    user: Name | None = Field(default=None, description="Who does it; `someone` where left out.")
    wait: Seconds | None = Field(default=None, description="Time that passes.")
    approve: Identifier | None = Field(default=None, description="Command that a person approves.")
    cancel: Identifier | None = Field(default=None, description="Command that a person cancels.")
    stop: str | None = Field(default=None, description="Reason for which a person stops the edge.")
    restart: Literal[True] | None = Field(default=None, description="The process ends and starts again.")
    times: int = Field(default=1, ge=1, le=10_000, description="How often it happens.")
    every: Seconds | None = Field(default=None, description="Time between one and the next; 1s if left out.")


class OutcomeConfig(Section):
    """One thing that must come: a command, a denial, an answer, a reply, an event, a refusal, a message."""

    command: Identifier | None = Field(default=None, description="Command that reaches a device.")
    with_: Fields | None = Field(
        default=None, alias="with", description="Arguments it has; others may be left out."
    )
    state: State | None = Field(
        default=None, description="How far the command comes; `sent` to the device where left out."
    )
    topic: str | None = Field(default=None, description="Topic on which the device gets it.")
    payload: Any = Field(
        default=None, description="What is in the payload; of a mapping, keys may be left out."
    )
    denied: Identifier | None = Field(default=None, description="Command that the gate denies.")
    by: str | None = Field(default=None, description="Rule that denies it, such as arguments or require[0].")
    answer: str | None = Field(default=None, description="Words of the answer, as the manual has them.")
    from_: str | None = Field(default=None, alias="from", description="File of the manual it comes from.")
    declines: Literal[True] | None = Field(default=None, description="The manuals do not tell.")
    reply: str | None = Field(
        default=None, description="Words of a reply that is neither a command nor an answer."
    )
    code: str | None = Field(default=None, description="Kind of the reply, such as ask_back or none_fits.")
    event: Identifier | None = Field(default=None, description="Trigger that fires.")
    device: str | None = Field(default=None, description="Device it fires for.")
    says: str | None = Field(default=None, description="Words of the reason or of the alarm.")
    refused: str | None = Field(
        default=None, description="Code of the error for a message that is not accepted."
    )
    message: str | None = Field(default=None, description="Topic of anything that the edge publishes.")
    after: Seconds | None = Field(default=None, description="It comes later than this.")
    before: Seconds | None = Field(default=None, description="It comes earlier than this.")


def _silence(value: Any) -> Any:
    """Return None for the word that stands for silence; a list says what must come."""
    if value is None:
        raise ValueError(_NOTHING)
    return None if value == _NOTHING else value


class ScenarioConfig(Section):
    """What is known of devices, what happens, and what must come of it."""

    given: Devices = Field(default_factory=dict, description="Device to fields, reported before it starts.")
    when: list[StepConfig] = Field(default_factory=list, description="What happens, in order.")
    then: Annotated[
        list[OutcomeConfig] | None,
        BeforeValidator(_silence, json_schema_input_type=Literal["nothing"] | list[OutcomeConfig]),
    ] = Field(
        description="What must come, in any order, or `nothing`; a device gets no command that is not here."
    )


class ScenariosConfig(Section):
    """The scenario file: what a node does, shown by examples."""

    edge_node: Literal[1] = Field(description="Version of this file's layout.")
    operators: OperatorsConfig = Field(
        default_factory=OperatorsConfig, description="Who may do what, as in the runtime file."
    )
    given: Devices = Field(default_factory=dict, description="What holds in every scenario.")
    scenarios: dict[str, ScenarioConfig] = Field(
        min_length=1, description="Scenarios by name; a sentence that says what happens is a good name."
    )
