"""The last known state of every device, in the words of each node.

Knows topics, paths into JSON and ages; knows nothing of conditions, commands or the bus. What devices
send is data: it is kept and compared, never run and never searched for meaning.
"""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import structlog

from edge_node.errors import PayloadInvalid
from edge_node.messages import DeviceState, Observation
from edge_node.payloads import read_json, read_text
from edge_node.topics import TopicPattern

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from edge_node.config.loaded import Node
    from edge_node.config.models import LimitsConfig, ListenConfig
    from edge_node.messages import Message

log = structlog.get_logger(__name__)

MAX_STRING = 256
"""Characters of a text value; a longer one is not taken up."""
MAX_DEVICE_NAME = 64
"""Characters of a device's name; a topic with a longer one is not taken up."""
_WHOLE = "$"
_HOW_MANY = "#"
_GREATEST_INTEGER = 2**63 - 1
_QUIET_S = 60.0
_TOPICS = 256
_MISSING = object()


class DeviceTwin:
    """Last known values of all devices, for each node under its own field names.

    The first name in braces of a topic names the device; a topic without one is about the node's own
    device, which has the name of the node. A field that a message leaves out keeps its value until it is
    older than the node's `stale`; one that comes as null, as a list or object, not finite or too long is
    forgotten at once, because the device no longer tells its value.

    The age of a retained message is unknown. Its values count as seen on arrival, but it makes no
    observation, so that it fires no trigger and proves no command, and the device is online only once it
    has spoken itself.

    Args:
        nodes: The nodes whose `listen` entries are taken up.
        limits: Sizes of payloads and the number of devices, each counted once for every node it is
            known to; beyond that, new ones are refused while known ones go on.
        clock: Wall clock, seconds since the epoch.

    Attributes:
        refused: Messages that were not taken up, for want of room or of a usable device name.
    """

    def __init__(
        self, nodes: Sequence[Node], *, limits: LimitsConfig, clock: Callable[[], float] = time.time
    ) -> None:
        self._limits = limits
        self._clock = clock
        index = _Index(_Listener.of(node, entry) for node in nodes for entry in node.spec.listen)
        self._listeners = lru_cache(maxsize=_TOPICS)(index.find)  # the same devices speak again and again
        self._stale_s = {node.name: node.spec.stale for node in nodes}
        self._known: dict[str, dict[str, _Known]] = {node.name: {} for node in nodes}
        self._count = 0
        self._refused_at = -math.inf
        self._lock = threading.Lock()
        self.refused = 0

    def observe(self, message: Message) -> tuple[Observation, ...]:
        """Take up what a message says; one observation for each node that listens, none if retained.

        A payload that is no JSON is taken as text by the listeners that read the whole payload ('$').

        Raises:
            PayloadInvalid: A node listens, and none that does can read the payload.
        """
        heard = self._listeners(message.topic)
        if not heard:
            return ()
        document, heard = self._read(message.payload, heard)
        told: dict[tuple[str, str], dict[str, Any]] = {}
        for listener, device in heard:
            told.setdefault((listener.node, device), {}).update(listener.take(document))
        observations = []
        for (node, device), values in told.items():
            if self._take_up(node, device, values, message):
                fields = {name: value for name, value in values.items() if value is not None}
                observations.append(Observation(node, device, fields, message.received_at))
        return () if message.retained else tuple(observations)

    def state(self, node: str, device: str) -> DeviceState | None:
        """Return the state of a device in a node's words, or None where it was never heard."""
        now = self._clock()
        with self._lock:
            known = self._known.get(node, {}).get(device)
            if known is None:
                return None
            stale_s = self._stale_s[node]
            # A time that lies ahead comes from a clock that was set back: it tells no age either.
            fields = {name: value for name, (value, at) in known.values.items() if abs(now - at) <= stale_s}
            online = abs(now - known.spoke_at) <= stale_s
            return DeviceState(node, device, fields, known.seen_at, online)

    def devices(self, node: str) -> tuple[str, ...]:
        """Return the devices a node has heard from, sorted."""
        with self._lock:
            return tuple(sorted(self._known.get(node, ())))

    def _read(self, payload: bytes, heard: list[_Heard]) -> tuple[Any, list[_Heard]]:
        limits = self._limits
        try:
            return read_json(payload, max_bytes=limits.payload, max_depth=limits.depth), heard
        except PayloadInvalid:
            whole = [(listener, device) for listener, device in heard if listener.reads_whole]
            if not whole:
                raise
            return read_text(payload, max_bytes=limits.payload, max_characters=MAX_STRING), whole

    def _take_up(self, node: str, device: str, values: Mapping[str, Any], message: Message) -> bool:
        """Return whether there was room for the values, which are kept then."""
        at = message.received_at
        with self._lock:
            devices = self._known[node]
            known = devices.get(device)
            if known is None:
                full = self._count >= self._limits.devices
                if full or not _names_device(device):
                    self._refuse(message, full=full)
                    return False
                known = devices[device] = _Known()
                self._count += 1
            known.update(values, at=at, live=not message.retained)
            return True

    def _refuse(self, message: Message, *, full: bool) -> None:
        """Count a message that is not taken up; the log tells the first after a quiet minute."""
        self.refused += 1
        if abs(message.received_at - self._refused_at) > _QUIET_S:
            expected = "room for another device" if full else f"a device name of 1 to {MAX_DEVICE_NAME} signs"
            log.warning(
                "device refused",
                topic=message.topic,
                expected=expected,
                devices=self._count,
                limit=self._limits.devices,
                hint="raise limits.devices" if full else "",
            )
        self._refused_at = message.received_at


