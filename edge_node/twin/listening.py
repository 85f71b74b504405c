"""Which `listen` entries a topic reaches, and what they read from a payload.

Knows topics, paths into JSON and the times devices write; knows nothing of what is known already.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from edge_node.topics import TopicPattern

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from edge_node.config.loaded import Node

MAX_STRING = 256
"""Characters of a text value, where an entry says nothing else; a longer one is not taken up."""
_WHOLE = "$"
_HOW_MANY = "#"
_EACH = "*"
_KINDS = {bool: "true or false", int: "a number", float: "a number", str: "a text"}
_GREATEST_INTEGER = 2**63 - 1
_LEAST_MILLISECONDS = 1e11
"""From here on a number is milliseconds since the epoch: as seconds it would lie beyond the year 5000."""
_MISSING = object()


@dataclass(frozen=True, slots=True)
class Source:
    """Where a value comes from.

    Attributes:
        topic: Topic of the message.
        entry: Place of the `listen` entry in the node file, from 0.
        stale_s: Age from which its values are unknown.
    """

    topic: str
    entry: int
    stale_s: float


@dataclass(frozen=True, slots=True)
class Listener:
    """One `listen` entry of a node.

    Attributes:
        node: The node.
        entry: Its place in the node file, from 0.
        stale_s: Age from which its values are unknown.
        pattern: Its topic.
        paths: Field name to path.
        keys: Field name to the only step of its path, for those that have one.
        deeper: Field name to path, for the others.
        time_path: Path of the device's own time, or None.
        longest: Characters of a text value.
    """

    node: str
    entry: int
    stale_s: float
    pattern: TopicPattern
    paths: tuple[tuple[str, tuple[str, ...]], ...]
    keys: tuple[tuple[str, str], ...]
    deeper: tuple[tuple[str, tuple[str, ...]], ...]
    time_path: tuple[str, ...] | None
    longest: int = MAX_STRING

    @classmethod
    def of(cls, node: Node) -> Iterator[Listener]:
        """Yield the entries of a node, in the order of its file."""
        for place, entry in enumerate(node.spec.listen):
            paths = tuple((name, _steps(path)) for name, path in entry.fields.items())
            yield cls(
                node.name,
                place,
                entry.stale or node.spec.stale,
                TopicPattern.parse(entry.topic),
                paths,
                tuple((name, path[0]) for name, path in paths if len(path) == 1),
                tuple((name, path) for name, path in paths if len(path) != 1),
                None if entry.time is None else _steps(entry.time),
                entry.longest,
            )

    @property
    def reads_whole(self) -> bool:
        """Whether a field takes the whole payload."""
        return any(not path for _, path in self.paths)

    def device(self, topic: str) -> str | None:
        """Return the device a topic is about, or None where it does not match."""
        levels = self.pattern.match(topic)
        if levels is None:
            return None
        return levels[self.pattern.names[0]] if self.pattern.names else self.node

    def take(self, document: Any) -> list[tuple[str, Any]]:
        """Return name and value of the fields that are there, usable or not."""
        if isinstance(document, dict):
            found = [(name, document[key]) for name, key in self.keys if key in document]
            paths = self.deeper
        else:
            found, paths = [], self.paths
        for name, path in paths:
            value = _at(document, path)
            if value is not _MISSING:
                found.append((name, value))
        return found

    def told_at(self, document: Any) -> float | None:
        """Return the device's own time, seconds since the epoch; None where it tells none.

        Raises:
            ValueError: It tells one that is no time.
        """
        if self.time_path is None:
            return None
        value = _at(document, self.time_path)
        return None if value is _MISSING or value is None else read_time(value)


class Heard(NamedTuple):
    """A listener that a topic reaches, and where its values come from."""

    listener: Listener
    source: Source


class About(NamedTuple):
    """A device that a topic is about in the words of one node, which may listen more than once.

    Attributes:
        node: The node.
        device: The device.
        heard: The node's listeners that the topic reaches.
        timed: Whether one of them reads the device's own time.
    """

    node: str
    device: str
    heard: tuple[Heard, ...]
    timed: bool

    @classmethod
    def of(cls, node: str, device: str, heard: Iterable[Heard]) -> About:
        """Return a device with the listeners that read of it."""
        heard = tuple(heard)
        timed = any(each.listener.time_path is not None for each in heard)
        return cls(node, device, heard, timed)

    def whole(self) -> About:
        """Return the same with the listeners alone that take the whole payload."""
        return About.of(self.node, self.device, (each for each in self.heard if each.listener.reads_whole))


@dataclass(slots=True)
class _Level:
    """One level of the tree of topic filters."""

    below: dict[str, _Level] = field(default_factory=dict)
    here: list[Listener] = field(default_factory=list)
    deep: list[Listener] = field(default_factory=list)


class Index:
    """Listeners by the levels of their filters, so that a message costs its own levels and no more."""

    def __init__(self, listeners: Iterable[Listener]) -> None:
        self._root = _Level()
        for listener in listeners:
            level = self._root
            *front, last = listener.pattern.filter.split("/")
            for name in front if last == "#" else [*front, last]:
                level = level.below.setdefault(name, _Level())
            (level.deep if last == "#" else level.here).append(listener)

    def find(self, topic: str) -> tuple[About, ...]:
        """Return the devices that a topic is about, each with the listeners of a node that it reaches.

        Source: MQTT 5.0, section 4.7.2: a wildcard at the start does not reach topics that start with $.
        """
        reached: list[Listener] = []
        frontier = [self._root]
        for depth, name in enumerate(topic.split("/")):
            wild = depth > 0 or not topic.startswith("$")
            following = []
            for level in frontier:
                if wild:
                    reached += level.deep
                if name in level.below:
                    following.append(level.below[name])
                if wild and "+" in level.below:
                    following.append(level.below["+"])
            frontier = following
        for level in frontier:
            reached += level.here
            reached += level.deep
        found: dict[tuple[str, str], list[Heard]] = {}
        for listener in reached:
            device = listener.device(topic)
            if device is not None:
                source = Source(topic, listener.entry, listener.stale_s)
                found.setdefault((listener.node, device), []).append(Heard(listener, source))
        return tuple(About.of(*key, heard) for key, heard in found.items())


def read_time(value: Any) -> float:
    """Return a time that a device wrote, in seconds since the epoch.

    It may be ISO 8601, UTC where it names no zone, or a number of seconds or milliseconds since the epoch.

    Raises:
        ValueError: It is none of these.
    """
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            read = datetime.fromisoformat(value.strip())
            return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(type(value).__name__)
    return value / 1000 if abs(value) >= _LEAST_MILLISECONDS else float(value)


def kind_of(value: Any, *, longest: int = MAX_STRING) -> str:
    """Return what a value is, as people say it; empty for one that is of no use."""
    if type(value) is float:
        return "a number" if math.isfinite(value) else ""
    kind = _KINDS.get(type(value), "")
    if kind == "a text":
        return kind if len(value) <= longest else ""
    if kind == "a number":
        return kind if abs(value) <= _GREATEST_INTEGER else ""
    return kind


def _steps(path: str) -> tuple[str, ...]:
    return () if path == _WHOLE else tuple(path.split("."))


def _at(document: Any, path: tuple[str, ...]) -> Any:
    value = document
    for place, step in enumerate(path):
        if step == _EACH and isinstance(value, list):
            return _together(_at(item, path[place + 1 :]) for item in value)
        value = value.get(step, _MISSING) if isinstance(value, dict) else _item(value, step)
    return value


def _together(values: Iterable[Any]) -> str:
    """Return values as one text, each once, in their order; what is none of use is left out."""
    plain = (value for value in values if value is not _MISSING and value != "" and kind_of(value))
    said = (value if isinstance(value, str) else json.dumps(value) for value in plain)
    return ", ".join(dict.fromkeys(said))


def _item(value: Any, step: str) -> Any:
    """Return the item of a list that a number picks, how many it has where the step is `#`, or `_MISSING`."""
    if isinstance(value, list) and step == _HOW_MANY:
        return len(value)
    if isinstance(value, list) and step.isdecimal() and int(step) < len(value):
        return value[int(step)]
    return _MISSING
