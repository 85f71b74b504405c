"""Asking a running edge over a real broker why it decided as it did, and playing it again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from edge_node.cli import edge_node
from tests.running_edge import RunningEdge, running_edge

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.broker, pytest.mark.models]


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEdge]:
    """Give a hall with a press; one person may ask why."""
    with running_edge(tmp_path_factory.mktemp("hall"), operators={"explain": ["ada"]}) as made:
        made.start()
        made.report(load=90)
        yield made


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(edge_node, [str(each) for each in arguments])


def test_a_running_edge_tells_who_may_know_and_nobody_else(edge: RunningEdge) -> None:
    denied = edge.last("open guard of press-1", user="bob")
    name = denied["decision"]

    reply = edge.client("ada").operate("explain", id=name[:-3])
    refused = edge.client("bob").operate("explain", id=name)
    told = run("explain", denied["command_id"], "--config", edge.config, "--user", "ada")
    listed = run("history", "--config", edge.config, "--user", "ada", "--device", "press-1", "--json")

    assert reply.data["found"][0]["decision"]["request"]["user"] == "bob"
    assert (refused.kind, refused.data["error"]["code"]) == ("error", "not_permitted")
    assert (told.exit_code, told.stderr) == (0, "")
    assert "denied by require[0]: load < 50: does not hold with load = 90 (" in told.stdout
    assert " denied: load < 50" in told.stdout
    assert name in [entry["id"] for entry in json.loads(listed.stdout)["history"]]


def test_the_edges_own_user_reads_the_file_where_the_edge_does_not_tell(edge: RunningEdge) -> None:
    told = run("history", "--config", edge.config, "--user", "eve")

    assert told.exit_code == 0
    assert "because the edge did not tell: history: expected a user who may, came 'eve'" in told.stderr


def test_a_denial_is_played_again_and_allowed_under_another_rule(edge: RunningEdge, tmp_path: Path) -> None:
    name = edge.last("open guard of press-1", user="bob")["decision"]
    file = tmp_path / "incident.jsonl"
    run("explain", name, "--config", edge.config, "--export", file)
    node = json.loads((edge.folder / "nodes" / "press-shop" / "node.yaml").read_text())
    node["commands"]["open_guard"]["require"] = ["load < 95"]
    (tmp_path / "press-shop").mkdir()
    (tmp_path / "press-shop" / "node.yaml").write_text(json.dumps({**node, "knowledge": []}))
    changed = {**json.loads(edge.config.read_text()), "nodes": [str(tmp_path / "press-shop")]}
    (tmp_path / "edge-node.yaml").write_text(json.dumps(changed))

    as_it_was = run("replay", file, "--config", edge.config)
    otherwise = run("replay", file, "--config", tmp_path / "edge-node.yaml")

    assert "open_guard(press = press-1) denied by require[0]" in as_it_was.stdout
    assert "open_guard(press = press-1) awaiting approval" in otherwise.stdout


def test_an_order_is_answered_with_the_way_to_know_why(edge: RunningEdge) -> None:
    told = run("ask", "--config", edge.config, "--user", "bob", "open guard of press-1")

    hint = told.stderr.splitlines()[-1]
    assert hint.startswith("why: edge-node explain ")
    assert run(*hint.split()[2:], "--config", edge.config, "--user", "ada").exit_code == 0
