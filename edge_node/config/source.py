"""YAML files read into plain data that remembers its lines.

The only module that imports `yaml`. Scalars are those of YAML 1.2's core schema with decimal numbers only:
`on`, `yes`, `010` and `10:30` are words, because whoever writes a list of allowed values means the words.
Knows nothing of which keys there are.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from edge_node.errors import ConfigurationInvalid, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

KeyPath = tuple[str | int, ...]
MAX_BYTES = 256 * 1024
MAX_VALUES = 20_000
MAX_DEPTH = 60
_TAG = "tag:yaml.org,2002:"
_QUOTES = "put the value in quotes"
_SYNTAX = (
    ("'\\t'", "spaces for indentation", "a tab", ""),
    ("single document", "one document", "a second one after '---'", ""),
    ("mapping values are not allowed", "one key and one value", "a ': ' where none may stand", _QUOTES),
    ("cannot start any token", "a value", "a character that YAML keeps for itself", _QUOTES),
    ("undefined alias", "an alias of an anchor above", "one that is not there", _QUOTES),
    ("found unexpected end of stream", "a closing quote", "the end of the file", ""),
    ("but found '<stream end>'", "a closing bracket", "the end of the file", ""),
    ("expected <block end>", "keys below each other in one column", "something else", _QUOTES),
    ("could not find expected ':'", "a key with ': ' behind it", "a line without", ""),
)


class _Reader(yaml.SafeLoader):
    """PyYAML's parser with the scalars of YAML 1.2."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's


for _kind, _pattern, _first in (
    ("null", r"(?:~|null|Null|NULL|)\Z", ["~", "n", "N", ""]),
    ("bool", r"(?:true|True|TRUE|false|False|FALSE)\Z", list("tTfF")),
    ("int", r"[-+]?(?:0|[1-9][0-9]{0,17})\Z", list("-+0123456789")),
    ("float", r"[-+]?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?\Z", list("-+0123456789")),
):
    _Reader.add_implicit_resolver(_TAG + _kind, re.compile(_pattern), _first)


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML file.

    Attributes:
        file: The file, as it is named to the user.
        data: Its content: mappings, lists, strings, numbers, booleans and None.
        lines: Key path to the line, from 1, of the key or of the list item.
    """

    file: str
    data: Any
    lines: Mapping[KeyPath, int]

    def line(self, path: KeyPath) -> int:
        """Return the line of a key path, or of the nearest thing above it that is there."""
        while path not in self.lines:
            path = path[:-1]
        return self.lines[path]


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file as plain data.

    Raises:
        ConfigurationInvalid: It cannot be read, or is not YAML without surprises.
    """
    return read_document(path).data


def read_document(path: Path) -> Document:
    """Return a YAML file with the lines of its keys.

    Raises:
        ConfigurationInvalid: It cannot be read, is not UTF-8, not one YAML document, is empty or too large,
            holds a key twice, a key that is not a string, a tag, or more than `MAX_VALUES` values.
    """
    file = str(path)
    root = _compose(file, _text(file, path))
    walk = _Walk(file)
    data = walk.value(root, ())
    if walk.problems:
        raise ConfigurationInvalid(walk.problems)
    return Document(file, data, walk.lines)


def _text(file: str, path: Path) -> str:
    try:
        body = path.read_bytes()
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise _invalid(file, 0, "a file that can be read", reason) from error
    if len(body) > MAX_BYTES:
        raise _invalid(file, 0, f"at most {MAX_BYTES} bytes", f"{len(body)} bytes")
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        raise _invalid(file, line, "UTF-8 text", f"byte 0x{body[error.start]:02x}") from error


def _compose(file: str, text: str) -> yaml.Node:
    try:
        root = yaml.compose(text, Loader=_Reader)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise _invalid(
            file, line, "printable characters", f"the character U+{error.character:04X}"
        ) from error
    except yaml.MarkedYAMLError as error:
        raise ConfigurationInvalid([_syntax_problem(file, error)]) from error
    except (RecursionError, yaml.YAMLError) as error:
        raise _invalid(file, 0, f"YAML of at most {MAX_DEPTH} levels", "something else") from error
    if root is None:
        raise _invalid(file, 1, "keys and values", "an empty file")
    return root


