"""What a model found wrong, in plain words at file and line.

Knows pydantic's errors and the JSON Schema of a model; knows nothing of what keys mean.
"""

from __future__ import annotations

import difflib
from functools import cache
from typing import TYPE_CHECKING, Any

from edge_node.config.scalars import PATTERN_WORDS
from edge_node.config.source import key_text
from edge_node.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import BaseModel, ValidationError
    from pydantic_core import ErrorDetails

    from edge_node.config.source import Document, KeyPath

_TYPE_WORDS = {
    "integer": "an integer",
    "number": "a number",
    "string": "a string",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "nothing",
}
_SHOWN_CHARACTERS = 60
_SCALARS = int | float | bool
_KEY_MARK = "[key]"


def problems_of(error: ValidationError, *, document: Document, model: type[BaseModel]) -> list[Problem]:
    """Return one problem for each key that a model refused, in the order of the file."""
    found: dict[tuple[KeyPath, bool], Problem] = {}
    for detail in error.errors(include_url=False):
        missing = detail["type"] == "missing"
        path = tuple(part for part in detail["loc"] if part != _KEY_MARK)
        # A union adds the name of each member it tried behind the key; the key alone is in the file.
        while not missing and path not in document.lines:
            path = path[:-1]
        found.setdefault((path, missing), _problem(path, detail, document, model))
    return sorted(found.values(), key=lambda problem: problem.line)


def _problem(path: KeyPath, detail: ErrorDetails, document: Document, model: type[BaseModel]) -> Problem:
    line, key, kind = document.line(path), key_text(path), detail["type"]
    if kind == "extra_forbidden":
        known = sorted(_at(model, path[:-1]).get("properties", {}))
        name = str(path[-1])
        expected, hint = "one of " + ", ".join(known), did_you_mean(name, known)
        return Problem(document.file, line, key, expected, f"the unknown key {name!r}", hint)
    if kind == "missing":
        return Problem(document.file, line, key, describe(_at(model, path)), "nothing", "the key is missing")
    if detail["loc"][-1] == _KEY_MARK:
        pattern = next(iter(_at(model, path[:-1]).get("patternProperties", ())), "")
        expected = f"as key {describe({'type': 'string', 'pattern': pattern})}"
        return Problem(document.file, line, key, expected, shown(path[-1]))
    value = _value(document.data, path)
    schema = _at(model, path)
    expected = describe(schema)
    if kind == "less_than_equal" and schema.get("pattern"):
        # The schema of a duration describes its text; only the error knows the limit of its value.
        expected = f"at most {detail['ctx']['le']:g}s"
    return Problem(document.file, line, key, expected, shown(value), _hint(schema, value))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a hint with the nearest known name, or an empty string where none is near."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else ""


def shown(value: Any) -> str:
    """Return a value as a person reads it, with its type; long ones are cut."""
    text = "a list" if isinstance(value, list) else "a mapping"
    match value:
        case None:
            text = "nothing"
        case bool():
            text = f"{str(value).lower()} (boolean)"
        case int():
            text = f"{value} (integer)"
        case float():
            text = f"{value:g} (number)"
        case str():
            cut = value if len(value) <= _SHOWN_CHARACTERS else value[: _SHOWN_CHARACTERS - 1] + "…"
            text = f"{cut!r} (string)"
    return text


def describe(schema: dict[str, Any]) -> str:
    """Return what a piece of JSON Schema asks for, as in `an integer from 1 to 65535`."""
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        return "one of " + ", ".join(repr(value) for value in schema["enum"])
    if "anyOf" in schema:
        kinds = [describe(one) for one in schema["anyOf"] if one.get("type") != "null"]
        return " or ".join(kinds)
    if schema.get("pattern") in PATTERN_WORDS:
        return PATTERN_WORDS[schema["pattern"]]
    words = _TYPE_WORDS.get(schema.get("type", ""), "a value")
    return words + _range_words(schema)


def _range_words(schema: dict[str, Any]) -> str:
    least, greatest = schema.get("minimum"), schema.get("maximum")
    if least is not None and greatest is not None:
        return f" from {least} to {greatest}"
    if least is not None:
        return f" from {least}"
    if schema.get("exclusiveMinimum") is not None:
        return f" greater than {schema['exclusiveMinimum']:g}"
    return " that is not empty" if schema.get("minLength") or schema.get("minItems") else ""


def _hint(schema: dict[str, Any], value: Any) -> str:
    texts = [
        one for one in schema.get("anyOf", [schema]) if one.get("type") == "string" and "pattern" not in one
    ]
    return "put the value in quotes" if texts and isinstance(value, _SCALARS) else ""


def _value(data: Any, path: KeyPath) -> Any:
    for part in path:
        data = data[part]
    return data


@cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()


def _at(model: type[BaseModel], path: KeyPath) -> dict[str, Any]:
    """Return the JSON Schema of the value at a key path; empty where the model has none."""
    root = _schema(model)
    here = root
    for part in path:
        here = _step(_resolve(here, root), part)
    return _resolve(here, root)


def _resolve(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        found: dict[str, Any] = root["$defs"][schema["$ref"].rsplit("/", 1)[-1]]
        return found
    members = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    return _resolve(members[0], root) if len(members) == 1 else schema


def _step(schema: dict[str, Any], part: str | int) -> dict[str, Any]:
    if isinstance(part, int):
        # Of a word or a list, the list is the one that has items.
        step = next((one["items"] for one in (schema, *schema.get("anyOf", ())) if "items" in one), None)
    elif part in schema.get("properties", {}):
        step = schema["properties"][part]
    else:
        others = schema.get("additionalProperties")
        named = schema.get("patternProperties", {}).values()
        step = next(iter(named), others if isinstance(others, dict) else None)
    return step or {}
