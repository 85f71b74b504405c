"""`edge-node tune`: what it says before it begins."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from edge_node.cli import edge_node
from edge_node.errors import MeasureInvalid, Unavailable

if TYPE_CHECKING:
    from pathlib import Path


def test_either_a_node_or_the_adapter_that_ships_is_tuned(tmp_path: Path) -> None:
    for words in ([], [str(tmp_path), "--default", str(tmp_path)]):
        result = CliRunner().invoke(edge_node, ["tune", *words])
        assert result.exit_code == 2
        assert "name a NODE, or --default" in result.output


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(Unavailable, match="not installed") as caught:
        CliRunner().invoke(edge_node, ["tune", "nodes/rover"], catch_exceptions=False)
    assert caught.value.hint == "pip install 'edge-node[tune]'"


def test_an_adapter_to_measure_is_one_file_or_a_folder_with_one(tmp_path: Path) -> None:
    (tmp_path / "cases.jsonl").write_text('{"utterance": "hi", "expected": "none", "tools": []}\n')
    words = ["eval", "commands", "--cases", str(tmp_path / "cases.jsonl"), "--adapter", str(tmp_path)]
    with pytest.raises(MeasureInvalid, match=r"expected an \.onnx_adapter file, or a folder with one"):
        CliRunner().invoke(edge_node, words, catch_exceptions=False)