def _syntax_problem(file: str, error: yaml.MarkedYAMLError) -> Problem:
    said = f"{error.context or ''} {error.problem or ''}".strip()
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else 0
    for sign, expected, came, hint in _SYNTAX:
        if sign in said:
            return Problem(file, line, "", expected, came, hint)
    return Problem(file, line, "", "YAML", said or "something else")


def _invalid(file: str, line: int, expected: str, came: str) -> ConfigurationInvalid:
    return ConfigurationInvalid([Problem(file, line, "", expected, came)])


class _Walk:
    """Turns nodes into data, and collects lines and problems on the way."""

    def __init__(self, file: str) -> None:
        self.problems: list[Problem] = []
        self.lines: dict[KeyPath, int] = {(): 1}
        self._file = file
        self._values = 0

    def value(self, node: yaml.Node, path: KeyPath) -> Any:
        """Return the data of a node; where there is a problem, None stands in its place."""
        self._values += 1
        if self._values > MAX_VALUES or len(path) > MAX_DEPTH:
            limit = f"at most {MAX_VALUES} values in {MAX_DEPTH} levels"
            # Said once: with aliases the rest of the file can be larger than memory.
            if not any(problem.expected == limit for problem in self.problems):
                self._problem(node, path[:4], limit, "more, aliases counted where they are used")
            return None
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            return self._sequence(node, path)
        if isinstance(node, yaml.ScalarNode) and node.tag.startswith(_TAG):
            return self._scalar(node, path)
        return self._problem(node, path, "a value without a tag", node.tag.replace(_TAG, "!!"))

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if self._values > MAX_VALUES:
                break
            if key_node.tag != _TAG + "str":
                came = str(key_node.value) if key_node.id == "scalar" else "a mapping or a list"
                self._problem(key_node, path, "a string as key", came, hint="put the key in quotes")
                continue
            key = key_node.value
            line = key_node.start_mark.line + 1
            if key in data:
                first = self.lines[*path, key]
                self._problem(
                    key_node, (*path, key), "each key once", f"{key!r} again, first on line {first}"
                )
                continue
            self.lines[*path, key] = line
            data[key] = self.value(value_node, (*path, key))
        return data

    def _sequence(self, node: yaml.SequenceNode, path: KeyPath) -> list[Any]:
        data = []
        for index, item in enumerate(node.value):
            if self._values > MAX_VALUES:
                break
            self.lines[*path, index] = item.start_mark.line + 1
            data.append(self.value(item, (*path, index)))
        return data

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath) -> Any:
        kind, text = _kind_of(node), node.value
        if kind == "str":
            # Escapes can write what no file and no topic can hold.
            odd = next((sign for sign in text if sign == "\0" or "\ud800" <= sign <= "\udfff"), "")
            return self._problem(node, path, "text", f"the character U+{ord(odd):04X}") if odd else text
        if kind == "null":
            return None
        if kind == "bool" and text.lower() in {"true", "false"}:
            return text.lower() == "true"
        try:
            number = {"int": int, "float": float}[kind](text)
        except (KeyError, ValueError):
            return self._problem(node, path, "a value without a tag", f"!!{kind} {text}")
        if not math.isfinite(number):
            return self._problem(node, path, "a finite number", text)
        return number

    def _problem(self, node: yaml.Node, path: KeyPath, expected: str, came: str, *, hint: str = "") -> None:
        key = key_text(path)
        self.problems.append(Problem(self._file, node.start_mark.line + 1, key, expected, came, hint))


def _kind_of(node: yaml.Node) -> str:
    return str(node.tag).removeprefix(_TAG)


def key_text(path: KeyPath) -> str:
    """Return a key path as it is shown: keys joined by dots, list items by number from 0."""
    shown = (part if isinstance(part, int) or part.isprintable() else repr(part) for part in path)
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in shown).removeprefix(".")
