"""Tools and catalogues as other projects write them, turned into a node and its devices in memory.

Knows JSON Schema as function-calling sets use it, and lists of entities; knows nothing of cases or of how
a sentence is understood.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge_node.config.loaded import Node
from edge_node.config.models import ArgumentConfig, CommandConfig, DeviceConfig, NodeConfig, PublishConfig
from edge_node.messages import DeviceState

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from edge_node.config.loaded import SpokenExample
    from edge_node.messages import Command, DeviceReport, Message, Observation

NODE = "eval"
_TYPES = {"integer": "integer", "int": "integer", "number": "number", "float": "number", "boolean": "boolean"}
_DEVICE = re.compile(r"\b(?:device|entity)\b", re.IGNORECASE)
_NO_DEVICE = re.compile(r"\b(?:area|floor|room|domain|class|state|used to|type)\b", re.IGNORECASE)
# Where a schema has no enum and no bounds, its description often lists them.
_CHOICES = re.compile(r"\(((?:\w+, ){2,}\w+)\)")
_SPAN = re.compile(r"\bfrom (-?\d+) to (-?\d+)\b")
_LABELS = ("area", "floor", "domain", "device_class")
_OPTIONAL_PART = re.compile(r"\[([^\]]*)\]")


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The devices of a home, as the twin would know them.

    Attributes:
        devices: Device to what people say of it.
        words: Label to its values, where no device needs to have them.
        states: Device to its fields.
    """

    devices: Mapping[str, DeviceConfig]
    words: Mapping[str, Mapping[str, list[str]]]
    states: Mapping[str, Mapping[str, Any]]

    def names(self, device: str) -> frozenset[str]:
        """Return all names of a device in small letters; other devices may have the same."""
        known = self.devices.get(device)
        return frozenset(name.casefold() for name in (device, *(known.aliases if known else ())))


class CatalogueTwin:
    """The devices of a catalogue, all of them online; implements `edge_node.protocols.Twin`."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._names = tuple(sorted(catalogue.devices))

    def observe(self, message: Message) -> tuple[Observation, ...]:
        """Return nothing: no message comes."""
        del message
        return ()

    def state(self, node: str, device: str) -> DeviceState | None:
        """Return the state of a device as the catalogue has it, or None."""
        if device not in self._catalogue.devices:
            return None
        return DeviceState(node, device, self._catalogue.states.get(device, {}), seen_at=0.0, online=True)

    def times(self, node: str, device: str) -> Mapping[str, float]:
        """Return nothing: no value was heard."""
        del node, device
        return {}

    def devices(self, node: str) -> tuple[str, ...]:
        """Return all devices, sorted."""
        del node
        return self._names

    def reports(self, *, node: str = "", after: str = "") -> Iterator[DeviceReport]:
        """Yield nothing: no device has reported."""
        del node, after
        yield from ()

    def follow(self, commands: Sequence[Command]) -> None:
        """Take up nothing: no command is sent."""
        del commands


def read_catalogue(data: Any) -> Catalogue:
    """Return the devices of a list of entities, or of a mapping with `entities`, `areas` and `floors`."""
    whole = data if isinstance(data, dict) else {"entities": data or []}
    areas = {area["name"]: area for area in whole.get("areas", ())}
    floors = {area: str(known["floor"]) for area, known in areas.items() if known.get("floor")}
    devices, states = {}, {}
    for entity in whole.get("entities", ()):
        key, config = _device(entity, floors)
        devices[key] = config
        state = entity.get("state")
        states[key] = {"state": state} if isinstance(state, str) else {}
    named_floors = [floor["name"] if isinstance(floor, dict) else floor for floor in whole.get("floors", ())]
    words: dict[str, dict[str, list[str]]] = {
        "area": {name: list(area.get("aliases", ())) for name, area in areas.items()},
        "floor": {name: [] for name in (*named_floors, *floors.values())},
    }
    return Catalogue(devices, words, states)


def tool_node(
    tools: Sequence[Mapping[str, Any]],
    *,
    catalogue: Catalogue,
    examples: tuple[SpokenExample, ...],
    folder: Path,
) -> Node:
    """Return a node whose commands are the tools, and whose devices are those of the catalogue."""
    commands = {str(tool["name"]): _command(tool) for tool in tools}
    # Names of tools need not be identifiers of a node file, so the model takes them unchecked.
    spec = NodeConfig.model_construct(
        edge_node=1,
        name=NODE,
        ask=True,
        commands=commands,
        devices=dict(catalogue.devices),
        words={label: dict(values) for label, values in catalogue.words.items()},
    )
    return Node(spec, folder, examples)


def is_list(tool: Mapping[str, Any], argument: str) -> bool:
    """Return whether the schema of a tool wants a list for an argument."""
    schema = _properties(tool).get(argument, {})
    return isinstance(schema, dict) and schema.get("type") == "array"


def _device(entity: Mapping[str, Any], floors: Mapping[str, str]) -> tuple[str, DeviceConfig]:
    name = str(entity.get("name") or entity["id"])
    key = str(entity.get("id") or name)
    labels = {
        label: str(value)
        for label in _LABELS
        if (value := entity.get(label) or entity.get("attributes", {}).get(label))
    }
    if "domain" not in labels and "." in key:
        labels["domain"] = key.partition(".")[0]
    if "area" in labels and "floor" not in labels and labels["area"] in floors:
        labels["floor"] = floors[labels["area"]]
    # Some catalogues write a part that may be left out in brackets.
    spelt = (_OPTIONAL_PART.sub(r"\1", name), _OPTIONAL_PART.sub("", name))
    aliases = [*dict.fromkeys(spelt), *map(str, entity.get("aliases", ()))]
    return key, DeviceConfig(aliases=aliases, labels=labels)


def _properties(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    parameters = tool.get("parameters") or {}
    found = parameters.get("properties") or {}
    return found if isinstance(found, dict) else {}


def _command(tool: Mapping[str, Any]) -> CommandConfig:
    required = set((tool.get("parameters") or {}).get("required") or ())
    args = {
        name: _argument(name, schema if isinstance(schema, dict) else {}, optional=name not in required)
        for name, schema in _properties(tool).items()
    }
    return CommandConfig.model_construct(
        description=str(tool.get("description", tool["name"])),
        examples=[],
        args=args,
        publish=PublishConfig(topic="eval", payload={}),
    )


def _argument(name: str, schema: Mapping[str, Any], *, optional: bool) -> ArgumentConfig:
    description = str(schema.get("description", ""))
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    wanted = _TYPES.get(str(kind), "string")
    enum = schema.get("enum")
    if wanted == "string" and not enum and name not in _LABELS and _names_device(description):
        return ArgumentConfig(device=True, description=description, optional=optional)
    texts = [str(value) for value in enum] if enum and wanted == "string" else None
    if texts is None and wanted == "string" and (listed := _CHOICES.search(description)):
        texts = [choice.strip() for choice in listed[1].split(",")]
    low, high = (schema.get(key) if wanted != "string" else None for key in ("minimum", "maximum"))
    if wanted != "string" and low is None and high is None and (span := _SPAN.search(description)):
        low, high = float(span[1]), float(span[2])
    return ArgumentConfig.model_construct(
        type=wanted, enum=texts, minimum=low, maximum=high, description=description, optional=optional
    )


def _names_device(description: str) -> bool:
    return _DEVICE.search(description) is not None and _NO_DEVICE.search(description) is None
