from __future__ import annotations

from typing import Any

import pytest

from edge_node.lifecycle.publication import is_of, payload_of

VALUES = {"percent": 40, "command_id": "c-1"}
FILLED = {**VALUES, "command_count": 7, "mode": "auto"}


@pytest.mark.parametrize(
    "template",
    [
        {"speed": "{percent}"},
        {"speed": "{percent}", "header": {"id": "{command_count}", "ids": ["{command_id}", 1]}},
        {"text": "at {percent} in {mode}, number {command_count}"},
        "set {percent} {mode}",
        "on",
    ],
)
def test_a_template_knows_what_it_gave_whatever_else_it_took_up(template: Any) -> None:
    assert is_of(payload_of(template, FILLED), template, VALUES)


@pytest.mark.parametrize(
    ("template", "later"),
    [
        ({"speed": "{percent}"}, {"rpm": "{percent}"}),
        ({"speed": "{percent}"}, {"speed": "{percent}", "ramp": 1}),
        ({"speed": "{percent}"}, {"speed": 50}),
        ({"ids": ["{command_count}"]}, {"ids": ["{command_count}", 2]}),
        ({"text": "at {percent} in {mode}"}, {"text": "to {percent} in {mode}"}),
        ("set {percent}", {"speed": "{percent}"}),
    ],
)
def test_a_template_that_was_changed_gave_something_else(template: Any, later: Any) -> None:
    assert not is_of(payload_of(template, FILLED), later, VALUES)
