"""What the node file says of one command: the device it goes to, and what shows that it was done.

Pure functions; knows no state of a command.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_node.messages import Expectation

if TYPE_CHECKING:
    from edge_node.config.models import CommandConfig
    from edge_node.messages import Command, CommandDraft


def device_of(spec: CommandConfig | None, draft: CommandDraft) -> str:
    """Return the device that a draft names; empty where it names none."""
    names = (name for name, argument in spec.args.items() if argument.device) if spec else ()
    return next((str(draft.arguments[name]) for name in names if name in draft.arguments), "")


def expectation_of(spec: CommandConfig, command: Command) -> Expectation | None:
    """Return what shows that a command was carried out, or None where nothing can."""
    if spec.expect is None:
        return None
    equals = spec.expect.equals
    value = command.arguments.get(equals, equals) if isinstance(equals, str) else equals
    return Expectation(spec.expect.field, value, spec.expect.within)
