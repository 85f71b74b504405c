"""Sentences that lead to several commands, measured against one right call or several."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edge_node.config.loaded import Node
from edge_node.config.models import NodeConfig
from edge_node.errors import MeasureInvalid
from edge_node.evaluation.command_cases import CommandFiles
from edge_node.evaluation.commands import TIERS, CommandTrial, command_figures
from edge_node.observe.progress import LoggedProgress

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_node.evaluation.commands import CommandOutcome

LEVEL = {"type": "integer", "minimum": 0, "maximum": 100}
NODE = {
    "edge_node": 1,
    "name": "home",
    "ask": True,
    "commands": {
        f"dim_{lamp}": {
            "description": f"Dim the {lamp} lamp.",
            "examples": [f"dim [the] {lamp} lamp to {{level}}"],
            "args": {"level": LEVEL},
            "publish": {"topic": f"lamp/{lamp}/set", "payload": {"level": "{level}"}},
        }
        for lamp in ("desk", "wall")
    },
}
WORDS = "dim the desk lamp to 30 and dim the wall lamp to 40"
DESK: dict[str, Any] = {"name": "dim_desk", "arguments": {"level": 30}}
WALL: dict[str, Any] = {"name": "dim_wall", "arguments": {"level": 40}}


class AllAlike:
    """Every sentence has the same vector, so that words alone settle one."""

    name = "all-alike"

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.full((len(texts), 4), 0.5, dtype=np.float32)


def measured(
    folder: Path, *expected: Any, tiers: tuple[str, ...] = ("template",), words: str = WORDS
) -> tuple[CommandOutcome, ...]:
    file = folder / "cases.jsonl"
    lines = [{"utterance": words, "expected": each, "tools": []} for each in expected]
    file.write_text("\n".join(map(json.dumps, lines)))
    node = Node(NodeConfig.model_validate(NODE), folder)
    trial = CommandTrial(embedder=AllAlike(), model=None, tiers=tiers, folder=folder, node=node)
    return trial.run(CommandFiles(None).cases(file), progress=LoggedProgress())


def test_several_commands_are_exact_where_the_case_wants_these_in_this_order(tmp_path: Path) -> None:
    outcomes = measured(tmp_path, [DESK, WALL], [WALL, DESK], [DESK, WALL, WALL])

    assert [outcome.exact for outcome in outcomes] == [True, False, False]
    assert [call for call, _ in outcomes[0].calls] == ["dim_desk", "dim_wall"]
    assert command_figures(outcomes).name == pytest.approx(1 / 3)


def test_several_commands_are_wrong_where_one_was_wanted_be_it_the_first_or_the_last(tmp_path: Path) -> None:
    outcomes = measured(tmp_path, DESK, WALL)

    assert [(outcome.exact, outcome.exact_spoken) for outcome in outcomes] == [(False, False)] * 2
    assert command_figures(outcomes).missed == 0.0


def test_several_commands_are_a_false_action_where_none_was_wanted(tmp_path: Path) -> None:
    figures = command_figures(measured(tmp_path, "none"))

    assert (figures.exact, figures.false_actions) == (0.0, 1.0)


def test_one_command_is_wrong_where_several_are_wanted(tmp_path: Path) -> None:
    outcomes = measured(tmp_path, [DESK, WALL], DESK, words="dim the desk lamp to 30")

    assert [outcome.exact for outcome in outcomes] == [False, True]


def test_several_commands_of_a_tier_that_may_not_propose_are_left(tmp_path: Path) -> None:
    (outcome,) = measured(tmp_path, [DESK, WALL], tiers=TIERS[1:])

    assert (outcome.calls, outcome.tier, outcome.exact) == ((), "left", False)


@pytest.mark.parametrize("expected", [[], [DESK], [DESK, "none"]])
def test_a_list_of_calls_holds_two_or_more(tmp_path: Path, expected: list[Any]) -> None:
    with pytest.raises(MeasureInvalid, match="two calls or more"):
        measured(tmp_path, expected)
