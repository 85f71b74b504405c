"""Triggers, compiled, and what each of them remembers about one device.

Knows conditions and episodes; knows no message, no twin and no request.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge_node.conditions import Condition
from edge_node.conditions.windows import OF_MOMENT
from edge_node.topics import TopicPattern
from edge_node.triggers.episodes import Holding, Joint, Silence, Terms
from edge_node.triggers.sentences import default_sentence, fill

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edge_node.conditions import Told, Window
    from edge_node.config.loaded import Node
    from edge_node.config.models import TriggerConfig

Episode = Holding | Silence | Joint
_TIMED = ("when", "until", "for_", "absent", "every", "at", "all", "any", "within", "debounce", "cooldown")
_FIRED_BY = tuple(key.rstrip("_") for key in _TIMED)
"""Keys that say when a trigger fires; an episode does not outlive a change of one of them."""


@dataclass(frozen=True, slots=True, eq=False)
class Trigger:
    """One trigger of one node.

    Attributes:
        node: The node it belongs to.
        name: Its name in the node file.
        place: Its place among the triggers of the node.
        spec: What the node file says of it.
        stale_s: Age after which a value of this node counts as unknown.
        device_names: Names in braces under which the node's topics name a device.
        when: The condition that fires it, or None.
        until: The condition that ends its episode, or None for the opposite of `when`.
        terms: The times that its episodes keep.
        digest: What tells it from a trigger of the same name that fires otherwise.
    """

    node: str
    name: str
    place: int
    spec: TriggerConfig
    stale_s: float
    device_names: tuple[str, ...]
    when: Condition | None
    until: Condition | None
    terms: Terms
    digest: str

    @classmethod
    def of(cls, node: Node) -> Iterator[Trigger]:
        """Yield the triggers of a node in the order of its file.

        Raises:
            ConditionInvalid: A condition does not compile.
        """
        patterns = (TopicPattern.parse(entry.topic) for entry in node.spec.listen)
        device_names = tuple({pattern.names[0] for pattern in patterns if pattern.names})
        stale_s = node.spec.stale
        for place, (name, spec) in enumerate(node.spec.triggers.items()):
            when = None if spec.when is None else Condition.compile(spec.when)
            until = None if spec.until is None else Condition.compile(spec.until)
            terms, digest = _terms(spec, when, stale_s), _digest(node, spec, when=when, until=until)
            yield cls(node.name, name, place, spec, stale_s, device_names, when, until, terms, digest)

    @property
    def scheduled(self) -> bool:
        """Whether times of the clock fire it."""
        return self.spec.every is not None or self.spec.at is not None

    @property
    def joint(self) -> bool:
        """Whether other triggers fire it."""
        return self.spec.all is not None or self.spec.any is not None

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Its conditions, one, two or none."""
        return tuple(condition for condition in (self.when, self.until) if condition)

    @property
    def windows(self) -> frozenset[Window]:
        """The windows of time that its conditions look through, and what those look at in each message."""
        outer = frozenset(window for condition in self.conditions for window in condition.windows)
        return outer.union(*(window.moments for window in outer))

    @property
    def names(self) -> frozenset[str]:
        """The names of the values that its conditions want."""
        return frozenset(name for condition in self.conditions for name in condition.names)

    def episode(self) -> Episode:
        """Return what is remembered of a device before anything was seen."""
        spec = self.spec
        if self.joint:
            names = tuple(spec.all or spec.any or ())
            return Joint(spec.all is not None, names, spec.within, self.terms.cooldown_s)
        return Silence(spec.absent) if spec.absent is not None else Holding(self.terms)

    def holds(self, told: Told) -> bool | None:
        """Return whether `when` holds, None for unknown."""
        return None if self.when is None else self.when.ask(told)

    def ends(self, told: Told) -> bool | None:
        """Return whether an episode ends, None for unknown."""
        if self.until is not None:
            return self.until.ask(told)
        holds = self.holds(told)
        return None if holds is None else not holds

    def evidence(self, values: Mapping[str, Any], *, windows: Mapping[str, Any]) -> dict[str, Any]:
        """Return what fires it as the node file has it, and the values that its conditions saw.

        Args:
            values: What is known of the device, by name.
            windows: What windows come to, by their names; one that is not there was unknown.
        """
        said = self.spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        asked = self.names.union(*(window.fields for window in self.windows))
        seen = {name: values[name] for name in sorted(asked) if name in values}
        looked = {
            window.written: windows.get(window.name)
            for condition in self.conditions
            for window in condition.windows
        }
        shown = {"values": seen, "windows": looked} if looked else {"values": seen}
        return {key: said[key] for key in _FIRED_BY if key in said} | shown

    def sentence(self, device: str, fields: Mapping[str, Any], *, max_characters: int) -> str:
        """Return the sentence that tells an alarm: `say` filled in, else one made of names and values."""
        if self.spec.say is not None:
            named = dict.fromkeys(("device", *self.device_names), device) if device else {}
            return fill(self.spec.say, {**fields, **named}, max_characters=max_characters)
        return default_sentence(self.name, device, fields, max_characters=max_characters)

    def alert(self, device: str, fields: Mapping[str, Any], *, max_characters: int) -> str:
        """Return the sentence that tells an alert; one whose key is gone meanwhile ends as the trigger's."""
        if self.spec.alert is None:
            return self.sentence(device, fields, max_characters=max_characters)
        named = dict.fromkeys(("device", *self.device_names), device)
        return fill(self.spec.alert, {**fields, **named}, max_characters=max_characters)


@dataclass(slots=True, eq=False)
class Watch:
    """One trigger watching one device.

    Attributes:
        trigger: The trigger.
        device: The device.
        episode: Where it stands.
        message_id: The last message it rests on.
        scheduled: When somebody looks at it without a message; infinite where nobody does.
        alert_since: When the episode began that an alert was told of and that goes on; None where none was.
    """

    trigger: Trigger
    device: str
    episode: Episode
    message_id: str = ""
    scheduled: float = float("inf")
    alert_since: float | None = None

    def asked(self, told: Told) -> bool | None:
        """Return the truth that its episode waits for: of `when`, or while open of what ends it."""
        return self.trigger.ends(told) if self.episode.open else self.trigger.holds(told)


def _terms(spec: TriggerConfig, when: Condition | None, stale_s: float) -> Terms:
    passing = when is not None and any(window.function in OF_MOMENT for window in when.windows)
    return Terms(
        for_s=spec.for_ or spec.debounce or 0.0,
        end_s=spec.debounce or 0.0,
        cooldown_s=spec.cooldown or 0.0,
        stale_s=stale_s,
        pulse=passing and spec.until is None,
    )


def _digest(node: Node, spec: TriggerConfig, *, when: Condition | None, until: Condition | None) -> str:
    """Return what tells a trigger from one that looks at other things, or looks otherwise."""
    asked = (condition for condition in (when, until) if condition)
    read = {name for each in asked for name in each.names}
    listened = sorted(
        (entry.topic, sorted((name, path) for name, path in entry.fields.items() if name in read))
        for entry in node.spec.listen
    )
    told = [getattr(spec, key) for key in _TIMED]
    return hashlib.sha256(repr((told, node.spec.stale, listened)).encode()).hexdigest()[:16]
