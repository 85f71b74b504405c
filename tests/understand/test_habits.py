"""Orders as people say them, for the nodes that ship: read from `habits`, understood without any model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edge_node.config.load import load_node
from edge_node.messages import CommandDraft, Request, RequestKind
from edge_node.understand.cascade import Cascade
from tests.understand.habits_world import WORLDS, HabitsTwin

if TYPE_CHECKING:
    from edge_node.protocols import Embedder

ROOT = Path(__file__).parents[2]
HABITS = Path(__file__).parent / "habits"


def _said(name: str) -> list[dict[str, Any]]:
    lines = (HABITS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("name", sorted(WORLDS))
def test_orders_said_by_habit_are_understood_and_nothing_else_moves_anything(
    name: str, embedder: Embedder
) -> None:
    cascade = Cascade([load_node(ROOT / "nodes" / name)], twin=HabitsTwin(name), embedder=embedder)
    wrong, moved = [], []
    cases = _said(name)
    for case in cases:
        draft = cascade.draft(Request("r1", RequestKind.ASK, "m1", 1.0, text=case["text"], user="ada"))
        call: Any = "none"
        if isinstance(draft, CommandDraft):
            call = {"name": draft.name, "arguments": dict(draft.arguments)}
        if call != case["expected"]:
            wrong.append((case["text"], call))
            moved += [case["text"]] if case["expected"] == "none" else []
    assert not moved
    assert len(cases) == 100
    assert len(wrong) <= 2, wrong
