"""The node file as a model: what to listen to, what makes a request, which commands there are.

Knows the keys, their types, ranges and defaults; what keys mean to each other stands in
`edge_node.config.crosscheck`.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from edge_node.config.scalars import Identifier, Name, Seconds, Section, TimeOfDay


class ListenConfig(Section):
    """A topic that devices publish on."""

    topic: str = Field(
        description="Topic; a name in braces stands for one level, the first one names the device."
    )
    fields: dict[Identifier, str] = Field(
        description="Field name to its path in the JSON payload, joined by dots; '$' takes the whole "
        "payload, '#' at the end how many items a list has; '*' takes what all its items say, as a text."
    )
    qos: Literal[0, 1] = Field(
        default=0, description="1 journals each message and loses none; 0 only updates the twin."
    )
    stale: Seconds | None = Field(
        default=None, description="After this a value from here is unknown; the node's `stale` if left out."
    )
    longest: int = Field(
        default=256, ge=1, le=4096, description="Characters of a text value; a longer one is unknown."
    )
    time: str | None = Field(
        default=None,
        description="Path to the device's own time: ISO 8601, or seconds or milliseconds since 1970.",
    )


class BusLogConfig(Section):
    """Lines on the bus that are kept and can be searched."""

    log: str = Field(description="Topic filter of the lines; '+' and '#' as in MQTT.")
    keep: Seconds = Field(default=30 * 86_400.0, description="How long they are kept, in whole days.")


class TriggerConfig(Section):
    """What makes a message into a request."""

    when: str | None = Field(default=None, description="CEL condition over the device's fields.")
    until: str | None = Field(
        default=None,
        description="CEL condition that ends the episode; the opposite of `when` where left out.",
    )
    for_: Seconds | None = Field(default=None, alias="for", description="How long `when` must hold first.")
    absent: Seconds | None = Field(default=None, description="Fires when a device was silent for this long.")
    every: Seconds | None = Field(default=None, description="Fires again and again, after this long each.")
    at: list[TimeOfDay] | TimeOfDay | None = Field(
        default=None, description="Fires each day at these times, by the clock of this machine."
    )
    all: list[Identifier] | None = Field(
        default=None, min_length=1, description="Triggers that must all have fired for one device."
    )
    any: list[Identifier] | None = Field(
        default=None, min_length=1, description="Triggers of which one must have fired."
    )
    within: Seconds | None = Field(
        default=None, description="How far apart those of `all` may fire; left out, all must go on at once."
    )
    debounce: Seconds | None = Field(
        default=None, description="How long `when` and the end of an episode must hold to count."
    )
    cooldown: Seconds | None = Field(default=None, description="Least time between two firings for a device.")
    do: dict[Identifier, dict[Identifier, Any]] | None = Field(
        default=None,
        description="One command with its arguments; '{name}' takes a field or the device.",
    )
    choose: list[Identifier] | None = Field(
        default=None, description="Commands among which the model may choose one, or none."
    )
    say: str | None = Field(
        default=None, description="Sentence that tells the alarm; '{name}' takes a field or the device."
    )
    alert: str | None = Field(
        default=None,
        description="Sentence of an alert, told once as an episode begins and once as it ends; '{name}' "
        "takes a field or the device.",
    )
    explain: bool = Field(default=False, description="Publish what the manual says about it with the event.")


class RelativeConfig(Section):
    """How an argument follows what a device reports, for orders such as 'a bit slower'."""

    field: Identifier | None = Field(
        default=None, description="Field it follows; the one that `expect` compares with it where left out."
    )
    step: float | None = Field(
        default=None, gt=0, description="How much 'a bit' is; a tenth of its range where left out."
    )
    up: list[str] = Field(default_factory=list, description="Further words that ask for more of it.")
    down: list[str] = Field(default_factory=list, description="Further words that ask for less of it.")


class ArgumentConfig(Section):
    """One argument of a command: a JSON Schema, or a device."""

    device: bool = Field(default=False, description="A device the twin knows.")
    type: Literal["integer", "number", "string", "boolean"] | None = Field(
        default=None, description="JSON type."
    )
    minimum: float | None = Field(default=None, description="Least value.")
    maximum: float | None = Field(default=None, description="Greatest value.")
    enum: list[str] | None = Field(default=None, min_length=1, description="Values allowed.")
    unit: str | None = Field(default=None, description="Unit, as people say it.")
    default: bool | int | float | str | None = Field(
        default=None, description="Value where nothing was said."
    )
    optional: bool = Field(default=False, description="Left out of the command where nothing was said.")
    description: str = Field(default="", description="What it means, for the model and for people.")
    relative: RelativeConfig | None = Field(
        default=None, description="How it may be ordered from what the device reports, as in 'a bit slower'."
    )


class PublishConfig(Section):
    """What a device gets."""

    topic: str = Field(description="Topic of the device; '{argument}' is filled in.")
    payload: Any = Field(
        description="Payload; '{argument}' alone keeps its type. A field of the device may stand there, and "
        "'{command_id}', '{command_time}' and '{command_count}'."
    )
    idempotent: bool = Field(default=False, description="Whether it may be sent again after a crash.")


class LimitConfig(Section):
    """How often and how far."""

    every: Seconds | None = Field(
        default=None, description="Least time between two commands of this name to one device."
    )
    step: float | None = Field(
        default=None, gt=0, description="Largest change of the expected field at once."
    )
    per_hour: int | None = Field(
        default=None, ge=1, description="Most commands of this name to one device within an hour."
    )


class ExpectConfig(Section):
    """What shows that a command was carried out."""

    field: Identifier = Field(description="Field of the device.")
    equals: Any = Field(description="Value, or the name of an argument.")
    within: Seconds = Field(default=5.0, description="How long it may take.")


class ApprovalConfig(Section):
    """Whether a person must approve a command, and who may."""

    when: str = Field(default="always", description="never, always, or a CEL condition.")
    by: list[Identifier] = Field(
        default_factory=list,
        description="Roles whose members may approve it, and nobody else; operators.approve where empty.",
    )
    signed: bool = Field(
        default=False, description="Whether it counts only with a signature of a key in operators.keys."
    )


class CommandConfig(Section):
    """A command a node may give."""

    description: str = Field(description="What it does, one sentence; the model reads it.")
    examples: list[str] = Field(
        default_factory=list, description="Sentence templates in hassil's notation, arguments in braces."
    )
    args: dict[Identifier, ArgumentConfig] = Field(default_factory=dict, description="Arguments by name.")
    publish: PublishConfig = Field(description="What the device gets.")
    require: list[str] = Field(
        default_factory=list, description="CEL conditions that must hold; unknown counts as no."
    )
    limit: LimitConfig = Field(default_factory=LimitConfig)
    allow: list[Identifier] | None = Field(
        default=None,
        description="Roles whose members may order it; all who may ask where left out, nobody where empty.",
    )
    approve: str | ApprovalConfig = Field(
        default="never", description="never, always, or a CEL condition; or when, by whom."
    )
    expect: ExpectConfig | None = Field(default=None, description="What shows that it was carried out.")
    expires: Seconds = Field(default=30.0, description="After this it is not sent any more.")

    def followed(self, argument: str) -> str:
        """Return the field that an argument follows, or ''."""
        relative = self.args[argument].relative
        if relative is not None and relative.field:
            return relative.field
        expect = self.expect
        return expect.field if expect is not None and expect.equals == argument else ""

    @property
    def approval(self) -> ApprovalConfig:
        """What `approve` says, however it is spelled."""
        return ApprovalConfig(when=self.approve) if isinstance(self.approve, str) else self.approve


class NodeModelConfig(Section):
    """How the language model is run for this node."""

    adapter: str = Field(
        default="",
        description="LoRA adapter (.onnx_adapter) for this node's commands; a path relative to this file.",
    )
    local: bool = Field(
        default=False, description="Never ask the larger model of the runtime file for this node."
    )


class DeviceConfig(Section):
    """What people say of a device."""

    aliases: list[str] = Field(default_factory=list, description="Other names by which people call it.")
    labels: dict[Identifier, str] = Field(
        default_factory=dict,
        description="What it is and where, such as area, floor or kind; an argument of that name takes it.",
    )
    area: str = Field(
        default="",
        description="Where it is, from the wide to the narrow: `kitchen`, or `downstairs/kitchen`.",
    )

    @property
    def places(self) -> tuple[str, ...]:
        """Where it is, by the names of `area` and of the labels `area` and `floor`, the narrowest first."""
        parts = [part.strip() for part in reversed(self.area.split("/")) if part.strip()]
        told = [self.labels[label] for label in ("area", "floor") if label in self.labels]
        return tuple(dict.fromkeys((*parts, *told)))

    @property
    def known_labels(self) -> dict[str, str]:
        """The labels, with what `area` says of the room and the floor."""
        parts = [part.strip() for part in self.area.split("/") if part.strip()]
        told = {"area": parts[-1]} if parts else {}
        if len(parts) > 1:
            told["floor"] = parts[-2]
        return {**told, **self.labels}


class NodeConfig(Section):
    """The node file: what to do."""

    edge_node: Literal[1] = Field(description="Version of this file's layout.")
    name: Name = Field(description="Name of the node.")
    description: str = Field(default="", description="What it is for, one sentence; the model reads it.")
    knowledge: list[str | BusLogConfig] = Field(
        default_factory=list,
        description="Files of the manual, as glob patterns relative to this file, and `log`s of the bus.",
    )
    listen: list[ListenConfig] = Field(default_factory=list, description="Topics of devices.")
    stale: Seconds = Field(
        default=60.0, description="After this a value counts as unknown and its device as offline."
    )
    triggers: dict[Identifier, TriggerConfig] = Field(default_factory=dict, description="Triggers by name.")
    ask: bool = Field(default=False, description="Whether operators may ask and order.")
    commands: dict[Identifier, CommandConfig] = Field(default_factory=dict, description="Commands by name.")
    model: NodeModelConfig = Field(default_factory=NodeModelConfig)
    devices: dict[str, DeviceConfig] = Field(
        default_factory=dict, description="What people say of devices, by the name they have in topics."
    )
    words: dict[Identifier, dict[str, list[str]]] = Field(
        default_factory=dict,
        description="For an argument or a label: its values, and other words by which people say them.",
    )
    examples: str | None = Field(
        default=None,
        description="File of JSON Lines beside this one: `utterance`, and `expected` with name and "
        'arguments, or "none".',
    )

    @property
    def manuals(self) -> tuple[str, ...]:
        """The patterns of `knowledge`."""
        return tuple(entry for entry in self.knowledge if isinstance(entry, str))

    @property
    def logs(self) -> tuple[BusLogConfig, ...]:
        """The logs of `knowledge`."""
        return tuple(entry for entry in self.knowledge if isinstance(entry, BusLogConfig))
