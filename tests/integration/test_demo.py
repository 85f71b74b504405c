"""`edge-node demo --once`: the tour passes, and it fails where what it shows is not so."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from edge_node.cli.options import demo_config
from tests.integration.edges import copy_nodes, edge_node

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.models

TOUR_S = 280.0


def _toured(*words: str, home: Path) -> tuple[int, list[dict[str, Any]]]:
    done = edge_node("demo", "--once", "--json", *words, home=home, timeout_s=TOUR_S)
    assert done.stdout, done.stderr
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def test_the_tour_prints_six_steps_that_are_all_ok(home: Path) -> None:
    status, steps = _toured(home=home)
    assert [step["step"] for step in steps] == [1, 2, 3, 4, 5, 6]
    assert all({"step", "ok", "input", "output", "ms"} <= step.keys() for step in steps)
    assert [step["title"] for step in steps if not step["ok"]] == []
    assert status == 0
    assert "2,000 operating hours" in steps[1]["output"]["text"]
    assert not (home / demo_config().relative_to(demo_config().parents[1])).exists()


def test_the_tour_shows_what_the_given_nodes_say_and_fails_where_they_allow_too_much(
    home: Path, tmp_path: Path
) -> None:
    nodes = copy_nodes(tmp_path / "nodes")
    for manual in (nodes / "pump-guard" / "manual").glob("*.md"):
        text = manual.read_text(encoding="utf-8")
        manual.write_text(text.replace("2,000 operating hours", "1,250 operating hours"), encoding="utf-8")
    node_file = nodes / "pump-guard" / "node.yaml"
    node = node_file.read_text(encoding="utf-8")
    assert node.count("maximum: 100") == 1
    node_file.write_text(node.replace("maximum: 100", "maximum: 200"), encoding="utf-8")

    status, steps = _toured("--nodes", str(nodes), home=home)

    assert "1,250 operating hours" in steps[1]["output"]["text"]
    assert "2,000 operating hours" not in steps[1]["output"]["text"]
    assert [step["step"] for step in steps if not step["ok"]] == [4]
    assert status == 1
