"""Triggers, compiled, and what each of them remembers about one device.

Knows conditions and episodes; knows no message, no twin and no request.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge_node.conditions import Condition
from edge_node.topics import TopicPattern
from edge_node.triggers.episodes import Holding, Silence
from edge_node.triggers.sentences import default_sentence, fill

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edge_node.config.loaded import Node
    from edge_node.config.models import TriggerConfig


@dataclass(frozen=True, slots=True)
class Trigger:
    """One trigger of one node.

    Attributes:
        node: The node it belongs to.
        name: Its name in the node file.
        spec: What the node file says of it.
        stale_s: Age after which a value of this node counts as unknown.
        device_names: Names in braces under which the node's topics name a device.
        when: The condition that fires it, or None.
        until: The condition that ends its episode, or None for the opposite of `when`.
    """

    node: str
    name: str
    spec: TriggerConfig
    stale_s: float
    device_names: tuple[str, ...]
    when: Condition | None
    until: Condition | None

    @classmethod
    def of(cls, node: Node) -> Iterator[Trigger]:
        """Yield the triggers of a node in the order of its file.

        Raises:
            ConditionInvalid: A condition does not compile.
        """
        patterns = (TopicPattern.parse(entry.topic) for entry in node.spec.listen)
        device_names = tuple({pattern.names[0] for pattern in patterns if pattern.names})
        for name, spec in node.spec.triggers.items():
            when = None if spec.when is None else Condition.compile(spec.when)
            until = None if spec.until is None else Condition.compile(spec.until)
            yield cls(node.name, name, spec, node.spec.stale, device_names, when, until)

    def watches(self, device: str) -> Iterator[Watch]:
        """Yield what is remembered about a device: how long `when` holds, how long it is silent, or both."""
        if self.when is not None:
            yield Watch(self, device, Holding(self.spec.for_ or 0.0, self.stale_s))
        if self.spec.absent is not None:
            yield Watch(self, device, Silence(self.spec.absent))

    def holds(self, values: Mapping[str, Any]) -> bool | None:
        """Return whether `when` holds, None for unknown."""
        return None if self.when is None else self.when.evaluate(values)

    def ends(self, values: Mapping[str, Any]) -> bool | None:
        """Return whether an episode ends, None for unknown."""
        if self.until is not None:
            return self.until.evaluate(values)
        holds = self.holds(values)
        return None if holds is None else not holds

    def evidence(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the conditions as the node file has them, and the values they saw."""
        said = self.spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        asked = (self.when.names if self.when else frozenset()) | (self.until.names if self.until else set())
        seen = {name: values[name] for name in sorted(asked) if name in values}
        kept: dict[str, Any] = {key: said[key] for key in ("when", "for", "until", "absent") if key in said}
        return kept | {"values": seen}

    def sentence(self, device: str, values: Mapping[str, Any], *, max_characters: int) -> str:
        """Return the sentence that tells an alarm: `say` filled in, else one made of names and values."""
        fields = {name: value for name, value in values.items() if name != "device"}
        if self.spec.say is not None:
            named = dict.fromkeys(("device", *self.device_names), device)
            return fill(self.spec.say, fields | named, max_characters=max_characters)
        return default_sentence(self.name, device, fields, max_characters=max_characters)


@dataclass(slots=True)
class Watch:
    """One trigger watching one device.

    Attributes:
        trigger: The trigger.
        device: The device.
        episode: Where it stands.
        message_id: The last message it rests on.
        scheduled: Whether somebody keeps its deadline already.
    """

    trigger: Trigger
    device: str
    episode: Holding | Silence
    message_id: str = ""
    scheduled: bool = False

    def observe(self, values: Mapping[str, Any], *, at: float) -> bool:
        """Return whether it fires by a message of its device."""
        match self.episode:
            case Silence() as silence:
                silence.hear(at)
                return False
            case Holding(open=True) as holding:
                if self.trigger.ends(values):
                    holding.end()
                return False
            case holding:
                return holding.see(at, holds=self.trigger.holds(values))

    def ripen(self, values: Mapping[str, Any], *, at: float) -> bool:
        """Return whether it fires by the time that has passed up to `at`."""
        match self.episode:
            case Silence() as silence:
                return silence.ripen(at)
            case holding:
                return holding.ripen(at, holds=self.trigger.holds(values))
