"""The twin: what devices say, taken up; what is known, told; and both kept over a restart.

Knows messages, nodes and ages; knows nothing of conditions or the bus. What devices send is data: it is
kept and compared, never run and never searched for meaning.
"""

from __future__ import annotations

import math
import threading
import time
from functools import lru_cache
from math import isfinite
from typing import TYPE_CHECKING, Any

import structlog

from edge_node.errors import PayloadInvalid
from edge_node.messages import CommandState, DeviceReport, DeviceState, FieldReport, Observation, StateRow
from edge_node.payloads import read_json, read_text
from edge_node.twin.known import Desired, Known, Reported
from edge_node.twin.listening import Index, Listener, kind_of
from edge_node.twin.refusals import Refusals, names_device
from edge_node.twin.roster import Roster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from edge_node.config.loaded import Node
    from edge_node.config.models import LimitsConfig
    from edge_node.messages import Command, Message
    from edge_node.twin.listening import About, Heard

log = structlog.get_logger(__name__)

AHEAD_S = 60.0
"""How far a device's own time may lie in the future."""
_TOPICS = 4096
_USELESS = -math.inf
_ORDERED = frozenset(
    {CommandState.SENT, CommandState.ACKNOWLEDGED, CommandState.UNVERIFIED, CommandState.UNKNOWN}
)

_new = tuple.__new__


