from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog
from click.testing import CliRunner

import edge_node
import edge_node.cli
from edge_node.cli import _COMMANDS
from edge_node.cli.options import demo_config, find_config
from edge_node.errors import ConfigurationMissing

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(edge_node.__file__).parents[1]
LEAVES = [
    *((name,) for name in _COMMANDS if name not in {"model", "knowledge", "key"}),
    *(("model", name) for name in ("list", "pull", "show")),
    ("key", "new"),
    *(("knowledge", name) for name in ("build", "search")),
]
LIGHT: list[tuple[str, ...]] = [
    (),
    ("ask",),
    ("stop",),
    ("check",),
    ("init",),
    ("bench",),
    ("demo",),
    ("model",),
]


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """Take back what the command line configured."""
    yield
    structlog.reset_defaults()


def run(*arguments: str, folder: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "edge_node", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )


def test_help_names_every_command_and_shows_examples() -> None:
    told = run("--help")

    assert (told.returncode, told.stderr) == (0, "")
    assert "Examples:" in told.stdout
    assert all(f"\n  {name} " in told.stdout for name in _COMMANDS)


def test_the_version_is_the_packages() -> None:
    assert run("--version").stdout == f"edge-node, version {edge_node.__version__}\n"


@pytest.mark.parametrize("command", LEAVES, ids=" ".join)
def test_each_command_tells_what_it_does_with_an_example_to_copy(command: tuple[str, ...]) -> None:
    told = CliRunner().invoke(edge_node.cli.edge_node, [*command, "--help"])

    assert told.exit_code == 0
    assert f"\n    edge-node {' '.join(command)}" in told.stdout


def test_help_does_not_load_what_runs_models() -> None:
    script = (
        "import contextlib, io, sys\n"
        "from edge_node.cli import edge_node\n"
        f"for command in {LIGHT}:\n"
        "    with contextlib.redirect_stdout(io.StringIO()):\n"
        "        edge_node([*command, '--help'], standalone_mode=False)\n"
        "    print(*command, *sorted({'faiss', 'onnx', 'onnxruntime'} & sys.modules.keys()))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == [" ".join(command) for command in LIGHT]


def test_an_error_is_one_line_with_the_way_out_and_its_own_status(tmp_path: Path) -> None:
    told = run("ask", "hello", folder=tmp_path, EDGE_NODE_HOME=str(tmp_path), EDGE_NODE_CONFIG="")

    assert (told.returncode, told.stdout) == (78, "")
    (line,) = told.stderr.splitlines()
    assert line.startswith("edge-node: configuration: expected a runtime file, came none at edge-node.yaml, ")
    assert line.endswith("(name one with --config, or make one with `edge-node init DIR`)")


def test_each_problem_of_a_configuration_is_one_line_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "edge-node.yaml").write_text("edge_node: 1\nedge: a b\nport: 7\n", encoding="utf-8")

    told = run("run", folder=tmp_path, EDGE_NODE_CONFIG="")

    assert (told.returncode, told.stdout) == (78, "")
    assert [line.split(" ")[0] for line in told.stderr.splitlines()] == [
        "edge-node.yaml:2:",
        "edge-node.yaml:3:",
        "edge-node.yaml:1:",
    ]
    assert "Traceback" not in told.stderr


def test_an_unknown_command_is_a_wrong_use() -> None:
    told = run("dance")

    assert told.returncode == 2
    assert "No such command 'dance'" in told.stderr


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Give every place where a runtime file is looked for, all but the system's with a file in it."""
    monkeypatch.setenv("EDGE_NODE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("EDGE_NODE_CONFIG", str(tmp_path / "named-by-environment.yaml"))
    monkeypatch.chdir(tmp_path)
    demo_config().parent.mkdir(parents=True)
    found = {
        "environment": tmp_path / "named-by-environment.yaml",
        "here": Path("edge-node.yaml"),
        "demo": demo_config(),
    }
    for place in found.values():
        place.touch()
    return found


def test_the_file_that_was_named_comes_first(places: dict[str, Path]) -> None:
    assert find_config(Path("other.yaml")) == Path("other.yaml")
    assert find_config(None) == places["environment"]


def test_then_this_folder_then_a_running_demo(
    places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EDGE_NODE_CONFIG")
    assert find_config(None) == places["here"]

    places["here"].unlink()
    assert find_config(None) == places["demo"]


def test_where_none_is_found_every_place_is_named(
    places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EDGE_NODE_CONFIG")
    places["here"].unlink()
    places["demo"].unlink()
    if Path("/etc/edge-node/edge-node.yaml").exists():
        pytest.skip("this machine has a runtime file for the system")

    with pytest.raises(ConfigurationMissing) as caught:
        find_config(None)

    for place in ("edge-node.yaml", str(places["demo"]), "/etc/edge-node/edge-node.yaml"):
        assert place in str(caught.value)
