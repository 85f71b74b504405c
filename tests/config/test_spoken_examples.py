from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_node.config.load import load_node
from edge_node.config.loaded import SpokenExample
from edge_node.errors import ConfigurationInvalid

if TYPE_CHECKING:
    from pathlib import Path

NODE = """\
edge_node: 1
name: barn
ask: true
examples: said.jsonl
commands:
  open:
    description: Open the flap.
    args: {percent: {type: integer, optional: true}}
    publish: {topic: barn/set, payload: {open: "{percent}"}}
"""


def _node(folder: Path, *lines: str) -> Path:
    (folder / "node.yaml").write_text(NODE, encoding="utf-8")
    (folder / "said.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


def test_the_lines_of_the_file_are_the_examples_of_the_node(tmp_path: Path) -> None:
    node = load_node(
        _node(
            tmp_path,
            '{"utterance": "half open", "expected": {"name": "open", "arguments": {"percent": 50}}}',
            "",
            '{"utterance": "nice day", "expected": "none", "context": {"area": "yard"}}',
        )
    )

    assert node.examples == (
        SpokenExample("half open", "open", {"percent": 50}),
        SpokenExample("nice day", context={"area": "yard"}),
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("{", "one JSON object"),
        ("{}", "utterance"),
        ('{"utterance": "x"}', "command of this node"),
        ('{"utterance": "x", "expected": {"name": "shut"}}', "command of this node"),
        ('{"utterance": "x", "expected": {"name": "open", "arguments": {"far": 1}}}', "percent"),
        ('{"utterance": "x", "expected": "none", "context": {"area": 1}}', "context"),
    ],
)
def test_a_line_that_cannot_be_used_is_named_with_its_number(
    tmp_path: Path, line: str, expected: str
) -> None:
    good = '{"utterance": "open", "expected": {"name": "open"}}'
    with pytest.raises(ConfigurationInvalid) as error:
        load_node(_node(tmp_path, good, line))

    [problem] = error.value.problems
    assert (problem.line, expected in problem.expected) == (2, True)


@pytest.mark.parametrize("name", ["gone.jsonl", "../said.jsonl"])
def test_a_file_that_is_not_there_or_lies_outside_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "node.yaml").write_text(NODE.replace("said.jsonl", name), encoding="utf-8")

    with pytest.raises(ConfigurationInvalid, match="examples"):
        load_node(tmp_path)
