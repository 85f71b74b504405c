"""The wire layout: how topics are built, matched and taken apart.

Pure functions over strings; knows nothing of payloads, brokers or nodes.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from edge_node.errors import TopicInvalid

VERSION = "edge/v1"
_OWN = f"{VERSION}/"
MAX_TOPIC_BYTES = 65_535
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_UNSPEAKABLE = frozenset({"Cc", "Cs"})
"""Unicode categories of control characters and of halves of characters."""
_PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*)\}")


def is_name(value: str) -> bool:
    """Return whether `value` may name an edge, a node, a user or a device in a topic."""
    return _NAME.fullmatch(value) is not None


def check_topic(topic: str) -> str:
    """Return `topic` if a message may be published on it.

    Raises:
        TopicInvalid: It is empty, too long, or holds a wildcard or a control character.

    Source: MQTT 5.0, sections 1.5.4 and 4.7.
    """
    if any(character in "+#" or unicodedata.category(character) in _UNSPEAKABLE for character in topic):
        raise TopicInvalid(topic[:80], expected="no wildcard and no control character")
    if not topic or len(topic.encode()) > MAX_TOPIC_BYTES:
        raise TopicInvalid(topic[:80], expected=f"1 to {MAX_TOPIC_BYTES} bytes")
    return topic


def may_overlap(one: str, other: str) -> bool:
    """Return whether some topic matches both of two MQTT topic filters.

    What a shared subscription delivers counts as what its filter does.
    """
    left, right = (_unshared(name).split("/") for name in (one, other))
    for mine, theirs in zip(left, right, strict=False):
        if "#" in (mine, theirs):
            return True
        if mine != theirs and "+" not in (mine, theirs):
            return False
    # `a/#` matches `a` itself too.
    longer = max(left, right, key=len)[min(len(left), len(right)) :]
    return longer in ([], ["#"])


def _unshared(name: str) -> str:
    return name.split("/", 2)[2] if name.startswith("$share/") else name


@dataclass(frozen=True, slots=True)
class TopicPattern:
    """A topic in which names in braces stand for one level each, as in `plant/{pump}/telemetry`.

    Attributes:
        source: The pattern as the user wrote it.
        filter: The MQTT topic filter that subscribes to it.
        names: The names in braces, in order; the first one names the device.
    """

    source: str
    filter: str
    names: tuple[str, ...]
    _regex: re.Pattern[str]

    @classmethod
    def parse(cls, source: str) -> TopicPattern:
        """Return the pattern that `source` writes down.

        `+` matches one level and `#`, at the end, any number; neither gives a name.

        Raises:
            TopicInvalid: A level mixes text and braces, a name stands twice, or `#` is not last.
        """
        levels, names = [], []
        expressions = []
        parts = source.split("/")
        for index, level in enumerate(parts):
            found = _PLACEHOLDER.fullmatch(level)
            if found:
                if found[1] in names:
                    raise TopicInvalid(source, expected=f"{{{found[1]}}} only once")
                names.append(found[1])
                levels.append("+")
                expressions.append(f"(?P<{found[1]}>[^/]+)")
            elif level == "+":
                levels.append("+")
                expressions.append("[^/]*")
            elif level == "#" and index == len(parts) - 1:
                levels.append("#")
                expressions.append(".*")
            elif any(character in level for character in "{}+#"):
                raise TopicInvalid(source, expected="a name in braces or a wildcard to fill its whole level")
            else:
                levels.append(level)
                expressions.append(re.escape(level))
        regex = re.compile("/".join(expressions).replace("/.*", "(?:/.*)?"), re.DOTALL)
        return cls(source, "/".join(levels), tuple(names), regex)

    def match(self, topic: str) -> dict[str, str] | None:
        """Return name to level for a topic that matches, or None.

        A wildcard or a name at the front does not stand for the broker's own topics, such as `$SYS/load`.

        Source: MQTT 5.0, section 4.7.2.
        """
        if topic.startswith("$") and self.filter.startswith(("+", "#")):
            return None
        found = self._regex.fullmatch(topic)
        return found.groupdict() if found else None


@dataclass(frozen=True, slots=True)
class EdgeTopics:
    """The topics of one edge.

    Attributes:
        edge: Identifier of the edge.
        group: Group of edges that answers as one, or empty; it takes the edge's place where people ask.
    """

    edge: str
    group: str = ""

    @property
    def root(self) -> str:
        """Prefix of every topic of this edge."""
        return f"{VERSION}/{self.edge}"

    @property
    def status(self) -> str:
        """Retained state of the edge; also its last will."""
        return f"{self.root}/status"

    @property
    def info(self) -> str:
        """Retained description: versions, nodes, models."""
        return f"{self.root}/info"

    def probe(self, boot: str) -> str:
        """Return the topic on which a run of the edge speaks to itself."""
        return f"{self.root}/probe/{boot}"

    @property
    def desk(self) -> str:
        """Prefix of the topics on which people ask and are answered; one for a whole group."""
        return f"{VERSION}/{self.group or self.edge}"

    @property
    def asks(self) -> str:
        """Filter of all questions and orders; in a group each goes to one of its edges.

        Source: MQTT 5.0, section 4.8.2.
        """
        return f"$share/{self.group}/{self.desk}/ask/+" if self.group else f"{self.desk}/ask/+"

    @property
    def claims(self) -> str:
        """Filter of what the edges of a group claim."""
        return f"{self.desk}/claim/+"

    def claim(self, key: str) -> str:
        """Return the topic on which an edge of the group claims a question."""
        return f"{self.desk}/claim/{key}"

    def claimed(self, topic: str) -> str | None:
        """Return the key of the question on a claim topic, or None for any other topic."""
        prefix = f"{self.desk}/claim/"
        return topic.removeprefix(prefix) if self.group and topic.startswith(prefix) else None

    def ask(self, user: str) -> str:
        """Return the topic on which `user` asks."""
        return f"{self.desk}/ask/{user}"

    def asking_user(self, topic: str) -> str | None:
        """Return who speaks on an ask topic, or None for any other topic."""
        if not topic.startswith(_OWN):  # as most do not: readings of devices
            return None
        prefix = f"{self.desk}/ask/"
        user = topic.removeprefix(prefix)
        return user if topic.startswith(prefix) and user and "/" not in user else None

    def reply(self, user: str) -> str:
        """Return the topic on which `user` is answered."""
        return f"{self.desk}/reply/{user}"

    def stream(self, user: str) -> str:
        """Return the topic on which `user` hears pieces of an answer as they come."""
        return f"{self.reply(user)}/stream"

    def command(self, command_id: str) -> str:
        """Return the topic that tells the life of a command."""
        return f"{self.root}/cmd/{command_id}"

    def event(self, trigger: str) -> str:
        """Return the topic that tells what a trigger's firing led to."""
        return f"{self.root}/event/{trigger}"

    def dead(self, reason: str) -> str:
        """Return the topic for messages that could not be handled."""
        return f"{self.root}/dead/{reason}"

    def alert(self, alert: str) -> str:
        """Return the topic that tells when a trouble of the edge begins and ends."""
        return f"{self.root}/alert/{alert}"

    @property
    def stops(self) -> str:
        """Filter of all operational stops; it matches `stop_state` too."""
        return f"{self.root}/stop/+"

    @property
    def stop_state(self) -> str:
        """Retained: whether a stop is latched. No user can have its name."""
        return f"{self.root}/stop/state"

    def stop(self, user: str) -> str:
        """Return the topic on which `user` stops the edge."""
        return f"{self.root}/stop/{user}"

    @property
    def operations(self) -> str:
        """Filter of all operations that people ask for."""
        return f"{self.root}/op/+/request/+"

    def operation(self, user: str, operation: str) -> str:
        """Return the topic on which `user` asks for an operation."""
        return f"{self.root}/op/{user}/request/{operation}"

    def operation_response(self, user: str, operation: str) -> str:
        """Return the topic on which `user` is answered; `+` as the operation makes it a filter."""
        return f"{self.root}/op/{user}/response/{operation}"

    def operating(self, topic: str) -> tuple[str, str] | None:
        """Return who asks for which operation, or None for any other topic."""
        if not topic.startswith(_OWN):
            return None
        prefix = f"{self.root}/op/"
        levels = topic.removeprefix(prefix).split("/") if topic.startswith(prefix) else []
        match levels:
            case [user, "request", operation] if user and operation:
                return user, operation
        return None

    def may_reply_to(self, topic: str, *, user: str) -> bool:
        """Return whether an MQTT 5 Response-Topic lies in the caller's own reply space."""
        return topic == self.reply(user) or topic.startswith(self.reply(user) + "/")
