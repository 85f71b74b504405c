"""What the keys of a trigger mean to each other.

Knows which keys stand together and which fields conditions may look at over time; knows nothing of what a
trigger does once it fires.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_node.conditions.windows import OF_MOMENT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_node.config.findings import Findings
    from edge_node.config.models import NodeConfig, TriggerConfig
    from edge_node.config.source import KeyPath

_STARTS = ("when", "absent", "every", "at", "all", "any")
_BESIDE: dict[str, frozenset[str]] = {
    "for": frozenset({"when"}),
    "until": frozenset({"when"}),
    "debounce": frozenset({"when"}),
    "within": frozenset({"all"}),
    "cooldown": frozenset({"when", "all", "any"}),
}
"""Key to those beside one of which it may stand."""


def check_shape(trigger: TriggerConfig, path: KeyPath, spec: NodeConfig, findings: Findings) -> None:
    """Look at which keys of a trigger stand together, and at the triggers it names."""
    given = [key for key in _STARTS if getattr(trigger, key) is not None]
    timed = {"every", "at"} & set(given)
    if len(given) != 1 and not (timed and len(given) == 2 and "when" in given):  # noqa: PLR2004 - a time and a condition
        listed = ", ".join(f"'{key}'" for key in _STARTS)
        came = "neither" if not given else "both " + " and ".join(given)
        expected = "either 'when' or 'absent'" if set(given) <= {"when", "absent"} else f"one of {listed}"
        findings.add(path, expected=expected, came="both" if given == ["when", "absent"] else came)
    starts = set() if timed else set(given)
    for key, beside in _BESIDE.items():
        value = getattr(trigger, "for_" if key == "for" else key)
        if value is not None and not beside & starts:
            listed = " or ".join(f"'{one}'" for one in sorted(beside))
            came = f"no {listed}" if not timed else f"'{key}' beside {min(timed)!r}"
            article = "a " if listed == "'when'" else ""
            findings.add((*path, key), expected=f"{key!r} beside {article}{listed} only", came=came)
    if trigger.alert is not None and (timed or trigger.within is not None):
        other = "within" if trigger.within is not None else min(timed)
        came = f"'alert' beside {other!r}"
        hint = "it would never be told that the alert is over"
        findings.add((*path, "alert"), expected="a trigger with episodes that end", came=came, hint=hint)
    if trigger.do is not None and trigger.choose is not None:
        findings.add((*path, "choose"), expected="either 'do' or 'choose'", came="both")
    for key in ("all", "any"):
        _check_named(getattr(trigger, key) or (), (*path, key), spec, findings)


def _check_named(names: Iterable[str], path: KeyPath, spec: NodeConfig, findings: Findings) -> None:
    """Look at the triggers that a trigger names: each has episodes of its own for a device."""
    usable = {
        name
        for name, other in spec.triggers.items()
        if not (other.all or other.any or other.every is not None or other.at is not None)
    }
    for index, name in enumerate(names):
        if name not in usable:
            what = "a trigger with 'when' or 'absent' alone"
            findings.unknown((*path, index), name, what=what, known=usable)


def check_conditions(
    trigger: TriggerConfig, path: KeyPath, fields: frozenset[str], findings: Findings
) -> None:
    """Look at the conditions of a trigger."""
    for key in ("when", "until"):
        source = getattr(trigger, key)
        if source is None:
            continue
        names = fields | {"device"}
        condition = findings.condition((*path, key), source, names=names, timed=fields or {""})
        windows = condition.windows if condition else ()
        passing = next((window.function for window in windows if window.function in OF_MOMENT), "")
        if passing and key == "when" and trigger.alert is not None and trigger.until is None:
            expected = f"'until' beside an alert about {passing}()"
            findings.add(
                (*path, "alert"), expected=expected, came="none", hint="it is over as soon as it is seen"
            )
        held = [name for name, value in (("for", trigger.for_), ("debounce", trigger.debounce)) if value]
        if passing and (held or trigger.every is not None or trigger.at is not None):
            beside = held[0] if held else "every" if trigger.every is not None else "at"
            expected = f"{passing}() in a condition without {beside!r}"
            hint = "it is seen with one message only"
            findings.add((*path, key), expected=expected, came="both", hint=hint)
