"""The stage that turns messages and the passing of time into requests.

Knows nodes' triggers, the twin and the ask topics; does not know what is done about a request. Called by
one thread, the one that brings the messages.
"""

from __future__ import annotations

import heapq
import itertools
import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edge_node.conditions import Told
from edge_node.identifiers import new_id
from edge_node.messages import Request, RequestKind
from edge_node.triggers.asks import Asks
from edge_node.triggers.episodes import Holding, Joint, Silence
from edge_node.triggers.memory import Memory
from edge_node.triggers.reading import Reading
from edge_node.triggers.schedule import Schedule
from edge_node.triggers.series import Budget
from edge_node.triggers.shown import Shown
from edge_node.triggers.watches import Trigger, Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from edge_node.config.loaded import Node
    from edge_node.config.models import LimitsConfig
    from edge_node.messages import Message, Observation, StateRow
    from edge_node.protocols import Twin
    from edge_node.topics import EdgeTopics
    from edge_node.triggers.reading import Concerned
    from edge_node.triggers.seen import Seen


class TriggerEngine:
    """All triggers of all nodes, each with an episode for every device it was heard of.

    A condition is asked when its device tells one of the fields it reads, or no longer tells one, over
    what that message says and what else is known of the device. A message that ends an episode does not
    start another one. Where nothing is on its way for a trigger and a device, nothing is kept of them.

    Args:
        nodes: The nodes whose triggers fire.
        twin: What is known of devices.
        topics: Topics of the edge.
        limits: Sizes of questions, of the sentences that tell alarms, and of windows of time.
        new_id: Gives the identifier of a request.
        clock: Wall clock, seconds since the epoch; a message from the future counts as now.
        hears_since: Tells since when messages have come in, by that clock; None while they cannot.

    Raises:
        ConditionInvalid: A trigger's condition does not compile.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        *,
        twin: Twin,
        topics: EdgeTopics,
        limits: LimitsConfig,
        new_id: Callable[[], str] = new_id,
        clock: Callable[[], float] = time.time,
        hears_since: Callable[[], float | None] = lambda: -math.inf,
    ) -> None:
        self._twin = twin
        self._topics = topics
        self._limits = limits
        self._new_id = new_id
        self._clock, self._hears_since = clock, hears_since
        self._asks = Asks(nodes, topics=topics, limits=limits, new_id=new_id)
        triggers = {node.name: tuple(Trigger.of(node)) for node in nodes}
        self._readings = {node: Reading(own) for node, own in triggers.items() if own}
        self._schedules = {
            (trigger.node, trigger.name): (trigger, Schedule.of(trigger.spec))
            for own in triggers.values()
            for trigger in own
            if trigger.scheduled
        }
        self._budget = Budget(limits.samples)
        self._patterns = Budget(limits.patterns)
        self._memory = Memory(
            self._readings,
            stale_s={node.name: node.spec.stale for node in nodes},
            window_samples=limits.window,
            budget=self._budget,
            patterns=self._patterns,
            schedules=self._schedules,
        )
        self._deadlines: list[tuple[float, int, Seen, Watch]] = []
        self._turn = itertools.count()
        self._ended: list[Watch] = []

    def requests(self, message: Message, observations: Sequence[Observation]) -> tuple[Request, ...]:
        """Return the requests a message leads to, in the order of observations and of the node file.

        Raises:
            InputError: It is a question or an order that cannot be read.
        """
        user = self._topics.asking_user(message.topic)
        if user is not None:
            return (self._asks.read(message, user=user),)
        now = self._clock()
        requests = self._left(now) if self._memory.left else []
        for observation in observations:
            if observation.node in self._readings:
                requests += self._observed(message, observation, now=now)
        return _alerts_first(requests) if requests else ()

    def due(self, now: float) -> tuple[Request, ...]:
        """Return the requests that fall due by the passing of time, up to `now`, earliest first."""
        due = self._left(now)
        while self._deadlines and self._deadlines[0][0] <= now:
            deadline, _, seen, watch = heapq.heappop(self._deadlines)
            if watch.scheduled == deadline:
                watch.scheduled = math.inf
            if seen.watches.get(watch.trigger.name) is watch:
                due += self._ripened(seen, watch, now)
        for trigger, schedule in self._schedules.values():
            if schedule.due(now) is not None:
                self._memory.note_schedule(trigger)
                due += self._on_time(trigger, now)
        return _alerts_first(due)

    def take_changes(self, *, urgent: bool) -> Sequence[StateRow]:
        """Return what changed since it was last taken.

        Urgent are the beginning and the end of an episode, and of a condition's way there; how far it has
        come, and what windows hold, can wait.
        """
        if urgent and not self._memory.is_urgent:
            return ()
        return self._memory.take(urgent=urgent, now=self._clock())

    def restore(self, rows: Iterable[StateRow]) -> None:
        """Take up what an earlier process remembered, before any message comes.

        How long a condition held goes on from what was observed; silence starts anew, for nobody listened.
        """
        self._memory.restore(rows, now=self._clock())
        for seen in self._memory.seen.values():
            for watch in seen.watches.values():
                self._schedule(seen, watch)

    def _observed(self, message: Message, observation: Observation, *, now: float) -> list[Request]:
        said, reading = observation.fields, self._readings[observation.node]
        seen = self._memory.device(observation.node, observation.device)
        at = self._hear(seen, message, reading, at=min(observation.observed_at, now))
        # The message's own words count even where they are older than `stale` by now, as they are when
        # the journal brings a message back after a power cut.
        values = self._values(seen, said=said)
        names = seen.news(values.keys(), said)
        if reading.patterned:
            for name in seen.learn(reading, said, budget=self._patterns):
                self._memory.note_patterns(seen, name)
        moments = seen.moments(reading, said) if reading.moments else {}
        if reading.lengths:
            seen.take_up(reading, said, limit=self._limits.window, budget=self._budget)
        if reading.measures:
            known = {**values, **moments}
            seen.measure(reading.measures, known, said, limit=self._limits.window, budget=self._budget)
        self._memory.note_device(seen)
        fired = self._fired(reading.concerned(names), seen, values, at=at, moments=moments)
        if reading.joints:
            fired += self._joined(seen, fired, at=at)
        if not (fired or self._ended):
            return []
        at_latest = min(observation.observed_at, at)
        shown = Shown(at, values, seen, moments)
        alerts = self._alerts(fired, shown)
        return [*alerts, *(self._request(each.trigger, each, shown, at=at_latest) for each in fired)]

    def _hear(self, seen: Seen, message: Message, reading: Reading, *, at: float) -> float:
        """Take note that a device was heard; return the time its message counts for."""
        before = seen.at
        at = seen.hear(at)
        seen.message_id = message.id
        if at < before:
            for watch in seen.watches.values():
                self._schedule(seen, watch)
        for trigger in reading.silences:
            known = seen.watches.get(trigger.name)
            watch = known or Watch(trigger, seen.device, trigger.episode())
            if known is None or watch.episode.open:
                seen.watches[trigger.name] = watch
                self._memory.note_watch(seen, trigger.name, urgent=True)
                self._note_end(watch, was_open=watch.episode.open, is_open=False)
            if isinstance(watch.episode, Silence):
                watch.episode.hear(at)
            watch.message_id = message.id
            if watch.scheduled == math.inf:  # else it is looked at before it is due, and then anew
                self._schedule(seen, watch)
        return at

    def _fired(
        self,
        concerned: Concerned,
        seen: Seen,
        values: Mapping[str, Any],
        *,
        at: float,
        moments: Mapping[str, bool],
    ) -> list[Watch]:
        """Return the watches of the triggers that what a message shows fires."""
        fired: list[Watch] = []
        if not concerned.asked:
            return fired
        stirred = seen.stirred(concerned, values, at, moments=moments)
        if not stirred:
            return fired
        watches, told = seen.watches, _told(concerned, seen, values, at=at, moments=moments)
        for _, name, trigger, ask in stirred:
            watch = watches.get(name)
            if watch is not None:
                holds = watch.asked(told)
            elif ask(told):
                holds, watch = True, Watch(trigger, seen.device, trigger.episode())
                watches[name] = watch
            else:
                continue
            if self._saw(seen, watch, holds, at=at):
                fired.append(watch)
        return fired

    def _saw(self, seen: Seen, watch: Watch, holds: bool | None, *, at: float) -> bool:  # noqa: FBT001 - a truth value of three
        """Return whether a watch fires by what a message shows."""
        episode = watch.episode
        if not isinstance(episode, Holding):
            return False
        before, was_open = episode.stands, episode.open
        watch.message_id = seen.message_id
        fires = episode.see(at, holds=holds)
        self._note_end(watch, was_open=was_open, is_open=episode.open)
        self._settle(seen, watch, urgent=episode.stands != before)
        return fires

    def _ripened(self, seen: Seen, watch: Watch, now: float) -> list[Request]:
        """Return what fires because the deadline of a watch may have come."""
        episode = watch.episode
        if isinstance(episode, Silence):
            episode.listen(self._hears_since(), now=now)
        deadline = episode.deadline
        if deadline is None or deadline > now:
            self._schedule(seen, watch)
            return []
        values, before, was_open = self._values(seen, said={}), episode.stands, episode.open
        fires = False
        if isinstance(episode, Silence):
            fires = episode.ripen(now)
        elif isinstance(episode, Holding):
            alone = self._readings[seen.node].alone[watch.trigger.name]
            told = _told(alone, seen, values, at=now, moments={})
            fires = episode.ripen(now, holds=watch.asked(told))
        if not isinstance(episode, Joint):
            self._note_end(watch, was_open=was_open, is_open=episode.open)
            self._settle(seen, watch, urgent=episode.stands != before)
        fired = [watch] if fires else []
        fired += self._joined(seen, fired, at=now)
        shown = Shown(now, values, seen)
        alerts = self._alerts(fired, shown)
        return [*alerts, *(self._request(each.trigger, each, shown, at=now) for each in fired)]

    def _joined(self, seen: Seen, fired: Sequence[Watch], *, at: float) -> list[Watch]:
        """Return the watches of triggers that others fire, where what has changed fires them."""
        joints = self._readings[seen.node].joints
        if not joints:
            return []
        names = {watch.trigger.name for watch in fired}
        open_names = {name for name, watch in seen.watches.items() if watch.episode.open}
        joined: list[Watch] = []
        for trigger in joints:
            watch = seen.watches.get(trigger.name)
            if watch is None:
                watch = Watch(trigger, seen.device, trigger.episode())
            episode = watch.episode
            if not isinstance(episode, Joint):
                continue
            before, was_open = episode.stands, episode.open
            if episode.see(at, fired=names, going_on=open_names):
                joined.append(watch)
            self._note_end(watch, was_open=was_open, is_open=episode.open)
            watch.message_id = seen.message_id
            if episode.stands != before:
                seen.watches[trigger.name] = watch
                self._settle(seen, watch, urgent=True)
        return joined

    def _on_time(self, trigger: Trigger, now: float) -> Iterator[Request]:
        """Yield what a time of the clock fires: once, or for each device for which the condition holds."""
        if trigger.when is None:
            yield self._request(trigger, None, Shown(now), at=now)
            return
        alone = self._readings[trigger.node].alone[trigger.name]
        for seen in list(self._memory.seen.values()):
            if seen.node != trigger.node:
                continue
            values = self._values(seen, said={})
            if trigger.holds(_told(alone, seen, values, at=now, moments={})):
                yield self._request(trigger, seen, Shown(now, values, seen), at=now)

    def _settle(self, seen: Seen, watch: Watch, *, urgent: bool) -> None:
        """See to what follows from a step: what is remembered, and when somebody looks again."""
        self._memory.note_watch(seen, watch.trigger.name, urgent=urgent)
        if watch.episode.idle:
            del seen.watches[watch.trigger.name]
        else:
            self._schedule(seen, watch)

    def _schedule(self, seen: Seen, watch: Watch) -> None:
        """See to it that `due` looks at a watch in time; it may look too early."""
        deadline = watch.episode.deadline
        if deadline is not None and deadline < watch.scheduled:
            watch.scheduled = deadline
            heapq.heappush(self._deadlines, (deadline, next(self._turn), seen, watch))

    def _values(self, seen: Seen, *, said: Mapping[str, Any]) -> dict[str, Any]:
        state = self._twin.state(seen.node, seen.device)
        known = state.fields if state else {}
        online = state is not None and state.online
        return {**known, **said, "device": {"id": seen.device, "online": online}}

    def _note_end(self, watch: Watch, *, was_open: bool, is_open: bool) -> None:
        """Take note of an episode that ends and that an alert was told of."""
        if was_open and not is_open and watch.alert_since is not None:
            self._ended.append(watch)

    def _alerts(self, fired: Sequence[Watch], shown: Shown) -> list[Request]:
        """Return the alerts that end and begin with a step."""
        told = []
        for watch in self._ended:
            told.append(self._alert(watch, shown, over=True))
            watch.alert_since = None
        self._ended.clear()
        for watch in fired:
            if watch.trigger.spec.alert is not None:
                watch.alert_since = shown.at
                told.append(self._alert(watch, shown, over=False))
        return told

    def _alert(self, watch: Watch, shown: Shown, *, over: bool) -> Request:
        request, trigger = self._request(watch.trigger, watch, shown, at=shown.at), watch.trigger
        text = trigger.alert(watch.device, shown.fields, max_characters=self._limits.text)
        since = shown.at if watch.alert_since is None else watch.alert_since
        return replace(request, kind=RequestKind.ALERT, text=text, began_at=since, over=over)

    def _left(self, now: float) -> list[Request]:
        """Return the ends of alerts whose triggers are no more."""
        left, self._memory.left = self._memory.left, []
        return [
            Request(
                id=self._new_id(),
                kind=RequestKind.ALERT,
                message_id="",
                created_at=now,
                node=each.node,
                text=f"{each.trigger}: {each.device}, whose trigger was taken away or changed",
                trigger=each.trigger,
                device=each.device,
                began_at=each.since,
                over=True,
            )
            for each in left
        ]

    def _request(self, trigger: Trigger, about: Watch | Seen | None, shown: Shown, *, at: float) -> Request:
        device = about.device if about else ""
        return Request(
            id=self._new_id(),
            kind=RequestKind.ALARM,
            message_id=about.message_id if about else "",
            created_at=at,
            node=trigger.node,
            text=trigger.sentence(device, shown.fields, max_characters=self._limits.text),
            trigger=trigger.name,
            device=device,
            evidence=shown.evidence(trigger),
        )


def _alerts_first(requests: Iterable[Request]) -> tuple[Request, ...]:
    """Return requests in their order, alerts before what may have to wait for a model."""
    return tuple(sorted(requests, key=lambda request: request.kind is not RequestKind.ALERT))


def _told(
    concerned: Concerned, seen: Seen, values: Mapping[str, Any], *, at: float, moments: Mapping[str, bool]
) -> Told:
    """Return what the conditions of triggers are asked over: values of fields, and what windows come to."""
    told = seen.values(concerned.windows, at, moments=moments)
    for name in concerned.names:
        if name in values:
            told[name] = values[name]
    return Told(told)
