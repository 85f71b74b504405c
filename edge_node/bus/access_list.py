"""The access list of a broker for one configuration: who may publish and hear what, and nothing more.

Pure functions from a configuration to text. Knows mosquitto's notation and the topics of the wire layout;
opens no file and speaks to no broker.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edge_node.errors import ConfigurationError
from edge_node.topics import EdgeTopics, is_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from edge_node.config.loaded import Configuration, Node

_USER = "%u"
_NAME = re.compile(r"\{([a-z][a-z0-9_]*)\}")


def mosquitto_access_list(configuration: Configuration, *, operators: Sequence[str] = ()) -> str:
    """Return the content of mosquitto's `acl_file` for a configuration.

    What no line allows is denied; who gives no name may do nothing. A device signs in under the name it
    has in its topics, an operator under the name that stands in `ask/{user}`.

    Args:
        configuration: The configuration of one edge.
        operators: The people, by name. Only they may ask and order then, and none of them may speak for a
            device; left out, everyone who signs in may ask under their own name.

    Raises:
        ConfigurationError: The configuration names no user for the edge itself, or a name may not stand
            in a topic.

    Source: mosquitto.conf(5), acl_file, mosquitto 2.0.
    """
    runtime = configuration.runtime
    if not runtime.broker.username:
        raise ConfigurationError(
            "broker.username: expected the name under which the edge signs in, came none",
            hint="an access list tells users apart by their names; set broker.username and password_file",
            field="broker.username",
        )
    for name in operators:
        if not is_name(name) or name in ("state", runtime.broker.username):
            raise ConfigurationError(
                f"operator: expected a name of letters, digits, '.', '_' or '-', came {name!r}",
                hint="`state` is a topic of the edge, and the edge's own user is no person",
            )
    topics = EdgeTopics(runtime.edge, group=runtime.group or "")
    lines = [
        f"# Access list of edge {runtime.edge} for mosquitto 2.0 and later, written by `edge-node acl`.",
        "# What no line allows is denied. Needs `allow_anonymous false`, and names of letters, digits, . _ -",
        "# only. The list of another edge may follow in the same file.",
        "",
        f"# The edge itself: it alone commands devices, and answers as {topics.desk}.",
        f"user {runtime.broker.username}",
        *_rules("topic", _edge_rules(configuration, topics)),
    ]
    device_rules = tuple(_device_rules(configuration.nodes))
    lines += ["", *_operators(operators, topics, device_rules)]
    lines += ["", "# Devices: each signs in under its own name, and speaks and hears for itself only."]
    lines += _rules("pattern", device_rules)
    lines += _unclaimed(configuration.nodes)
    return "\n".join(lines) + "\n"


def _edge_rules(configuration: Configuration, topics: EdgeTopics) -> Iterator[tuple[str, str]]:
    """Yield what the edge needs: access and topic."""
    root, desk = topics.root, topics.desk
    for topic in (f"{desk}/ask/+", f"{root}/stop/+", f"{root}/op/+/request/+"):
        yield "read", topic
    for node in configuration.nodes:
        for entry in node.spec.listen:
            yield "read", _filter(entry.topic)
        for kept in node.spec.logs:
            yield "read", kept.log
    yield "readwrite", f"{root}/probe/+"
    if topics.group:
        yield "readwrite", topics.claims
    own = ("status", "info", "stop/state", "cmd/+", "event/+", "alert/+", "dead/+", "op/+/response/+")
    for topic in own:
        yield "write", f"{root}/{topic}"
    yield "write", f"{desk}/reply/#"
    for topic in _command_topics(configuration.nodes):
        yield "write", _filter(topic)


def _operators(
    names: Sequence[str], topics: EdgeTopics, device_rules: Sequence[tuple[str, str]]
) -> Iterator[str]:
    """Yield the lines for people: each under their own name, by name where names are given."""
    if not names:
        yield "# Operators: whoever signs in may ask and stop under their own name, devices among them;"
        yield "# `edge-node acl --operator NAME` lets only those named do so."
        yield from _rules("pattern", _operator_rules(topics, _USER))
        yield "# `state` is a topic of the edge, not a person."
        yield "user state"
        yield f"topic deny {topics.root}/stop/state"
        return
    yield "# Operators: each asks, stops and hears the answers under their own name, and is no device."
    for name in sorted(set(names)):
        yield f"user {name}"
        yield from _rules("topic", _operator_rules(topics, name))
        yield from _rules("topic", (("deny", rule.replace(_USER, name)) for _, rule in device_rules))


def _operator_rules(topics: EdgeTopics, user: str) -> Iterator[tuple[str, str]]:
    root, desk = topics.root, topics.desk
    yield "write", f"{desk}/ask/{user}"
    yield "write", f"{root}/op/{user}/request/+"
    yield "write", f"{root}/stop/{user}"
    yield "read", f"{desk}/reply/{user}/#"
    yield "read", f"{root}/op/{user}/response/+"
    for topic in ("status", "info", "event/+", "cmd/+", "alert/+", "stop/state"):
        yield "read", f"{root}/{topic}"


def _device_rules(nodes: Sequence[Node]) -> Iterator[tuple[str, str]]:
    """Yield what a device may do, with the device's name as mosquitto's `%u`."""
    for node in nodes:
        for entry in node.spec.listen:
            topic = _as_device(entry.topic, set(_NAME.findall(entry.topic)[:1]))
            if topic:
                yield "write", topic
        for command in node.spec.commands.values():
            topic = _as_device(command.publish.topic, {n for n, a in command.args.items() if a.device})
            if topic:
                yield "read", topic


def _unclaimed(nodes: Sequence[Node]) -> Iterator[str]:
    """Yield a note for each topic that does not say which device it belongs to."""
    for node in nodes:
        for entry in node.spec.listen:
            if not _as_device(entry.topic, set(_NAME.findall(entry.topic)[:1])):
                yield _note(entry.topic, right="write")
        for command in node.spec.commands.values():
            devices = {name for name, argument in command.args.items() if argument.device}
            if not _as_device(command.publish.topic, devices):
                yield _note(command.publish.topic, right="read")


def _note(topic: str, *, right: str) -> str:
    return (
        f"# {topic}: no level of it is the name of a device alone, so nobody has it by a pattern."
        f" Give it to one user: topic {right} {_filter(topic)}"
    )


def _as_device(topic: str, devices: set[str]) -> str | None:
    """Return a topic with `%u` in the place of the device, or None where no level is the device alone."""
    levels = topic.split("/")
    if not any(level == f"{{{name}}}" for level in levels for name in devices):
        return None
    return "/".join(
        _USER if level in {f"{{{name}}}" for name in devices} else _wild(level) for level in levels
    )


def _command_topics(nodes: Sequence[Node]) -> Iterator[str]:
    for node in nodes:
        for command in node.spec.commands.values():
            yield command.publish.topic


def _filter(topic: str) -> str:
    """Return the narrowest MQTT filter for a topic with names in braces."""
    return "/".join(_wild(level) for level in topic.split("/"))


def _wild(level: str) -> str:
    return "+" if _NAME.search(level) else level


def _rules(kind: str, rules: Iterable[tuple[str, str]]) -> list[str]:
    return list(dict.fromkeys(f"{kind} {access} {topic}" for access, topic in rules))
