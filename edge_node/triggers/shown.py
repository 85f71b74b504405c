"""What one step showed of a device, for those who are told why a trigger fired.

Knows what is remembered of a device and its triggers; knows no twin and no request.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_node.triggers.seen import Seen
    from edge_node.triggers.watches import Trigger


@dataclass(frozen=True, slots=True)
class Shown:
    """A moment of one device, looked at only once something fires or ends.

    Attributes:
        at: The time of the step.
        values: What was known of the device then, by name, and `device` itself.
        seen: What is remembered of it; None for a time of the clock that is about no device.
        moments: What belongs to the message of the step alone, by the name of its window.
    """

    at: float
    values: Mapping[str, Any] = field(default_factory=dict)
    seen: Seen | None = None
    moments: Mapping[str, bool] = field(default_factory=dict)

    @property
    def fields(self) -> dict[str, Any]:
        """The values of its fields."""
        return {name: value for name, value in self.values.items() if name != "device"}

    def evidence(self, trigger: Trigger) -> dict[str, Any]:
        """Return why a trigger fired: its conditions, and the values and windows that they saw."""
        windows = self.seen.values(trigger.windows, self.at, moments=self.moments) if self.seen else {}
        return trigger.evidence(self.values, windows=windows)
