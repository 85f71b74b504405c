from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from edge_node.cli.check import check
from edge_node.config.schema import schemas
from edge_node.config.shipped import shipped_folder

if TYPE_CHECKING:
    from pathlib import Path

NODES = shipped_folder("nodes")
GOOD = """\
edge_node: 1
name: lamp
commands:
  switch:
    description: Switch the lamp.
    examples: ["switch (on|off)"]
    publish: {topic: lamp/set, payload: 1}
"""


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(check, [str(argument) for argument in arguments])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    node = tmp_path / "nodes" / "lamp" / "node.yaml"
    node.parent.mkdir(parents=True)
    node.write_text(GOOD, encoding="utf-8")
    (tmp_path / "edge-node.yaml").write_text("edge_node: 1\nedge: desk\n", encoding="utf-8")
    return tmp_path


def test_a_good_folder_is_told_file_by_file(folder: Path) -> None:
    result = run(folder)

    assert result.exit_code == 0
    assert result.output.splitlines() == [
        f"{folder / 'edge-node.yaml'}: edge desk, 1 node",
        f"{folder / 'nodes/lamp/node.yaml'}: node lamp, 1 command, 0 triggers, 0 manual files",
    ]
    assert run(folder / "edge-node.yaml").output == result.output


def test_a_node_is_checked_alone_by_its_folder_or_its_file(folder: Path) -> None:
    node = folder / "nodes" / "lamp"

    assert run(node).output == f"{node / 'node.yaml'}: node lamp, 1 command, 0 triggers, 0 manual files\n"
    assert run(node / "node.yaml").output == run(node).output


def test_every_problem_is_one_line_and_the_status_is_78(folder: Path) -> None:
    node = folder / "nodes/lamp/node.yaml"
    node.write_text(
        GOOD.replace("payload: 1", "payload: 1, idempotent: 3").replace("name: lamp", "nam: lamp")
    )
    (folder / "edge-node.yaml").write_text("edge_node: 1\nedge: desk\nlog: {level: loud}\n")

    result = run(folder)

    assert result.exit_code == 78
    assert result.stdout.splitlines() == [
        (
            f"{folder / 'edge-node.yaml'}:3: log.level: expected one of "
            "'debug', 'info', 'warning', 'error', came 'loud' (string)"
        ),
        (
            f"{node}:1: name: expected a name of 1 to 64 letters, digits, '.', '_' and '-' "
            "that begins with a letter or digit, came nothing (the key is missing)"
        ),
        (
            f"{node}:2: nam: expected one of ask, commands, description, devices, edge_node, examples, "
            "knowledge, listen, model, name, stale, triggers, words, came the unknown key 'nam' "
            "(did you mean 'name'?)"
        ),
        f"{node}:7: commands.switch.publish.idempotent: expected true or false, came 3 (integer)",
    ]
    assert result.stderr == "4 problems\n"


def test_a_template_that_does_not_parse_is_told_with_its_line(folder: Path) -> None:
    node = folder / "nodes/lamp/node.yaml"
    node.write_text(GOOD.replace("switch (on|off)", "switch (on|off"))

    result = run(folder)

    assert result.exit_code == 78
    assert result.stdout.startswith(f"{node}:6: commands.switch.examples[0]: expected a sentence template")


def test_json_tells_the_same_for_programs(folder: Path) -> None:
    good = json.loads(run("--json", folder).stdout)
    assert good["ok"] is True
    assert good["edge"] == "desk"
    assert [node["name"] for node in good["nodes"]] == ["lamp"]

    (folder / "nodes/lamp/node.yaml").write_text("edge_node: 1\nname: 5\n")
    result = run("--json", folder)
    [problem] = json.loads(result.stdout)["problems"]

    assert result.exit_code == 78
    assert (problem["line"], problem["key"], problem["came"]) == (2, "name", "5 (integer)")


def test_a_path_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    result = run(tmp_path / "none")

    assert result.exit_code == 78
    assert "expected a file that can be read, came no such file" in result.stdout


@pytest.mark.parametrize(
    "node", sorted(path.parent for path in NODES.glob("*/node.yaml")), ids=lambda path: path.name
)
def test_every_ready_node_is_good(node: Path) -> None:
    result = run(node)

    assert result.exit_code == 0, result.output


def test_the_schemas_are_written_where_they_are_wanted(tmp_path: Path) -> None:
    result = run("--write-schemas", tmp_path)

    assert result.exit_code == 0
    assert {file.name: file.read_text(encoding="utf-8") for file in tmp_path.iterdir()} == schemas()


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("http://127.0.0.1:11434/v1", False),
        ("https://192.168.1.5/v1", False),
        ("https://box.lan/v1", False),
        ("https://203.0.113.9/v1", False),
        ("https://8.8.8.8/v1", True),
        ("https://api.example.com/v1", True),
    ],
)
def test_a_larger_model_beyond_the_own_network_is_warned_of(folder: Path, url: str, *, warned: bool) -> None:
    with (folder / "edge-node.yaml").open("a", encoding="utf-8") as file:
        file.write(f"larger_model: {{url: '{url}', model: big}}\n")

    result = run(folder)

    assert result.exit_code == 0
    assert ("leaves it" in result.stderr) is warned
