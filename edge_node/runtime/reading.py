"""A configuration as everyone reads it: the service as it starts and reloads, and `edge-node check`.

Knows the loader and the parser of sentence templates; knows nothing of what is done with what was read.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edge_node.config.load import load
from edge_node.config.source import key_text, read_document
from edge_node.errors import ConfigurationInvalid, KeyUnusable, Problem
from edge_node.signing import read_public_key
from edge_node.understand.templates import Templates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_node.config.loaded import Configuration, Node


def read_configuration(path: Path) -> Configuration:
    """Return the configuration of a runtime file, or of a folder with one, checked as a whole.

    Raises:
        ConfigurationInvalid: It holds every problem of all files, or of all sentence templates.
    """
    configuration = load(path)
    check_templates(configuration.nodes)
    check_keys(configuration)
    return configuration


def check_keys(configuration: Configuration) -> None:
    """Read the public keys that the runtime file names.

    Raises:
        ConfigurationInvalid: Files that hold no such key, each with the line that names it.
    """
    problems: list[Problem] = []
    for user, file in configuration.keys.items():
        try:
            read_public_key(file)
        except KeyUnusable as error:
            line = read_document(configuration.file).line(("operators", "keys", user))
            key = f"operators.keys.{user}"
            file_named = str(configuration.file)
            problems.append(Problem(file_named, line, key, "a public key", str(error), error.hint))
    if problems:
        raise ConfigurationInvalid(problems)


def check_templates(nodes: Sequence[Node]) -> None:
    """Let the templates be parsed where they will be matched.

    Raises:
        ConfigurationInvalid: Templates that do not parse, each with its line.
    """
    problems: list[Problem] = []
    for node in nodes:
        try:
            Templates([node])
        except ConfigurationInvalid as error:
            problems += [_with_line(problem) for problem in error.problems]
    if problems:
        raise ConfigurationInvalid(problems)


def _with_line(problem: Problem) -> Problem:
    lines = {key_text(path): line for path, line in read_document(Path(problem.file)).lines.items()}
    return replace(problem, line=lines.get(problem.key, problem.line))
