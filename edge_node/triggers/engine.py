"""The stage that turns messages and the passing of time into requests.

Knows nodes' triggers, the twin and the ask topics; does not know what is done about a request. Called by
one thread, the one that brings the messages.
"""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING, Any

from edge_node.identifiers import new_id
from edge_node.messages import Request, RequestKind
from edge_node.triggers.asks import Asks
from edge_node.triggers.watches import Trigger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from edge_node.config.loaded import Node
    from edge_node.config.models import LimitsConfig
    from edge_node.messages import Message, Observation
    from edge_node.protocols import Twin
    from edge_node.topics import EdgeTopics
    from edge_node.triggers.watches import Watch


class TriggerEngine:
    """All triggers of all nodes, each with an episode for every device it was heard of.

    A condition is asked when its device is heard, over what that message says and what else is known of
    the device. A message that ends an episode does not start another one.

    Args:
        nodes: The nodes whose triggers fire.
        twin: What is known of devices.
        topics: Topics of the edge.
        limits: Sizes of questions and of the sentences that tell alarms.
        new_id: Gives the identifier of a request.

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
    ) -> None:
        self._twin = twin
        self._topics = topics
        self._limits = limits
        self._new_id = new_id
        self._asks = Asks(nodes, topics=topics, limits=limits, new_id=new_id)
        self._triggers = {node.name: tuple(Trigger.of(node)) for node in nodes}
        self._watches: dict[tuple[str, str], tuple[Watch, ...]] = {}
        self._deadlines: list[tuple[float, int, Watch]] = []
        self._turn = itertools.count()

    def requests(self, message: Message, observations: Sequence[Observation]) -> tuple[Request, ...]:
        """Return the requests a message leads to, in the order of observations and of the node file.

        Raises:
            InputError: It is a question or an order that cannot be read.
        """
        user = self._topics.asking_user(message.topic)
        if user is not None:
            return (self._asks.read(message, user=user),)
        return tuple(
            request
            for observation in observations
            if self._triggers.get(observation.node)
            for request in self._observed(message, observation)
        )

    def due(self, now: float) -> tuple[Request, ...]:
        """Return the requests that fall due by the passing of time, up to `now`, earliest first."""
        due: list[Request] = []
        while self._deadlines and self._deadlines[0][0] <= now:
            _, _, watch = heapq.heappop(self._deadlines)
            watch.scheduled = False
            if watch.episode.deadline is not None and watch.episode.deadline <= now:
                values = self._values(watch.trigger.node, watch.device, said={})
                if watch.ripen(values, at=now):
                    due.append(self._request(watch, values, at=now))
            self._schedule(watch)
        return tuple(due)

    def _observed(self, message: Message, observation: Observation) -> Iterator[Request]:
        node, device = observation.node, observation.device
        # The message's own words count even where they are older than `stale` by now, as they are when
        # the journal brings a message back after a power cut.
        values = self._values(node, device, said=observation.fields)
        for watch in self._watches_of(node, device):
            watch.message_id = message.id
            if watch.observe(values, at=observation.observed_at):
                yield self._request(watch, values, at=observation.observed_at)
            self._schedule(watch)

    def _watches_of(self, node: str, device: str) -> tuple[Watch, ...]:
        watches = self._watches.get((node, device))
        if watches is None:
            watches = tuple(watch for trigger in self._triggers[node] for watch in trigger.watches(device))
            self._watches[node, device] = watches
        return watches

    def _values(self, node: str, device: str, *, said: Mapping[str, Any]) -> dict[str, Any]:
        state = self._twin.state(node, device)
        known = state.fields if state else {}
        online = state is not None and state.online
        return {**known, **said, "device": {"id": device, "online": online}}

    def _schedule(self, watch: Watch) -> None:
        """See to it that `due` looks at a watch; at most one entry each, which may come too early."""
        if watch.episode.deadline is not None and not watch.scheduled:
            watch.scheduled = True
            heapq.heappush(self._deadlines, (watch.episode.deadline, next(self._turn), watch))

    def _request(self, watch: Watch, values: Mapping[str, Any], *, at: float) -> Request:
        trigger = watch.trigger
        return Request(
            id=self._new_id(),
            kind=RequestKind.ALARM,
            message_id=watch.message_id,
            created_at=at,
            node=trigger.node,
            text=trigger.sentence(watch.device, values, max_characters=self._limits.text),
            trigger=trigger.name,
            device=watch.device,
            evidence=trigger.evidence(values),
        )
