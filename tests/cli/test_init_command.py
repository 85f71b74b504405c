from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from edge_node.cli.init import init
from edge_node.config.load import load
from edge_node.config.shipped import shipped_folder

if TYPE_CHECKING:
    from pathlib import Path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(init, [str(argument) for argument in arguments])


def test_the_folder_it_writes_loads_as_it_is(tmp_path: Path) -> None:
    result = run(tmp_path / "plant")

    assert result.exit_code == 0, result.output
    configuration = load(tmp_path / "plant")
    ready = {file.parent.name for file in shipped_folder("nodes").glob("*/node.yaml")}
    assert ready
    assert {node.name for node in configuration.nodes} == ready


def test_the_schemas_that_the_files_name_lie_where_they_say(tmp_path: Path) -> None:
    run(tmp_path)

    for file in (tmp_path / "edge-node.yaml", *tmp_path.glob("nodes/*/*.yaml")):
        first = file.read_text(encoding="utf-8").partition("\n")[0]
        assert first.startswith("# yaml-language-server: $schema=")
        assert (file.parent / first.partition("$schema=")[2]).is_file(), file


def test_the_next_commands_are_told_and_survive_a_space_in_the_name(tmp_path: Path) -> None:
    folder = tmp_path / "hall 3"

    lines = run(folder).output.splitlines()[-3:]

    assert shlex.split(lines[0]) == ["edge-node", "check", str(folder)]
    assert shlex.split(lines[1]) == ["edge-node", "test", str(folder)]
    assert shlex.split(lines[2]) == ["edge-node", "run", "--config", str(folder / "edge-node.yaml")]


@pytest.mark.parametrize(
    ("host", "edge"),
    [
        ("pi-hall3.local", "pi-hall3"),
        ("_väx_", "v-x"),
        ("---", "edge-1"),
        ("", "edge-1"),
        ("a" * 90, "a" * 64),
    ],
)
def test_the_edge_is_named_after_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, edge: str
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: host)

    run(tmp_path)

    assert load(tmp_path).runtime.edge == edge


def test_a_folder_with_files_in_it_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")

    result = run(tmp_path)

    assert result.exit_code == 1
    assert "expected an empty folder" in result.output
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


def test_force_adds_what_is_missing_and_keeps_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "edge-node.yaml").write_text("edge_node: 1\nedge: mine\n", encoding="utf-8")

    result = run("--force", tmp_path)

    assert result.exit_code == 0
    assert f"kept {tmp_path / 'edge-node.yaml'}" in result.output
    assert load(tmp_path).runtime.edge == "mine"
    assert load(tmp_path).nodes


def test_a_folder_that_cannot_be_made_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")

    result = run(tmp_path / "file" / "plant")

    assert result.exit_code == 1
    assert "Not a directory" in result.output
    assert "Traceback" not in result.output
