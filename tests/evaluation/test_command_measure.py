from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from edge_node.errors import MeasureInvalid
from edge_node.evaluation.command_cases import CommandFiles
from edge_node.evaluation.commands import CommandOutcome, command_figures
from edge_node.evaluation.commands import is_right as right

if TYPE_CHECKING:
    from pathlib import Path

    from edge_node.evaluation.command_cases import CommandCase

TOOLS = [
    {
        "name": "Lamp.Switch",
        "description": "Switch a lamp.",
        "parameters": {
            "type": "object",
            "properties": {
                "lamp": {"type": "string", "description": "Name of a device"},
                "level": {"type": "integer", "minimum": 0, "maximum": 100},
                "tags": {"type": "array", "items": {"type": "string"}},
            },
            "required": ["lamp"],
        },
    }
]
HOME = {
    "areas": [{"name": "Attic", "floor": "Top"}],
    "entities": [{"name": "Reading[ ]Lamp", "id": "light.reading", "area": "Attic"}],
}


def _file(path: Path, *lines: dict[str, Any]) -> Path:
    path.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    return path


def _case(folder: Path, **line: Any) -> CommandCase:
    (folder / "tools.json").write_text(json.dumps(TOOLS), encoding="utf-8")
    (folder / "home.json").write_text(json.dumps(HOME), encoding="utf-8")
    refs = {"tools_ref": "tools.json", "catalogue_ref": "home.json"}
    return CommandFiles(None).cases(_file(folder / "cases.jsonl", {"utterance": "lamp on", **refs, **line}))[
        0
    ]


def _outcome(case: CommandCase, name: str = "", *, asked: bool = False, **arguments: Any) -> CommandOutcome:
    exact = right(case, name, arguments)
    spoken = right(case, name, arguments, implied=frozenset({"level"}))
    tier = "nearest" if name else "left"
    return CommandOutcome(case, name, arguments, tier, asked, "", exact, spoken, spent_ms=2.0)


def test_a_device_counts_as_right_by_any_of_its_names(tmp_path: Path) -> None:
    case = _case(tmp_path, expected={"name": "Lamp.Switch", "arguments": {"lamp": "Reading Lamp"}})

    assert right(case, "Lamp.Switch", {"lamp": "light.reading"})
    assert not right(case, "Lamp.Switch", {"lamp": "Attic Lamp"})


def test_of_a_list_where_one_value_is_wanted_any_is_right(tmp_path: Path) -> None:
    case = _case(tmp_path, expected={"name": "Lamp.Switch", "arguments": {"lamp": "a", "level": [40, 50]}})

    assert right(case, "Lamp.Switch", {"lamp": "a", "level": 50.0})
    assert not right(case, "Lamp.Switch", {"lamp": "a", "level": [40, 50]})
    assert not right(case, "Lamp.Switch", {"lamp": "a", "level": True})


def test_a_list_is_right_where_the_tool_wants_one(tmp_path: Path) -> None:
    case = _case(tmp_path, expected={"name": "Lamp.Switch", "arguments": {"tags": ["a", "b"]}})

    assert right(case, "Lamp.Switch", {"tags": ["a", "b"]})


def test_where_any_call_will_do_only_silence_is_wrong(tmp_path: Path) -> None:
    case = _case(tmp_path, expected="any_call")

    figures = command_figures([_outcome(case, "Lamp.Switch", lamp="light.reading"), _outcome(case)])

    assert (figures.exact, figures.name, figures.missed) == (0.5, 0.5, 0.5)


def test_an_argument_too_many_or_too_few_is_wrong(tmp_path: Path) -> None:
    case = _case(tmp_path, expected={"name": "Lamp.Switch", "arguments": {"lamp": "a"}})

    assert not right(case, "Lamp.Switch", {})
    assert not right(case, "Lamp.Switch", {"lamp": "a", "level": 3})
    assert right(case, "Lamp.Switch", {"lamp": "a", "level": 3}, implied=frozenset({"level"}))


def test_what_is_acceptable_may_be_left_out_where_an_empty_text_says_so(tmp_path: Path) -> None:
    case = _case(
        tmp_path,
        expected={"name": "Lamp.Switch", "arguments": {"lamp": "a", "level": 3}},
        acceptable={"lamp": ["a", "b"], "level": [3, ""]},
    )

    assert right(case, "Lamp.Switch", {"lamp": "b"})
    assert not right(case, "Lamp.Switch", {"level": 3})


def test_figures_tell_false_actions_missed_orders_and_what_was_asked_back(tmp_path: Path) -> None:
    order = _case(tmp_path, expected={"name": "Lamp.Switch", "arguments": {"lamp": "a", "level": 3}})
    chat = _case(tmp_path, expected="none")

    figures = command_figures(
        [
            _outcome(order, "Lamp.Switch", lamp="a", level=3),
            _outcome(order, "Lamp.Switch", lamp="a"),
            _outcome(order),
            _outcome(order, asked=True),
            _outcome(chat),
            _outcome(chat, "Lamp.Switch", lamp="a"),
        ]
    )

    assert (figures.cases, figures.exact, figures.exact_spoken) == (6, 2 / 6, 3 / 6)
    assert (figures.name, figures.false_actions) == (3 / 6, 1 / 2)
    assert (figures.missed, figures.asked) == (1 / 4, 1 / 6)
    assert figures.tiers["nearest"].share == 3 / 6
    assert figures.tiers["nearest"].accuracy == 1 / 3
    assert set(figures.as_dict()["tiers"]) == {"template", "nearest", "slm", "left"}


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ({"utterance": "x", "tools": []}, "expected"),
        ({"utterance": "x", "tools": [], "expected": "maybe"}, "expected"),
        ({"utterance": "x", "tools": [], "expected": {"name": "a", "arguments": []}}, "arguments"),
        ({"tools": [], "expected": "none"}, "utterance"),
        ({"utterance": "x", "expected": "none", "tools_ref": "gone.json"}, "gone.json"),
        ({"utterance": "x", "expected": "none", "tools": {}}, "tools"),
        ({"utterance": "x", "expected": "none"}, "tools"),
        ({"utterance": "x", "expected": "none", "tools": [], "context": 3}, "context"),
    ],
)
def test_a_line_that_cannot_be_used_is_named_with_what_was_expected(
    tmp_path: Path, line: dict[str, Any], named: str
) -> None:
    with pytest.raises(MeasureInvalid, match=named):
        CommandFiles(None).cases(_file(tmp_path / "cases.jsonl", line))


def test_an_empty_file_of_cases_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MeasureInvalid, match="at least one case"):
        CommandFiles(None).cases(_file(tmp_path / "cases.jsonl"))
