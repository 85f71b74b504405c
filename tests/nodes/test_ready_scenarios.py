"""The scenarios of all ready nodes hold."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge_node.config.load import load_node
from edge_node.config.loaded import Configuration
from edge_node.config.models import RuntimeConfig
from edge_node.config.scenario_check import Scenarios, load_scenarios
from edge_node.rehearsal import Props
from edge_node.rehearsal.trial import Finding, Trial, Trials
from tests.rehearsal.stage import Quiet

if TYPE_CHECKING:
    from edge_node.config.loaded import Node

NODES = sorted(folder for folder in (Path(__file__).parents[2] / "nodes").iterdir() if folder.is_dir())
DOCS = Path(__file__).parents[2] / "docs"
FEWEST = 8


def scenarios_of(node: Node) -> Scenarios:
    scenarios = load_scenarios(node)
    assert scenarios is not None, f"{node.name} has no scenarios"
    return scenarios


def trials(folder: Path) -> list[Trial]:
    node = load_node(folder)
    configuration = Configuration(RuntimeConfig(edge_node=1, edge="ready"), (node,), folder)
    props = Props(configuration, progress=Quiet())
    try:
        return list(Trials(configuration, node=node, scenarios=scenarios_of(node), props=props).run())
    finally:
        props.close()


def failures(performed: list[Trial]) -> str:
    return "\n".join(
        f"{trial.name}: expected {difference.expected}, came {difference.came}"
        for trial in performed
        for difference in trial.differences
    )


@pytest.mark.parametrize("folder", NODES, ids=lambda folder: folder.name)
def test_scenarios_without_models_hold(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_NODE_HOME", str(tmp_path))
    assert failures(trials(folder)) == ""


@pytest.mark.models
@pytest.mark.parametrize("folder", NODES, ids=lambda folder: folder.name)
def test_scenarios_with_models_hold(folder: Path) -> None:
    performed = trials(folder)
    assert failures(performed) == ""
    assert not [trial.name for trial in performed if trial.finding is Finding.SKIPPED]


@pytest.mark.parametrize("folder", NODES, ids=lambda folder: folder.name)
def test_every_trigger_and_command_has_a_scenario(folder: Path) -> None:
    node = load_node(folder)
    spec = scenarios_of(node).spec
    outcomes = [each for scenario in spec.scenarios.values() for each in scenario.then or ()]
    assert len(spec.scenarios) >= FEWEST
    assert set(node.spec.triggers) <= {each.event for each in outcomes}
    assert set(node.spec.commands) <= {each.command for each in outcomes}


def test_the_example_of_the_guide_holds(tmp_path: Path) -> None:
    for guide, file in (("writing-a-node.md", "node.yaml"), ("testing-a-node.md", "scenarios.yaml")):
        text = (DOCS / guide).read_text(encoding="utf-8")
        first = text.partition("```yaml\n")[2].partition("```")[0]
        (tmp_path / file).write_text(first, encoding="utf-8")
    (tmp_path / "manual").mkdir()
    (tmp_path / "manual" / "fan.md").write_text("# Fan\n", encoding="utf-8")
    performed = trials(tmp_path)
    assert failures(performed) == ""
    assert [trial.finding for trial in performed] == [Finding.PASSED] * 4