@dataclass(slots=True)
class _Known:
    """What is known of one device: field to value and time, and when it was seen and spoke itself."""

    values: dict[str, tuple[Any, float]] = field(default_factory=dict)
    seen_at: float = 0.0
    spoke_at: float = -math.inf

    def update(self, values: Mapping[str, Any], *, at: float, live: bool) -> None:
        for name, value in values.items():
            if value is None:
                self.values.pop(name, None)
            else:
                self.values[name] = (value, at)
        self.seen_at = at
        if live:
            self.spoke_at = at


@dataclass(frozen=True, slots=True)
class _Listener:
    """One `listen` entry of a node."""

    node: str
    pattern: TopicPattern
    paths: tuple[tuple[str, tuple[str, ...]], ...]

    @classmethod
    def of(cls, node: Node, entry: ListenConfig) -> _Listener:
        paths = [
            (name, () if path == _WHOLE else tuple(path.split("."))) for name, path in entry.fields.items()
        ]
        return cls(node.name, TopicPattern.parse(entry.topic), tuple(paths))

    @property
    def reads_whole(self) -> bool:
        return any(not path for _, path in self.paths)

    def device(self, topic: str) -> str | None:
        """Return the device a topic is about, or None where it does not match."""
        levels = self.pattern.match(topic)
        if levels is None:
            return None
        return levels[self.pattern.names[0]] if self.pattern.names else self.node

    def take(self, document: Any) -> dict[str, Any]:
        """Return field to value for the fields that are there; None for one without a usable value."""
        taken = {}
        for name, path in self.paths:
            value = document
            for step in path:
                value = value.get(step, _MISSING) if isinstance(value, dict) else _item(value, step)
            if value is not _MISSING:
                taken[name] = value if _is_usable(value) else None
        return taken


_Heard = tuple[_Listener, str]


@dataclass(slots=True)
class _Level:
    """One level of the tree of topic filters."""

    below: dict[str, _Level] = field(default_factory=dict)
    here: list[_Listener] = field(default_factory=list)
    deep: list[_Listener] = field(default_factory=list)


class _Index:
    """Listeners by the levels of their filters, so that a message costs its own levels and no more."""

    def __init__(self, listeners: Iterable[_Listener]) -> None:
        self._root = _Level()
        for listener in listeners:
            level = self._root
            *front, last = listener.pattern.filter.split("/")
            for name in front if last == "#" else [*front, last]:
                level = level.below.setdefault(name, _Level())
            (level.deep if last == "#" else level.here).append(listener)

    def find(self, topic: str) -> list[_Heard]:
        """Return the listeners that a topic reaches, each with the device it is about.

        Source: MQTT 5.0, section 4.7.2: a wildcard at the start does not reach topics that start with $.
        """
        reached: list[_Listener] = []
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
        heard = ((listener, listener.device(topic)) for listener in reached)
        return [(listener, device) for listener, device in heard if device is not None]


def _names_device(name: str) -> bool:
    return 0 < len(name) <= MAX_DEVICE_NAME and name.isprintable() and not name.isspace()


def _item(value: Any, step: str) -> Any:
    """Return the item of a list that a number picks, how many it has where the step is `#`, or `_MISSING`."""
    if isinstance(value, list) and step == _HOW_MANY:
        return len(value)
    if isinstance(value, list) and step.isdecimal() and int(step) < len(value):
        return value[int(step)]
    return _MISSING


def _is_usable(value: Any) -> bool:
    match value:
        case float():
            return math.isfinite(value)
        case str():
            return len(value) <= MAX_STRING
        case bool():
            return True
        case int():
            return abs(value) <= _GREATEST_INTEGER
    return False
