"""Files to a configuration, or to the list of everything that is wrong with them.

Knows where node files lie and in which order things are checked; what is checked stands in the models and
in `edge_node.config.crosscheck`. Opens nothing but these files, expands nothing, runs nothing.
"""

from __future__ import annotations

import glob
from pathlib import PurePath
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from edge_node.config.across import across_nodes, check_operators
from edge_node.config.crosscheck import crosscheck
from edge_node.config.examples import read_examples
from edge_node.config.larger_model import check_larger_model
from edge_node.config.loaded import Configuration, Node
from edge_node.config.models import NodeConfig, RuntimeConfig
from edge_node.config.source import Document, key_text, read_document
from edge_node.config.wording import problems_of, shown
from edge_node.errors import ConfigurationInvalid, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pydantic import BaseModel

    Model = TypeVar("Model", bound=BaseModel)

RUNTIME_FILE = "edge-node.yaml"
NODE_FILE = "node.yaml"
_DEFAULT_NODES = ("nodes/*",)


def load(path: Path) -> Configuration:
    """Return the configuration of a runtime file, or of a folder that holds an `edge-node.yaml`.

    Raises:
        ConfigurationInvalid: It holds every problem of the runtime file and of all node files.
    """
    file = path / RUNTIME_FILE if path.is_dir() else path
    problems: list[Problem] = []
    document = _document(file, problems)
    if document is None:
        raise ConfigurationInvalid(problems)
    runtime = _validated(document, RuntimeConfig, problems)
    read = [_read_node(node_file, problems) for node_file in _node_files(document, file.parent, problems)]
    nodes = sorted((found for found in read if found), key=lambda found: found[0].name)
    problems += across_nodes(nodes)
    if runtime is not None:
        problems += check_operators(nodes, operators=runtime.operators)
        problems += check_larger_model(runtime.larger_model, document)
    if problems or runtime is None:
        raise ConfigurationInvalid(problems)
    return Configuration(runtime, tuple(node for node, _ in nodes), file)


def load_runtime(path: Path) -> Configuration:
    """Return what the runtime file alone says, without nodes: for those who speak to an edge that runs.

    A node file that is wrong must keep nobody from stopping the edge.

    Raises:
        ConfigurationInvalid: It holds every problem of the runtime file.
    """
    file = path / RUNTIME_FILE if path.is_dir() else path
    runtime, _ = read_model(file, RuntimeConfig)
    return Configuration(runtime, (), file)


def load_node(path: Path) -> Node:
    """Return one node, from its folder or from its `node.yaml`.

    Raises:
        ConfigurationInvalid: It holds every problem of the file.
    """
    problems: list[Problem] = []
    found = _read_node(path / NODE_FILE if path.is_dir() else path, problems)
    if problems or found is None:
        raise ConfigurationInvalid(problems)
    return found[0]


def read_model(file: Path, model: type[Model]) -> tuple[Model, Document]:
    """Return the content of a file as a model, with its lines.

    Raises:
        ConfigurationInvalid: It holds every problem of the file.
    """
    problems: list[Problem] = []
    document = _document(file, problems)
    content = _validated(document, model, problems) if document else None
    if document is None or content is None:
        raise ConfigurationInvalid(problems)
    return content, document


def _read_node(file: Path, problems: list[Problem]) -> tuple[Node, Document] | None:
    document = _document(file, problems)
    spec = _validated(document, NodeConfig, problems) if document else None
    if document is None or spec is None:
        return None
    examples, faults = read_examples(spec, document, folder=file.parent)
    node = Node(spec, file.parent, examples)
    problems += crosscheck(node, document)
    problems += faults
    return node, document


def _document(file: Path, problems: list[Problem]) -> Document | None:
    try:
        document = read_document(file)
    except ConfigurationInvalid as error:
        problems += error.problems
        return None
    if isinstance(document.data, dict):
        return document
    problems.append(Problem(document.file, 1, "", "keys and values at the top", shown(document.data)))
    return None


def _validated(document: Document, model: type[Model], problems: list[Problem]) -> Model | None:
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        problems += problems_of(error, document=document, model=model)
        return None


def _node_files(document: Document, folder: Path, problems: list[Problem]) -> list[Path]:
    """Return the node files that the runtime file names, even where other keys of it are wrong."""
    named = document.data.get("nodes", _DEFAULT_NODES)
    patterns: Sequence[object] = named if isinstance(named, list | tuple) else ()
    files: dict[Path, Path] = {}
    for index, pattern in enumerate(patterns):
        if not isinstance(pattern, str):
            continue  # the model has said so
        node_files = str(PurePath(pattern) / NODE_FILE)
        matches = glob.glob(node_files, root_dir=folder)  # noqa: PTH207 - Path.glob takes no absolute pattern
        found = [folder / match for match in sorted(matches)]
        files |= {file.resolve(): file for file in found}
        if not found:
            path = ("nodes", index)
            line, expected = document.line(path), f"folders with a {NODE_FILE}"
            came = f"no such folder at {pattern!r}"
            problems.append(Problem(document.file, line, key_text(path), expected, came))
    return list(files.values())
