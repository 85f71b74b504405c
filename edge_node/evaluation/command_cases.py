"""Sentences whose right command is known, read from a file.

Knows lines of JSON with `utterance` and `expected`; knows nothing of how a sentence is understood.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edge_node.config.loaded import SpokenExample
from edge_node.errors import MeasureInvalid
from edge_node.evaluation.records import Record, records
from edge_node.evaluation.tools import Catalogue, is_list, read_catalogue

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

NONE = "none"
ANY_CALL = "any_call"
ANY = "*"
"""Name of a call of which nothing is said but that there must be one."""


@dataclass(frozen=True, slots=True)
class Expected:
    """The call that is right.

    Attributes:
        name: Name of the command; empty where nothing may be proposed, `ANY` where any command will do.
        arguments: Argument name to the values of which each is right; None among them means that it may
            be left out.
    """

    name: str = ""
    arguments: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CommandCase:
    """One sentence.

    Attributes:
        line: Line of its file, from 1.
        utterance: What is said.
        expected: What is right.
        tools: The tools there are.
        catalogue: The devices there are.
        context: Label to value: where it is said.
        world: What tells tools and catalogue apart from those of other cases.
        others: The calls that must follow `expected`, in order, where the sentence orders several things.
    """

    line: int
    utterance: str
    expected: Expected
    tools: Sequence[Mapping[str, Any]]
    catalogue: Catalogue
    context: Mapping[str, str]
    world: str
    others: tuple[Expected, ...] = ()

    @property
    def calls(self) -> tuple[Expected, ...]:
        """All calls that are right together, in order; none where nothing may be proposed."""
        return (self.expected, *self.others) if self.expected.name else ()


class CommandFiles:
    """Tools and catalogues that files name, each read once.

    Args:
        tools: File with the tools; None where each line brings or names its own.
    """

    def __init__(self, tools: Path | None) -> None:
        self._tools = tools
        self._read: dict[Path, Any] = {}
        self._catalogues: dict[str, Catalogue] = {}

    def cases(self, path: Path) -> tuple[CommandCase, ...]:
        """Return the sentences of a file of JSON Lines.

        Raises:
            MeasureInvalid: A line cannot be used, or there is none.
        """
        found = tuple(self._case(record) for record in records(path))
        if not found:
            raise MeasureInvalid(path, expected="at least one case", came="none")
        return found

    def examples(self, path: Path) -> tuple[SpokenExample, ...]:
        """Return the sentences of a file as examples; raises as `cases` does."""
        return tuple(_example(record) for record in records(path))

    def _case(self, record: Record) -> CommandCase:
        tools, tools_key = self._own(record, "tools", default=self._tools)
        if not isinstance(tools, list):
            raise record.fault(expected="tools: a list, here or in --tools", came=type(tools).__name__)
        data, catalogue_key = self._own(record, "catalogue", default=None)
        if catalogue_key not in self._catalogues:
            self._catalogues[catalogue_key] = read_catalogue(data)
        expected, *others = _all_expected(record, tools)
        return CommandCase(
            record.line,
            record.text("utterance"),
            expected,
            tools,
            self._catalogues[catalogue_key],
            _context(record),
            f"{tools_key}\n{catalogue_key}",
            tuple(others),
        )

    def _own(self, record: Record, key: str, *, default: Path | None) -> tuple[Any, str]:
        """Return what a line brings under a key, else what the file holds that it or the caller names."""
        if key in record.values:
            return record.values[key], json.dumps(record.values[key], sort_keys=True)
        named = record.text(f"{key}_ref", default="")
        path = default or (record.path.parent / named if named else None)
        if path is None:
            return None, ""
        if path not in self._read:
            self._read[path] = _json(path)
        return self._read[path], str(path)


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise MeasureInvalid(path, expected="a file of JSON", came=str(problem)) from problem


def _context(record: Record) -> dict[str, str]:
    context = record.values.get("context") or {}
    if not isinstance(context, dict):
        raise record.fault(expected="context: an object", came=json.dumps(context)[:60])
    return {str(label): value for label, value in context.items() if isinstance(value, str)}


def _call(record: Record, expected: Any) -> tuple[str, dict[str, Any]]:
    if expected == NONE:
        return "", {}
    if not isinstance(expected, dict) or not isinstance(expected.get("name"), str):
        came = json.dumps(expected)[:60]
        raise record.fault(
            expected='expected: "none", "any_call", or an object with name and arguments', came=came
        )
    arguments = expected.get("arguments", {})
    if not isinstance(arguments, dict):
        raise record.fault(expected="arguments: an object", came=json.dumps(arguments)[:60])
    return expected["name"], arguments


def _example(record: Record) -> SpokenExample:
    name, arguments = _call(record, record.values.get("expected"))
    return SpokenExample(record.text("utterance"), name, arguments, _context(record))


def _all_expected(record: Record, tools: Sequence[Mapping[str, Any]]) -> list[Expected]:
    """Return the call that is right, or those that are right together."""
    expected = record.values.get("expected")
    if expected == ANY_CALL:
        return [Expected(ANY)]
    if not isinstance(expected, list):
        return [_expected(record, expected, tools)]
    if len(expected) < 2 or NONE in expected:  # noqa: PLR2004 - one call stands for itself
        came = json.dumps(expected)[:60]
        raise record.fault(expected="expected: two calls or more, where it is a list", came=came)
    return [_expected(record, each, tools) for each in expected]


def _expected(record: Record, call: Any, tools: Sequence[Mapping[str, Any]]) -> Expected:
    name, arguments = _call(record, call)
    tool = next((tool for tool in tools if tool.get("name") == name), {})
    wanted: dict[str, tuple[Any, ...]] = {}
    for key, value in arguments.items():
        either = tuple(value) if isinstance(value, list) else ()
        wanted[key] = (value, *either) if is_list(tool, key) or not either else either
    acceptable = record.values.get("acceptable")
    if isinstance(acceptable, dict):
        # Here an empty text among the values says that the argument may be left out.
        wanted |= {
            key: tuple(None if value == "" else value for value in values)
            for key, values in acceptable.items()
            if isinstance(values, list)
        }
    return Expected(name, wanted)
