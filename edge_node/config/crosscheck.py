"""What the keys of a node file mean to each other, and to the files beside it.

Each name that is used must be defined: fields, placeholders, commands, arguments, manuals. Knows nothing
of other nodes; those are compared in `edge_node.config.across`.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from edge_node.conditions import Types
from edge_node.conditions.typing import BOOLEAN, NUMBER, TEXT
from edge_node.config.commands import check_arguments, check_commands
from edge_node.config.findings import Findings, placeholders
from edge_node.config.triggers import check_conditions, check_shape
from edge_node.config.wording import shown
from edge_node.errors import Problem, TopicInvalid
from edge_node.topics import TopicPattern

if TYPE_CHECKING:
    from edge_node.config.loaded import Node
    from edge_node.config.models import BusLogConfig, NodeConfig, TriggerConfig
    from edge_node.config.source import Document, KeyPath

_TYPES = {"integer": NUMBER, "number": NUMBER, "string": TEXT, "boolean": BOOLEAN}
_RESERVED = frozenset({"device", "origin"})


def crosscheck(node: Node, document: Document) -> list[Problem]:
    """Return the problems of a node file that has the right keys and types, in the order of the file."""
    spec = node.spec
    findings = Findings(document, types=_known_types(spec))
    devices = _check_listen(spec, findings)
    fields = frozenset(name for listen in spec.listen for name in listen.fields)
    _check_field_names(spec, findings)
    _check_knowledge(node, findings)
    _check_adapter(node, findings)
    for name, trigger in spec.triggers.items():
        path: KeyPath = ("triggers", name)
        check_shape(trigger, path, spec, findings)
        of_device = fields | devices | {"device"}
        timed = trigger.when is None and (trigger.every is not None or trigger.at is not None)
        _check_actions(trigger, path, spec, findings, names=frozenset() if timed else of_device)
        check_conditions(trigger, path, fields, findings)
    check_commands(spec, fields, findings)
    return sorted(findings.problems, key=lambda problem: problem.line)


def _known_types(spec: NodeConfig) -> Types:
    """Return the types of arguments, and of the fields by which devices show what they were told."""
    known = {
        name: _TYPES[argument.type] if argument.type else _TYPES["string"]
        for command in spec.commands.values()
        for name, argument in command.args.items()
    }
    # Two commands may give one name to arguments of two types; nothing is known of it then.
    for command in spec.commands.values():
        for name, argument in command.args.items():
            if known.get(name) != _TYPES[argument.type or "string"]:
                known.pop(name, None)
    known["origin"] = _TYPES["string"]
    return Types.of(known, place="this file")


def _check_listen(spec: NodeConfig, findings: Findings) -> frozenset[str]:
    """Look at the topics; return the names that devices have in them."""
    devices: set[str] = set()
    for index, listen in enumerate(spec.listen):
        path: KeyPath = ("listen", index, "topic")
        try:
            names = TopicPattern.parse(listen.topic).names if listen.topic else ()
        except TopicInvalid as error:
            expected = str(error).partition("expected ")[2].partition(", came ")[0]
            findings.add(path, expected=f"a topic with {expected}", came=repr(listen.topic))
            # What hangs on the names of this topic is no problem of its own.
            devices.update(name for _, name in placeholders(path, listen.topic))
            continue
        devices.update(names[:1])
        if not listen.topic:
            findings.add(path, expected="a topic", came="an empty string")
        elif not names and any(level in {"+", "#"} for level in listen.topic.split("/")):
            findings.add(
                path,
                expected="a name in braces for the level of the device, such as plant/{pump}/telemetry",
                came=repr(listen.topic),
                hint="a topic without one is about a single device",
            )
    return frozenset(devices)


def _check_field_names(spec: NodeConfig, findings: Findings) -> None:
    """Look at the names of fields: each means one thing in a condition."""
    arguments = {argument: name for name, command in spec.commands.items() for argument in command.args}
    seen: dict[str, int] = {}
    for index, listen in enumerate(spec.listen):
        if listen.time is not None and "" in listen.time.split("."):
            findings.add(("listen", index, "time"), expected="keys joined by dots", came=repr(listen.time))
        for field, place in listen.fields.items():
            path: KeyPath = ("listen", index, "fields", field)
            if not place or "" in place.split("."):
                findings.add(path, expected="keys joined by dots, or '$'", came=repr(place))
            if field in seen:
                expected = "a field name that stands once in the file"
                findings.add(path, expected=expected, came=f"{field!r}, also in listen[{seen[field]}]")
            elif field in _RESERVED:
                findings.add(path, expected="a field name of your own", came=f"{field!r}, which is built in")
            elif field in arguments:
                came = f"{field!r}, also an argument of commands.{arguments[field]}"
                hint = "a condition could not tell the two apart"
                findings.add(path, expected="a field name that no argument has", came=came, hint=hint)
            seen.setdefault(field, index)


def _check_adapter(node: Node, findings: Findings) -> None:
    adapter = node.spec.model.adapter
    if adapter and not (node.folder / adapter).is_file():
        hint = f"paths are relative to {node.folder}"
        findings.add(("model", "adapter"), expected="a file", came=f"{adapter!r}, which is none", hint=hint)


def _check_knowledge(node: Node, findings: Findings) -> None:
    root = node.folder.resolve()
    for index, pattern in enumerate(node.spec.knowledge):
        path: KeyPath = ("knowledge", index)
        if not isinstance(pattern, str):
            _check_log(pattern, path, findings)
            continue
        parts = PurePosixPath(pattern)
        if not pattern or parts.is_absolute() or ".." in parts.parts:
            findings.add(path, expected="a pattern inside the node's folder", came=repr(pattern))
            continue
        try:
            files = [file for file in node.folder.glob(pattern) if file.is_file()]
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            findings.add(
                path, expected="a pattern of files that can be read", came=f"{shown(pattern)}, {reason}"
            )
            continue
        if not files:
            came = f"{pattern!r}, which matches none"
            hint = f"paths are relative to {node.folder}"
            findings.add(path, expected="a pattern that matches a file", came=came, hint=hint)
        for file in files:
            if not file.resolve().is_relative_to(root):
                came = f"{file.name!r}, a link that leads out of it"
                findings.add(path, expected="files inside the node's folder", came=came)


def _check_log(entry: BusLogConfig, path: KeyPath, findings: Findings) -> None:
    """Look at the topic of lines that are kept."""
    try:
        named = TopicPattern.parse(entry.log).names if entry.log else ("",)
    except TopicInvalid as error:
        expected = str(error).partition("expected ")[2].partition(", came ")[0]
        findings.add((*path, "log"), expected=f"a topic with {expected}", came=repr(entry.log))
        return
    if named:
        findings.add((*path, "log"), expected="a topic filter such as plant/+/log/#", came=repr(entry.log))


def _check_actions(
    trigger: TriggerConfig, path: KeyPath, spec: NodeConfig, findings: Findings, *, names: frozenset[str]
) -> None:
    """Look at what a trigger does, chooses from and says."""
    if trigger.say is not None:
        findings.placeholders((*path, "say"), trigger.say, names=names)
    if trigger.alert is not None:
        findings.placeholders((*path, "alert"), trigger.alert, names=names)
    if trigger.choose is not None and not trigger.choose:
        findings.add((*path, "choose"), expected="at least one command", came="an empty list")
    for index, name in enumerate(trigger.choose or ()):
        if name not in spec.commands:
            findings.unknown((*path, "choose", index), name, what="a command", known=spec.commands)
    if trigger.do is None:
        return
    if len(trigger.do) != 1:
        findings.add((*path, "do"), expected="exactly one command", came=f"{len(trigger.do)} commands")
        return
    for name, arguments in trigger.do.items():
        place: KeyPath = (*path, "do", name)
        if name not in spec.commands:
            findings.unknown(place, name, what="a command", known=spec.commands)
        else:
            check_arguments(arguments, spec.commands[name], path=place, findings=findings, names=names)
