"""Where a command may go from where it is, and what its device has shown so far.

Pure state over times and reports; knows no node file, no lock and no clock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from edge_node.errors import TransitionInvalid
from edge_node.messages import CommandState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_node.messages import Command, Observation, Refusal

TRANSITIONS: Mapping[CommandState, frozenset[CommandState]] = {
    CommandState.PROPOSED: frozenset(
        {CommandState.DENIED, CommandState.AWAITING_APPROVAL, CommandState.SENT}
    ),
    CommandState.AWAITING_APPROVAL: frozenset(
        {CommandState.SENT, CommandState.CANCELLED, CommandState.EXPIRED}
    ),
    CommandState.SENT: frozenset(
        {
            CommandState.ACKNOWLEDGED,
            CommandState.VERIFIED,
            CommandState.EXPIRED,
            CommandState.CANCELLED,
            CommandState.UNKNOWN,
        }
    ),
    CommandState.ACKNOWLEDGED: frozenset({CommandState.VERIFIED, CommandState.UNVERIFIED}),
    CommandState.DENIED: frozenset(),
    CommandState.VERIFIED: frozenset(),
    CommandState.UNVERIFIED: frozenset(),
    CommandState.EXPIRED: frozenset(),
    CommandState.CANCELLED: frozenset(),
    CommandState.UNKNOWN: frozenset(),
}
"""State to the states that may follow it. A device may report sooner than the broker acknowledges."""
_WAS_SENT = frozenset(
    {
        CommandState.SENT,
        CommandState.ACKNOWLEDGED,
        CommandState.VERIFIED,
        CommandState.UNVERIFIED,
        CommandState.UNKNOWN,
    }
)
MAX_REFUSALS = 8
"""Refused approvals that are kept of one command, the last ones."""
_FLOAT32 = 1e-6
"""Relative difference that a device storing a number in single precision may make, with room to spare."""


def moved(command: Command, state: CommandState, *, detail: str) -> Command:
    """Return a command in its next state.

    Raises:
        TransitionInvalid: That state does not follow the one it is in.
    """
    if state not in TRANSITIONS[command.state]:
        following = ", ".join(sorted(TRANSITIONS[command.state])) or "no further state"
        raise TransitionInvalid(command.id, expected=f"{following} after {command.state}", came=state)
    return replace(command, state=state, detail=detail)


def is_open(command: Command) -> bool:
    """Return whether a command may still change: one without an expectation ends at the broker."""
    if command.state is CommandState.ACKNOWLEDGED:
        return command.expectation is not None
    return bool(TRANSITIONS[command.state])


def sent_at(command: Command) -> float | None:
    """Return when a command was sent, as far as its record tells; None where it never was."""
    if command.sent_at is not None:
        return command.sent_at
    # Records of earlier versions do not tell, but their states do.
    return command.created_at if command.state in _WAS_SENT else None


@dataclass(slots=True)
class Life:
    """A command that may still change.

    Attributes:
        command: The command as it is now.
        since: When it came into its state, seconds since the epoch.
        sent_at: When it was sent; only what its device says after that shows anything.
        came: What its device reported last of the expected field, or None.
        came_at: When it reported that, seconds since the epoch.
    """

    command: Command
    since: float
    sent_at: float
    came: Any = None
    came_at: float = 0.0

    @property
    def deadline(self) -> float:
        """When its state ends by the passing of time."""
        expectation = self.command.expectation
        if self.command.state is CommandState.ACKNOWLEDGED and expectation is not None:
            return self.since + expectation.within_s
        return self.command.expires_at

    def enter(self, state: CommandState, *, detail: str, at: float) -> Command:
        """Return the command in its next state, which it has from now on.

        Raises:
            TransitionInvalid: That state does not follow the one it is in.
        """
        self.command = moved(self.command, state, detail=detail)
        self.since = at
        if state is CommandState.SENT:
            self.sent_at = at
            self.command = replace(self.command, sent_at=at)
        return self.command

    def refuse(self, refusal: Refusal) -> None:
        """Keep a refusal with the command, in place of one of the same user by the same rule."""
        others = [
            each for each in self.command.refusals if (each.user, each.rule) != (refusal.user, refusal.rule)
        ]
        self.command = replace(self.command, refusals=(*others, refusal)[-MAX_REFUSALS:])

    def is_shown_by(self, observation: Observation) -> bool:
        """Return whether a report shows that the command was carried out; take note of what it says."""
        command, expectation = self.command, self.command.expectation
        if expectation is None or CommandState.VERIFIED not in TRANSITIONS[command.state]:
            return False
        if observation.node != command.node or observation.device != (command.device or command.node):
            return False
        if observation.observed_at <= self.sent_at or expectation.field not in observation.fields:
            return False
        self.came, self.came_at = observation.fields[expectation.field], observation.observed_at
        return _equal(expectation.value, self.came)

    def told(self) -> str:
        """Return what the device has shown, in a sentence."""
        expectation = self.command.expectation
        return f"{expectation.field} = {_shown(self.came)}" if expectation else ""

    def lapse(self) -> tuple[CommandState, str]:
        """Return the state that follows when time is up, and why, in a sentence."""
        command, expectation = self.command, self.command.expectation
        if command.state is CommandState.ACKNOWLEDGED and expectation is not None:
            wanted = f"{expectation.field} = {_shown(expectation.value)} within {expectation.within_s:g} s"
            age_s = max(0.0, self.deadline - self.came_at)
            came = "nothing" if self.came is None else f"{_shown(self.came)}, {age_s:.1f} s old by then"
            return CommandState.UNVERIFIED, f"expected {wanted}, came {came}"
        allowed_s = command.expires_at - command.created_at
        by = "an approval" if command.state is CommandState.AWAITING_APPROVAL else "the broker to take it"
        return CommandState.EXPIRED, f"expected {by} within {allowed_s:g} s, came nothing"


def _equal(expected: Any, came: Any) -> bool:
    """Return whether a report says what was expected: numbers but for rounding, all else exactly."""
    if isinstance(expected, bool) or isinstance(came, bool):
        return expected is came
    if isinstance(expected, int | float) and isinstance(came, int | float):
        return math.isclose(expected, came, rel_tol=_FLOAT32, abs_tol=_FLOAT32 * 1e-3)
    return bool(expected == came)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.10g}"
    return str(value)[:80]
