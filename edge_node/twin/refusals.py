"""What is not taken up from devices, counted, and told once for as long as it goes on.

Knows names and counts; knows nothing of what is kept.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from edge_node.messages import Message

log = structlog.get_logger(__name__)

MAX_DEVICE_NAME = 64
"""Characters of a device's name; a topic with a longer one is not taken up."""
_QUIET_S = 60.0


class Refusals:
    """Counts of what was refused, by kind; the log tells the first of a kind after a quiet minute.

    Attributes:
        devices: Messages of devices that found no room, or have no usable name.
        untimely: Messages whose own time cannot be read, or lies in the future.
        unusable: Values that are of no use, or of another type than before.
    """

    def __init__(self) -> None:
        self.devices = 0
        self.untimely = 0
        self.unusable = 0
        self._told_at: dict[str, float] = {}

    def device(self, message: Message, *, known: int, limit: int, full: bool) -> None:
        """Count a message of a device that is not taken up."""
        self.devices += 1
        expected = "room for another device" if full else f"a device name of 1 to {MAX_DEVICE_NAME} signs"
        hint = "raise limits.devices" if full else ""
        self._tell("device refused", message, expected=expected, devices=known, limit=limit, hint=hint)

    def time(self, message: Message, *, expected: str, came: str) -> None:
        """Count a message whose own time is of no use."""
        self.untimely += 1
        hint = "look at the clocks of the device and of this machine, and at `time` in the node file"
        self._tell("device time refused", message, expected=expected, came=came, hint=hint)

    def value(self, message: Message, *, node: str, field: str, expected: str, came: str) -> None:
        """Count a value that is of no use, or of another type than before."""
        self.unusable += 1
        self._tell("device value doubtful", message, node=node, field=field, expected=expected, came=came)

    def _tell(self, event: str, message: Message, **facts: object) -> None:
        at = message.received_at
        if abs(at - self._told_at.get(event, -math.inf)) > _QUIET_S:
            log.warning(event, topic=message.topic, **facts)
        self._told_at[event] = at


def names_device(name: str) -> bool:
    """Return whether a level of a topic may name a device."""
    return 0 < len(name) <= MAX_DEVICE_NAME and name.isprintable() and not name.isspace()
