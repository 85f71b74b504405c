"""What a scenario expects, held against what came.

Pure functions; knows nothing of how it came about. Everything expected must have come, in any order; a
device must have got no command that is not expected.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge_node.config.scenario_file import OUTCOME_KINDS
from edge_node.rehearsal.outcomes import call
from edge_node.topics import TopicPattern

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_node.config.scenario_file import OutcomeConfig, ScenarioConfig
    from edge_node.rehearsal.outcomes import Outcome

_SENT = "sent"
_HAS_LEFT = frozenset({_SENT, "acknowledged", "verified", "unverified", "unknown"})
"""States of a command that say that its device got it; who only expects it to wait does not expect that."""
_NAMED = frozenset({"command", "denied", "event", "refused"})
_SAID = frozenset({"answer", "reply"})
_CLOSE = 1e-9


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference between what was expected and what came.

    Attributes:
        expected: What was expected, in a line.
        came: What came in its place, a line each; empty where nothing of the kind came.
    """

    expected: str
    came: tuple[str, ...]


def differences(scenario: ScenarioConfig, outcomes: Sequence[Outcome]) -> tuple[Difference, ...]:
    """Return what is missing and what came unexpectedly; nothing where the scenario holds."""
    if scenario.then is None:
        return (Difference("nothing", _lines(outcomes)),) if outcomes else ()
    taken: set[int] = set()
    found: list[Difference] = []
    for expected in scenario.then:
        index = next(
            (
                place
                for place, outcome in enumerate(outcomes)
                if place not in taken and _matches(expected, outcome)
            ),
            None,
        )
        if index is None:
            found.append(Difference(describe(expected), _lines(_similar(expected, outcomes))))
        else:
            taken.add(index)
    return (*found, *_unexpected(outcomes, taken))


def _unexpected(outcomes: Sequence[Outcome], taken: set[int]) -> list[Difference]:
    """Return a difference for each command that reached a device and that nothing expects."""
    expected = {outcomes[index].command_id for index in taken if outcomes[index].state in _HAS_LEFT}
    return [
        Difference("no other command to a device", _lines([outcome]))
        for outcome in outcomes
        if outcome.kind == "command" and outcome.state == _SENT and outcome.command_id not in expected
    ]


def _matches(expected: OutcomeConfig, outcome: Outcome) -> bool:
    """Return whether an outcome is one that is expected; what the expectation leaves out may be anything."""
    kind, name = kind_of(expected)
    return (
        outcome.kind == kind
        and (kind not in _NAMED or outcome.name == name)
        and (kind != "message" or TopicPattern.parse(name).match(outcome.name) is not None)
        and (kind != "command" or outcome.state == (expected.state or _SENT))
        and holds(expected.with_ or {}, dict(outcome.arguments))
        and (expected.payload is None or holds(expected.payload, outcome.payload))
        and expected.topic in {None, outcome.topic}
        and expected.by in {None, outcome.rule}
        and expected.device in {None, outcome.device}
        and expected.code in {None, outcome.code}
        and (expected.from_ is None or expected.from_ in outcome.files)
        and _says(name if kind in _SAID else expected.says, outcome)
        and _in_time(expected, outcome)
    )


def _in_time(expected: OutcomeConfig, outcome: Outcome) -> bool:
    late = expected.before is not None and outcome.at_s >= expected.before
    early = expected.after is not None and outcome.at_s <= expected.after
    return not late and not early


def _says(words: str | None, outcome: Outcome) -> bool:
    """Return whether words are said, whatever their case and the white space between them."""
    return words is None or _plain(words) in _plain(outcome.text)


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def holds(expected: Any, came: Any) -> bool:
    """Return whether what came is what was expected: keys of mappings may be left out, list items not."""
    if isinstance(expected, dict) and isinstance(came, dict):
        return all(key in came and holds(value, came[key]) for key, value in expected.items())
    if isinstance(expected, list) and isinstance(came, list):
        same_length = len(expected) == len(came)
        return same_length and all(holds(one, other) for one, other in zip(expected, came, strict=True))
    if isinstance(expected, bool) or isinstance(came, bool):
        return expected is came
    if isinstance(expected, int | float) and isinstance(came, int | float):
        return math.isclose(expected, came, rel_tol=_CLOSE)
    return bool(expected == came)


def kind_of(expected: OutcomeConfig) -> tuple[str, Any]:
    """Return the one kind that an expectation has, and what stands behind it."""
    said = expected.model_dump(by_alias=True, exclude_unset=True)
    return next((key, value) for key, value in said.items() if key in OUTCOME_KINDS and value is not None)


def describe(expected: OutcomeConfig) -> str:
    """Return an expectation in one line."""
    kind, name = kind_of(expected)
    said = expected.model_dump(by_alias=True, exclude_unset=True)
    words = kind if kind == "declines" else f"{kind} {name}"
    if kind in {"command", "denied"}:
        words = f"{kind} {call(name, expected.with_ or {})}"
    details = [f"{key} {value}" for key, value in said.items() if key not in {kind, "with"}]
    return ", ".join([words, *details])


def _similar(expected: OutcomeConfig, outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return what came that may have been meant: of the same kind and name, else all that people see."""
    kind, name = kind_of(expected)
    alike = {"command", "denied"} if kind in {"command", "denied"} else {kind}
    same = [outcome for outcome in outcomes if outcome.kind in alike and outcome.name == name]
    return same or [outcome for outcome in outcomes if outcome.kind == kind or outcome.kind != "message"]


def _lines(outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    return tuple(
        line
        for outcome in outcomes
        for line in (f"{outcome.at_s:.1f}s {outcome.line}", *(f"  {rule}" for rule in outcome.rules))
    )
