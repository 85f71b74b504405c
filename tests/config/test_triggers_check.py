from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_node.config.load import load_node
from edge_node.errors import ConfigurationInvalid

if TYPE_CHECKING:
    from pathlib import Path

NODE = """\
edge_node: 1
name: hall
listen:
  - topic: plant/{pump}/telemetry
    fields: {speed: speed, mode: mode, load: load}
triggers:
  first: {when: mode == 'auto' && speed > 3}
  silent: {absent: 2m}
  %s
commands:
  stop:
    description: Stop a pump.
    examples: ["stop {pump}"]
    args: {pump: {device: true}}
    publish: {topic: "plant/{pump}/set", payload: {run: false}}
    require: [%s]
"""


def problems(folder: Path, trigger: str, *, require: str = "device.online") -> list[str]:
    file = folder / "node.yaml"
    file.write_text(NODE % (trigger, f'"{require}"'), encoding="utf-8")
    try:
        load_node(folder)
    except ConfigurationInvalid as error:
        return [str(problem).replace(str(file), "node.yaml") for problem in error.problems]
    return []


@pytest.mark.parametrize(
    "trigger",
    [
        "t: {when: 'avg(speed, 10s) > 7.1 && mode in [\"auto\"]', for: 10s, cooldown: 1m}",
        "t: {when: 'max(speed, \"5m\", tumbling) > 3 || changed(mode)'}",
        "t: {when: speed / load > 2, until: speed < 1, debounce: 5s}",
        "t: {every: 5m}",
        "t: {at: ['07:00', '19:30'], when: speed > 5}",
        "t: {all: [first, silent], within: 30s}",
        "t: {any: [first, silent], cooldown: 1h}",
    ],
)
def test_what_the_guide_shows_is_accepted(tmp_path: Path, trigger: str) -> None:
    assert problems(tmp_path, trigger) == []


@pytest.mark.parametrize(
    ("trigger", "told"),
    [
        (
            "t: {when: mode > 3}",
            "'>' compares a text with a number; mode is a text in triggers.first.when (line 7)",
        ),
        (
            "t: {when: speed == 'fast'}",
            "'==' compares a number with a text; speed is a number in triggers.first",
        ),
        ("t: {when: speed + 1}", "it gives a number, and a condition is true or false"),
        ("t: {when: 'avg(mode, 10s) > 3'}", "avg() wants a number, came a text"),
        ("t: {when: speed.contains('x')}", "contains() wants a text, came a number"),
        ("t: {when: '!speed'}", "'!' wants true or false, came a number"),
        ("t: {when: device.online > 3}", "'>' compares true or false with a number"),
        ("t: {when: 'avg(spede, 10s) > 3'}", "did you mean 'speed'?"),
        ("t: {when: 'avg(device, 10s) > 3'}", "expected windows over fields of `listen`"),
        ("t: {when: 'avg(speed, 10 s) > 3'}", "avg"),
        ("t: {when: 'changed(mode)', for: 10s}", "expected changed() in a condition without 'for'"),
        ("t: {when: speed > 3, every: 5m, for: 10s}", "expected 'for' beside a 'when' only"),
        ("t: {every: 5m, at: '07:00'}", "expected one of 'when', 'absent', 'every'"),
        ("t: {at: '7:00'}", "a time of day in quotes, such as '07:00'"),
        ("t: {all: [first, secnd]}", "expected a trigger with 'when' or 'absent' alone: first, silent"),
        ("t: {any: [first], within: 3s}", "expected 'within' beside 'all' only"),
        ("t: {absent: 3s, cooldown: 3s}", "expected 'cooldown' beside 'all' or 'any' or 'when' only"),
        ("t: {every: 5m, do: {stop: {pump: '{pump}'}}}", "a known name in braces: none here, came '{pump}'"),
    ],
)
def test_a_trigger_that_cannot_work_is_told_with_its_line(tmp_path: Path, trigger: str, told: str) -> None:
    found = problems(tmp_path, trigger)

    assert len(found) == 1, found
    assert told in found[0]
    assert found[0].startswith("node.yaml:9: triggers.t")


def test_the_rules_of_a_command_look_at_values_of_now(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, "t: {every: 5m}", require="avg(speed, 10s) < 3")

    assert found.startswith("node.yaml:16: commands.stop.require[0]: expected a condition over values of now")
    assert "look at it over time in a trigger" in found