class DeviceTwin:
    """Last known values of all devices, for each node under its own field names.

    The first name in braces of a topic names the device; a topic without one is about the node's own
    device, which has the name of the node. A field that a message leaves out keeps its value until it is
    stale; one that comes as null, as a list or object, not finite or too long is forgotten at once, because
    the device no longer tells its value. Where a device tells its own time, what is older than what is known
    changes nothing, and what lies in the future is refused.

    The age of a retained message is unknown. What it tells anew counts as seen on arrival, but it makes no
    observation, so that it fires no trigger and proves no command, and the device is online only once it
    has spoken itself.

    Args:
        nodes: The nodes whose `listen` entries are taken up.
        limits: Sizes of payloads and the number of devices, each counted once for every node it is
            known to; beyond that, new ones are refused while known ones go on.
        clock: Wall clock, seconds since the epoch.

    Attributes:
        refusals: What was not taken up.
    """

    def __init__(
        self, nodes: Sequence[Node], *, limits: LimitsConfig, clock: Callable[[], float] = time.time
    ) -> None:
        self._limits = limits
        self._clock = clock
        listeners = [listener for node in nodes for listener in Listener.of(node)]
        # The same devices speak again and again.
        self._listeners = lru_cache(maxsize=_TOPICS)(Index(listeners).find)
        self._roster = Roster((node.name for node in nodes), listeners=listeners, limit=limits.devices)
        self._lock = threading.Lock()
        self.refusals = Refusals()

    def observe(self, message: Message) -> tuple[Observation, ...]:
        """Take up what a message says; one observation for each node that listens, none if retained.

        A payload that is no JSON is taken as text by the listeners that read the whole payload ('$').

        Raises:
            PayloadInvalid: A node listens, and none that does can read the payload.
        """
        return self._hear(message, recalled=False)

    def recall(self, messages: Iterable[Message]) -> None:
        """Take up again what came before a restart, as far as nothing newer is known."""
        for message in messages:
            try:
                self._hear(message, recalled=True)
            except PayloadInvalid:
                continue  # it was refused, and its sender told, when it came
        # The same for devices, times and values.
        self.refusals = Refusals()

    def state(self, node: str, device: str) -> DeviceState | None:
        """Return the state of a device in a node's words, or None where it was never heard."""
        now = self._clock()
        with self._lock:
            known = self._roster.find(node, device)
            if known is None:
                return None
            return DeviceState(node, device, known.fresh(now), known.seen_at, known.is_online(now))

    def times(self, node: str, device: str) -> dict[str, float]:
        """Return when each value of a device was heard, seconds since the epoch; those too old are in it."""
        with self._lock:
            known = self._roster.find(node, device)
            return {name: each.at for name, each in known.values.items()} if known else {}

    def devices(self, node: str) -> tuple[str, ...]:
        """Return the devices a node has heard from, sorted."""
        with self._lock:
            return self._roster.names(node)

    def reports(self, *, node: str = "", after: str = "") -> Iterator[DeviceReport]:
        """Yield all that is known of devices, of one node or all, behind `NODE/DEVICE` in their order."""
        names = (node,) if node else self._roster.nodes
        first = tuple(after.split("/", 1))
        for name in names:
            for device in self.devices(name):
                report = self.report(name, device) if (name, device) > first else None
                if report is not None:
                    yield report

    def report(self, node: str, device: str) -> DeviceReport | None:
        """Return all that is known of a device, also what is stale, or None where it was never heard."""
        now = self._clock()
        with self._lock:
            known = self._roster.find(node, device)
            if known is None:
                return None
            names = sorted({*known.values, *known.desired})
            fields = tuple(_field_report(known, name, now=now) for name in names)
            return DeviceReport(node, device, known.is_online(now), known.seen_at, fields)

    def follow(self, commands: Sequence[Command]) -> None:
        """Take up what commands want of their devices, as the commands are now.

        What was ordered stays desired until the device reports it, another command takes its place, or it is
        known that the command never left.
        """
        with self._lock:
            for command in commands:
                self._follow(command)

    def take_changes(self, *, urgent: bool) -> tuple[StateRow, ...]:
        """Return the devices that changed since they were last taken, oldest change first, a bounded number.

        Args:
            urgent: Only those whose orders changed.
        """
        with self._lock:
            return self._roster.take(urgent=urgent)

    def restore(self, rows: Iterable[StateRow]) -> None:
        """Take up what an earlier process remembered; what cannot be read is left out, and told.

        Times are kept: what has become stale meanwhile is unknown. Nodes and fields that are no longer
        listened to are left out.
        """
        with self._lock:
            self._roster.restore(rows)

    @property
    def longest_stale_s(self) -> float:
        """The longest time for which any value counts."""
        return self._roster.longest_stale_s

    def _hear(self, message: Message, *, recalled: bool) -> tuple[Observation, ...]:
        found = self._listeners(message.topic)
        if not found:
            return ()
        document, found = self._read(message.payload, found)
        observations = []
        for about in found:
            observation = self._hear_about(about, document, message, recalled=recalled)
            if observation is not None:
                observations.append(observation)
        return () if message.retained else tuple(observations)

    def _hear_about(
        self, about: About, document: Any, message: Message, *, recalled: bool
    ) -> Observation | None:
        """Take up what a message says of a device; None where nothing of it is of use."""
        told: dict[str, Reported] = {}
        stale_s = -math.inf
        for heard in about.heard:
            if self._report(heard, document, message, node=about.node, told=told):
                stale_s = max(stale_s, heard.source.stale_s)
        if stale_s < 0.0:
            return None
        news = self._take_up(about, told, message, stale_s=stale_s, recalled=recalled)
        if news is None:
            return None
        at = message.received_at
        if not about.timed:
            fields = {name: report[0] for name, report in news.items() if report[0] is not None}
            return Observation(about.node, about.device, fields, at)
        # What a device says late of a time long gone fires nothing and proves nothing.
        fields = {
            name: report.value
            for name, report in news.items()
            if report.value is not None and (report.told_at is None or report.is_fresh(at))
        }
        at = max([each.at for each in news.values()], default=at)
        return Observation(about.node, about.device, fields, at)

    def _read(self, payload: bytes, found: tuple[About, ...]) -> tuple[Any, tuple[About, ...]]:
        limits = self._limits
        try:
            return read_json(payload, max_bytes=limits.payload, max_depth=limits.depth), found
        except PayloadInvalid:
            whole = tuple(about for each in found if (about := each.whole()).heard)
            if not whole:
                raise
            longest = max(heard.listener.longest for about in whole for heard in about.heard)
            return read_text(payload, max_bytes=limits.payload, max_characters=longest), whole

    def _report(
        self, heard: Heard, document: Any, message: Message, *, node: str, told: dict[str, Reported]
    ) -> bool:
        """Add what a listener reads; return whether the device's own time is of use, where it tells one."""
        listener, source = heard
        at, told_at = message.received_at, None
        if listener.time_path is not None:
            told_at = self._told_at(listener, document, message)
            if told_at == _USELESS:
                return False
            at = at if told_at is None else min(at, told_at)
        longest = listener.longest
        for name, value in listener.take(document):
            if type(value) is float:
                plain = isfinite(value)
            else:
                plain = value is None or bool(kind_of(value, longest=longest))
            if not plain:
                expected = f"a finite number, a text of up to {longest} characters, true or false"
                self.refusals.value(
                    message, node=node, field=name, expected=expected, came=type(value).__name__
                )
                value = None  # noqa: PLW2901 - of no use from here on
            # As `Reported(...)`, at a third of its price.
            told[name] = _new(Reported, (value, at, source, told_at))
        return True

    def _told_at(self, listener: Listener, document: Any, message: Message) -> float | None:
        """Return the device's own time, None where it tells none, and `_USELESS` for one of no use."""
        at = message.received_at
        try:
            told_at = listener.told_at(document)
        except (ValueError, OverflowError) as problem:
            expected = "ISO 8601, or seconds or milliseconds since 1970"
            self.refusals.time(message, expected=expected, came=str(problem)[:80])
            return _USELESS
        if told_at is not None and told_at > at + AHEAD_S:
            came = f"one {told_at - at:.0f} s ahead"
            self.refusals.time(message, expected=f"a time at most {AHEAD_S:g} s ahead", came=came)
            return _USELESS
        return told_at

    def _take_up(
        self, about: About, told: dict[str, Reported], message: Message, *, stale_s: float, recalled: bool
    ) -> dict[str, Reported] | None:
        """Return what is news, which is kept; None where there was no room for the device."""
        node, device, _, timed = about
        at, live = message.received_at, not message.retained
        with self._lock:
            known = self._roster.find(node, device) or self._make(node, device, message)
            if known is None:
                return None
            values = known.values
            for name, report in told.items():
                before = values.get(name)
                if before is not None and type(before[0]) is not type(report[0]):
                    self._doubt(message, node, name, before=before, report=report)
            news = known.take_up(told, retained=not live, recalled=recalled, timed=timed)
            if not recalled or at >= known.seen_at:
                known.hear(at, stale_s=stale_s, live=live)
            self._roster.mark(node, device)
            if live and known.desired and known.confirm(news):
                self._roster.mark(node, device, urgent=True)
            return news

    def _doubt(self, message: Message, node: str, name: str, *, before: Reported, report: Reported) -> None:
        """Tell that a value is of another type than before; it is taken all the same."""
        expected, came = kind_of(before.value), kind_of(report.value)
        if expected and came and expected != came:
            self.refusals.value(message, node=node, field=name, expected=f"{expected}, as before", came=came)

    def _make(self, node: str, device: str, message: Message) -> Known | None:
        """Return a new device, or None where it has no usable name or there is no room."""
        usable = names_device(device)
        known = self._roster.add(node, device, now=message.received_at) if usable else None
        if known is None:
            count, limit = self._roster.count, self._limits.devices
            self.refusals.device(message, known=count, limit=limit, full=usable)
        return known

    def _follow(self, command: Command) -> None:
        wanted, name = command.expectation, command.device or command.node
        known = self._roster.find(command.node, name)
        if wanted is None or known is None:  # a device is known once it was heard
            return
        before = known.desired.get(wanted.field)
        own = before is not None and before.command_id == command.id
        if command.state is CommandState.SENT and not own:
            known.desired[wanted.field] = Desired(wanted.value, self._clock(), command.id)
            known.commanded = True
        elif own and command.state not in _ORDERED:
            del known.desired[wanted.field]
        else:
            return
        self._roster.mark(command.node, name, urgent=True)


def _field_report(known: Known, name: str, *, now: float) -> FieldReport:
    report, wanted = known.values.get(name), known.desired.get(name)
    return FieldReport(
        name=name,
        value=report.value if report else None,
        at=report.at if report else None,
        fresh=report is not None and report.is_fresh(now),
        topic=report.source.topic if report else "",
        entry=report.source.entry if report else None,
        desired=wanted.value if wanted else None,
        desired_at=wanted.at if wanted else None,
        command_id=wanted.command_id if wanted else "",
    )
