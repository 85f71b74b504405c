"""What a trigger does without being asked: its `do`, its `choose`, its `explain`.

Knows node files and the last state of devices; knows nothing of sentences or models.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from edge_node.messages import CommandDraft, NothingDraft, Open, Origin
from edge_node.topics import TopicPattern

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_node.config.loaded import Node
    from edge_node.messages import Draft, Request
    from edge_node.protocols import Twin

_NAME = re.compile(r"\{([a-z][a-z0-9_]*)\}")


class _NotKnown(Exception):
    """A name in braces for which there is no value now."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Rules:
    """The triggers of some nodes, as rules.

    Args:
        nodes: The nodes.
        twin: Where the fields of the device come from.
    """

    def __init__(self, nodes: Sequence[Node], *, twin: Twin) -> None:
        self._nodes = {node.name: node for node in nodes}
        self._twin = twin

    def draft(self, request: Request) -> Draft | Open:
        """Return what the trigger of an alarm says is to be done."""
        node = self._nodes.get(request.node)
        trigger = node.spec.triggers.get(request.trigger) if node is not None else None
        if node is None or trigger is None:
            return NothingDraft(
                request.node, f"there is no trigger {request.node}.{request.trigger} any more"
            )
        if trigger.do:
            name, arguments = next(iter(trigger.do.items()))
            return self._command(request, node=node, name=name, arguments=arguments)
        if trigger.choose:
            return Open(node.name, question=False, commands=tuple(trigger.choose))
        if trigger.explain:
            return Open(node.name, question=True)
        return NothingDraft(node.name, "the trigger only tells")

    def _command(
        self, request: Request, *, node: Node, name: str, arguments: Mapping[str, Any]
    ) -> CommandDraft | NothingDraft:
        command = node.spec.commands.get(name)
        if command is None:
            return NothingDraft(node.name, f"there is no command {name} in {node.name}")
        known = self._known(request, node)
        values: dict[str, Any] = {
            key: argument.default for key, argument in command.args.items() if argument.default is not None
        }
        for key, value in arguments.items():
            try:
                values[key] = _filled(value, known)
            except _NotKnown as missing:
                device = request.device or "the device"
                return NothingDraft(
                    node.name, f"{name} needs {missing.name} of {device}, which is not known now"
                )
            argument = command.args.get(key)
            if argument is not None and argument.type == "integer" and isinstance(values[key], float):
                if not values[key].is_integer():
                    reason = f"{name} takes a whole number for {key}, and {values[key]:g} is none"
                    return NothingDraft(node.name, reason)
                values[key] = int(values[key])
        return CommandDraft(node.name, name, values, Origin.RULE)

    def _known(self, request: Request, node: Node) -> dict[str, Any]:
        """Return the names that may stand in braces: the device's fields, and the device by its names."""
        state = self._twin.state(node.name, request.device) if request.device else None
        known = dict(state.fields) if state is not None else {}
        if request.device:
            for listen in node.spec.listen:
                names = TopicPattern.parse(listen.topic).names
                known.update(dict.fromkeys(names[:1], request.device))
            known.setdefault("device", request.device)
        return known


def _filled(value: Any, known: Mapping[str, Any]) -> Any:
    """Return `value` with names in braces filled in; nothing but a name keeps the type of its value."""
    if not isinstance(value, str):
        return value
    whole = _NAME.fullmatch(value)
    if whole:
        return _value_of(whole[1], known)
    return _NAME.sub(lambda found: str(_value_of(found[1], known)), value)


def _value_of(name: str, known: Mapping[str, Any]) -> Any:
    if name not in known:
        raise _NotKnown(name)
    return known[name]
