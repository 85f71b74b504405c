from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog
from click.testing import CliRunner, Result

from edge_node.cli.test import test as command

if TYPE_CHECKING:
    from collections.abc import Iterator

NODES = Path(__file__).parents[2] / "nodes"
SLOWED = """\
edge_node: 1
scenarios:
  a hot pump is slowed:
    when:
      - report: {pump-1: {bearing_c: 90}}
    then:
      - command: set_speed
        with: {percent: %s}
"""


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """Take back what the command configured."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def plant(tmp_path: Path) -> Path:
    """Return a folder with a runtime file and one node that has one scenario."""
    shutil.copytree(NODES / "pump-guard", tmp_path / "nodes" / "pump-guard")
    (tmp_path / "edge-node.yaml").write_text("edge_node: 1\nedge: hall\n", encoding="utf-8")
    scenarios(tmp_path).write_text(SLOWED % 30, encoding="utf-8")
    return tmp_path


def scenarios(plant: Path) -> Path:
    return plant / "nodes" / "pump-guard" / "scenarios.yaml"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(each) for each in arguments], catch_exceptions=True)


def test_each_scenario_is_told_on_a_line_with_its_milliseconds(plant: Path) -> None:
    ran = run(plant)
    assert ran.exit_code == 0
    line, total = ran.output.splitlines()
    assert line.startswith("ok    pump-guard: a hot pump is slowed  ")
    assert line.endswith(" ms")
    assert total.startswith("1 passed, 0 failed, 0 skipped in ")


def test_a_failure_shows_what_was_expected_and_what_came(plant: Path) -> None:
    scenarios(plant).write_text(SLOWED % 40, encoding="utf-8")
    ran = run(plant / "nodes" / "pump-guard")
    assert ran.exit_code == 1
    assert "FAIL  pump-guard: a hot pump is slowed" in ran.output
    assert "expected  command set_speed(percent=40)" in ran.output
    assert "came      0.0s command set_speed(pump=pump-1, percent=30) sent" in ran.output


@pytest.mark.parametrize("named", ["pump-guard", "", "nodes/pump-guard", "nodes/pump-guard/node.yaml"])
def test_a_node_is_named_by_its_name_its_folder_or_its_file(
    named: str, plant: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(plant)
    ran = run(*([named] if named else []))
    assert ran.exit_code == 0, ran.output
    assert "1 passed" in ran.output


def test_json_tells_the_same(plant: Path) -> None:
    scenarios(plant).write_text(SLOWED % 40, encoding="utf-8")
    ran = run("pump-guard", "--config", plant / "edge-node.yaml", "--json")
    assert ran.exit_code == 1
    told = json.loads(ran.output)
    assert told["ok"] is False
    (only,) = told["nodes"]["pump-guard"]
    assert only["finding"] == "failed"
    assert only["differences"][0]["expected"] == "command set_speed(percent=40)"


def test_what_a_scenario_provokes_is_no_warning(plant: Path) -> None:
    text = (
        "edge_node: 1\nscenarios:\n  it:\n    when:\n      - topic: plant/pump-1/telemetry\n"
        "        payload: {temp: {bearing: 'hot'}}\n    then: nothing\n"
    )
    scenarios(plant).write_text(text, encoding="utf-8")
    ran = run(plant)
    assert ran.exit_code == 0
    assert len(ran.output.splitlines()) == 2


def test_a_node_without_scenarios_is_named(plant: Path) -> None:
    scenarios(plant).unlink()
    ran = run(plant)
    assert ran.exit_code == 0
    assert "pump-guard: no scenarios.yaml" in ran.output


def test_a_bad_file_ends_with_78(plant: Path) -> None:
    scenarios(plant).write_text("edge_node: 1\nscenarios: {it: {then: [{event: none_such}]}}\n", "utf-8")
    ran = run(plant)
    assert getattr(ran.exception, "exit_status", None) == 78
    assert "scenarios.yaml:2" in str(ran.exception)


def test_a_node_that_is_not_there_ends_with_78(plant: Path) -> None:
    ran = run("pump-gard", "--config", plant / "edge-node.yaml")
    assert getattr(ran.exception, "exit_status", None) == 78
    assert "did you mean 'pump-guard'?" in str(ran.exception)


def test_a_missing_model_skips_and_fails_where_models_are_required(
    plant: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_NODE_HOME", str(plant / "home"))
    asked = "edge_node: 1\nscenarios: {it: {when: [{ask: why does it shake}], then: [{answer: loose}]}}\n"
    scenarios(plant).write_text(asked, encoding="utf-8")
    assert "0 passed, 0 failed, 1 skipped" in run(plant).output
    required = run(plant, "--require-models")
    assert required.exit_code == 1
    assert "expected  the models" in required.output
