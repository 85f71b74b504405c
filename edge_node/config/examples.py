"""The sentences that a node's people say, read from the file that `examples` names.

Knows lines of JSON with `utterance` and `expected`, and the node's commands; knows nothing of how sentences
are understood.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from edge_node.config.loaded import SpokenExample
from edge_node.config.wording import shown
from edge_node.errors import Problem

if TYPE_CHECKING:
    from pathlib import Path

    from edge_node.config.models import NodeConfig
    from edge_node.config.source import Document

NONE = "none"
_KEY = "examples"


def read_examples(
    spec: NodeConfig, document: Document, *, folder: Path
) -> tuple[tuple[SpokenExample, ...], list[Problem]]:
    """Return the examples of a node, and what is wrong with their file."""
    if spec.examples is None:
        return (), []
    line = document.line((_KEY,))
    file = folder / spec.examples
    if not file.resolve().is_relative_to(folder.resolve()):
        expected = "a file inside the node's folder"
        return (), [Problem(document.file, line, _KEY, expected, shown(spec.examples))]
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "bytes that are not UTF-8"
        came = f"{shown(spec.examples)}, {reason}"
        return (), [Problem(document.file, line, _KEY, "a file of UTF-8 text", came)]
    examples, problems = [], []
    for number, row in enumerate(text.splitlines(), start=1):
        if not row.strip():
            continue
        example, expected = _example(row, spec)
        if example is None:
            problems.append(Problem(str(file), number, "", expected, shown(row)))
        else:
            examples.append(example)
    return tuple(examples), problems


def _example(row: str, spec: NodeConfig) -> tuple[SpokenExample | None, str]:
    """Return the example of a line, or None and what was expected of it."""
    try:
        values = json.loads(row)
    except ValueError:
        return None, "one JSON object on each line"
    if not isinstance(values, dict) or not isinstance(values.get("utterance"), str):
        return None, "an object with `utterance`, a text"
    context = values.get("context") or {}
    if not isinstance(context, dict) or not all(isinstance(value, str) for value in context.values()):
        return None, "`context`: an object of texts"
    if values.get("expected") == NONE:
        return SpokenExample(values["utterance"], context=context), ""
    return _order(values, context, spec)


def _order(
    values: dict[str, Any], context: dict[str, str], spec: NodeConfig
) -> tuple[SpokenExample | None, str]:
    expected: Any = values.get("expected")
    name = expected.get("name") if isinstance(expected, dict) else None
    if not isinstance(name, str) or name not in spec.commands:
        return None, f'`expected`: "{NONE}", or an object whose `name` is a command of this node'
    arguments: Any = expected.get("arguments", {})
    known = spec.commands[name].args
    if not isinstance(arguments, dict) or not set(arguments) <= set(known):
        return None, f"`arguments`: an object with arguments of {name}: {', '.join(known) or 'none'}"
    return SpokenExample(values["utterance"], name, arguments, context), ""
