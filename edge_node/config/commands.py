"""What the keys of a command mean to each other.

Knows arguments, templates, topics and payloads by their names in braces; a template's grammar is judged
where templates are matched.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from edge_node.config.findings import names_of, placeholders
from edge_node.config.wording import shown
from edge_node.errors import TopicInvalid
from edge_node.topics import VERSION, check_topic, is_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_node.config.findings import Findings
    from edge_node.config.models import ArgumentConfig, CommandConfig, NodeConfig
    from edge_node.config.source import KeyPath

BUILT_IN = ("command_id", "command_time", "command_count")
"""Names in a payload that every command has: its identifier, its time, and its number on its topic."""
_NAME = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_WHOLE_NAME = re.compile(r"\{[a-z][a-z0-9_]*\}")
_TYPES: Mapping[str, tuple[type, ...]] = {
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "boolean": (bool,),
}


def check_commands(spec: NodeConfig, fields: frozenset[str], findings: Findings) -> None:
    """Look at every command of a node."""
    for name, command in spec.commands.items():
        path: KeyPath = ("commands", name)
        _check_device(command, spec, path, findings)
        for argument, config in command.args.items():
            _check_argument(config, (*path, "args", argument), findings)
            _check_relative(command, argument, fields, (*path, "args", argument, "relative"), findings)
        _check_examples(command, path, findings)
        _check_publish(command, path, findings, fields=fields)
        _check_expect(command, fields, path, findings)
        names = fields | set(command.args) | {"device", "origin"}
        for index, source in enumerate(command.require):
            findings.condition((*path, "require", index), source, names=names)
        if command.approval.when not in {"never", "always"}:
            place: KeyPath = (
                (*path, "approve") if isinstance(command.approve, str) else (*path, "approve", "when")
            )
            findings.condition(place, command.approval.when, names=names)


def check_arguments(
    values: Mapping[str, Any],
    command: CommandConfig,
    *,
    path: KeyPath,
    findings: Findings,
    names: frozenset[str],
) -> None:
    """Look at the arguments that a trigger gives a command: known, complete and within their ranges."""
    findings.placeholders(path, dict(values), names=names)
    for name, value in values.items():
        if name not in command.args:
            findings.unknown((*path, name), name, what="an argument of the command", known=command.args)
        elif (
            not _filled_later(value)
            and _has_values(command.args[name])
            and not _fits(value, command.args[name])
        ):
            findings.add((*path, name), expected=_asked_for(command.args[name]), came=shown(value))
    for name, argument in command.args.items():
        if name not in values and argument.default is None:
            findings.add(path, expected=f"the argument {name!r}", came="nothing", hint="it has no default")


def _check_device(command: CommandConfig, spec: NodeConfig, path: KeyPath, findings: Findings) -> None:
    """Look for the argument that says which device is meant; a node of a single device needs none."""
    devices = [name for name, argument in command.args.items() if argument.device]
    single = any(not _NAME.search(listen.topic) for listen in spec.listen)
    looks = command.expect is not None or command.require
    if looks and not devices and not single:
        expected = "an argument with 'device: true' beside 'require' and 'expect'"
        hint = "they look at the state of a device, and the command must say of which"
        findings.add((*path, "args"), expected=expected, came="none", hint=hint)


def _check_argument(argument: ArgumentConfig, path: KeyPath, findings: Findings) -> None:
    if argument.device == (argument.type is not None):
        came = "both" if argument.device else "neither"
        findings.add(path, expected="either 'type' or 'device: true'", came=came)
        return
    bounds = {"minimum": argument.minimum, "maximum": argument.maximum}
    for key, bound in bounds.items():
        if bound is not None and argument.type not in {"integer", "number"}:
            findings.add(
                (*path, key), expected=f"{key!r} for an integer or a number only", came=_kind(argument)
            )
    if argument.enum is not None and argument.type != "string":
        findings.add((*path, "enum"), expected="'enum' for a string only", came=_kind(argument))
    if not _has_values(argument):
        expected = f"at least the minimum of {argument.minimum:g}"
        findings.add((*path, "maximum"), expected=expected, came=f"{argument.maximum:g}")
    elif argument.default is not None and not _fits(argument.default, argument):
        findings.add((*path, "default"), expected=_asked_for(argument), came=shown(argument.default))


def _check_relative(
    command: CommandConfig, name: str, fields: frozenset[str], path: KeyPath, findings: Findings
) -> None:
    """Look whether an argument that follows a field is a number, and the field is known."""
    argument = command.args[name]
    if argument.relative is None:
        return
    if argument.type not in {"integer", "number"}:
        findings.add(path, expected="'relative' for an integer or a number only", came=_kind(argument))
    field = command.followed(name)
    if not field:
        hint = f"name the field, or let 'expect' compare one with {name}"
        findings.add(path, expected="a 'field' that the argument follows", came="none", hint=hint)
    elif field not in fields:
        findings.unknown((*path, "field"), field, what="a field", known=fields)
    if argument.relative.step is None and (argument.minimum is None or argument.maximum is None):
        findings.add(path, expected="'step', or a minimum and a maximum to take a tenth of", came="neither")


def _check_examples(command: CommandConfig, path: KeyPath, findings: Findings) -> None:
    needed = {
        name for name, argument in command.args.items() if argument.default is None and not argument.optional
    }
    for index, example in enumerate(command.examples):
        place: KeyPath = (*path, "examples", index)
        # hassil writes {argument} or {argument:result}; the part in front names the argument.
        said = {name.partition(":")[0] for _, name in placeholders(place, example)}
        for name in sorted(said - set(command.args)):
            findings.unknown(place, f"{{{name}}}", what="arguments in braces", known=command.args)
        for name in sorted(needed - said):
            hint = f"say {{{name}}} in it, or give the argument a default"
            findings.add(place, expected=f"the argument {{{name}}}", came=shown(example), hint=hint)


def _check_publish(
    command: CommandConfig, path: KeyPath, findings: Findings, *, fields: frozenset[str]
) -> None:
    place: KeyPath = (*path, "publish", "topic")
    topic = command.publish.topic
    findings.placeholders(place, topic, names=command.args)
    filled = _NAME.sub("x", topic)
    try:
        check_topic(filled)
    except TopicInvalid as error:
        expected = str(error).partition("expected ")[2].partition(", came ")[0]
        findings.add(place, expected=f"a topic with {expected}", came=repr(topic))
    if re.search(r"[{}]", filled):
        findings.add(place, expected="a topic with braces around names only", came=repr(topic))
    if f"{filled}/".startswith((f"{VERSION}/", "$")):
        findings.add(place, expected=f"a device's topic, outside {VERSION} and $", came=repr(topic))
    for name in _NAME.findall(topic):
        argument = command.args.get(name)
        if (
            argument
            and not argument.device
            and argument.type in {"string", "number", "boolean"}
            and argument.enum is None
        ):
            expected = "devices, integers or arguments with an enum in a topic"
            findings.add(place, expected=expected, came=f"{{{name}}}, {_kind(argument)}")
    payload: KeyPath = (*path, "publish", "payload")
    names = {*command.args, *BUILT_IN, *fields}
    findings.placeholders(payload, command.publish.payload, names=names)
    _check_unquoted(payload, command.publish.payload, findings, names=names)
    _check_fields(command, payload, findings, fields=fields)


def _check_fields(
    command: CommandConfig, path: KeyPath, findings: Findings, *, fields: frozenset[str]
) -> None:
    """Look at fields of the device in a payload: each must be known before the command may leave."""
    required = set().union(*map(names_of, command.require))
    said = {name for _, name in placeholders(path, command.publish.payload)}
    for name in sorted((said & fields) - set(command.args) - required):
        expected = f"a condition in 'require' over the field {name!r}"
        hint = "what the payload takes up must be known, and an unknown value denies only there"
        findings.add(path, expected=expected, came="none", hint=hint)


def _check_unquoted(path: KeyPath, value: Any, findings: Findings, *, names: set[str]) -> None:
    """Look for `{percent}` without quotes, which YAML reads as a mapping with nothing in it."""
    if isinstance(value, dict):
        key = next(iter(value), "")
        if len(value) == 1 and value[key] is None and key in names:
            expected = f"'{{{key}}}' in quotes"
            findings.add(
                path, expected=expected, came=f"{{{key}}} without", hint="YAML takes it for a mapping"
            )
        for name, item in value.items():
            _check_unquoted((*path, name), item, findings, names=names)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_unquoted((*path, index), item, findings, names=names)


def _check_expect(command: CommandConfig, fields: frozenset[str], path: KeyPath, findings: Findings) -> None:
    expect = command.expect
    if expect is None:
        if command.limit.step is not None:
            came = "a command without 'expect'"
            findings.add((*path, "limit", "step"), expected="'step' beside an 'expect'", came=came)
        return
    if expect.field not in fields:
        findings.unknown((*path, "expect", "field"), expect.field, what="a field", known=fields)
    place: KeyPath = (*path, "expect", "equals")
    if isinstance(expect.equals, dict | list) or expect.equals is None:
        expected = "a value, or the name of an argument"
        findings.add(place, expected=expected, came=shown(expect.equals))
    elif isinstance(expect.equals, str) and _WHOLE_NAME.fullmatch(expect.equals):
        hint = "leave the braces out"
        findings.add(place, expected="the name of an argument", came=repr(expect.equals), hint=hint)
    elif command.limit.step is not None and not _is_number(expect.equals, command):
        expected = "'step' where 'expect' equals a number"
        findings.add((*path, "limit", "step"), expected=expected, came=shown(expect.equals))


def _is_number(equals: Any, command: CommandConfig) -> bool:
    if isinstance(equals, str):
        return equals in command.args and command.args[equals].type in {"integer", "number"}
    return isinstance(equals, int | float) and not isinstance(equals, bool)


def _has_values(argument: ArgumentConfig) -> bool:
    """Return whether the range of an argument holds anything."""
    return argument.minimum is None or argument.maximum is None or argument.minimum <= argument.maximum


def _filled_later(value: Any) -> bool:
    return isinstance(value, str) and _NAME.search(value) is not None


def _fits(value: Any, argument: ArgumentConfig) -> bool:
    if argument.type is None:
        return isinstance(value, str) and is_name(value)
    if not isinstance(value, _TYPES[argument.type]) or isinstance(value, bool) != (
        argument.type == "boolean"
    ):
        return False
    if argument.enum is not None and value not in argument.enum:
        return False
    if not isinstance(value, int | float):
        return True
    too_low = argument.minimum is not None and value < argument.minimum
    return not too_low and not (argument.maximum is not None and value > argument.maximum)


def _kind(argument: ArgumentConfig) -> str:
    return f"the type {argument.type}" if argument.type else "a device"


def _asked_for(argument: ArgumentConfig) -> str:
    if argument.enum is not None:
        return "one of " + ", ".join(repr(value) for value in argument.enum)
    words = {"integer": "an integer", "number": "a number", "string": "a string", "boolean": "true or false"}
    least = f" from {argument.minimum:g}" if argument.minimum is not None else ""
    greatest = f" up to {argument.maximum:g}" if argument.maximum is not None else ""
    return words.get(argument.type or "", "the name of a device") + least + greatest
