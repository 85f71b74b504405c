"""A configuration that was read and found good.

Knows the models of both files and where they were found; knows nothing of how they are read.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_node.paths import state_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_node.config.models import NodeConfig, RuntimeConfig


@dataclass(frozen=True, slots=True)
class SpokenExample:
    """A sentence that a person said, and what was meant by it.

    Attributes:
        utterance: The sentence.
        command: Name of the command; empty where none was meant.
        arguments: Argument name to value; of a list any value is right.
        context: Label to value: where the sentence was said.
    """

    utterance: str
    command: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    context: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Node:
    """One node, as its folder describes it.

    Attributes:
        spec: The content of node.yaml.
        folder: The folder; patterns of `knowledge` are relative to it.
        examples: What the file says that `examples` names.
    """

    spec: NodeConfig
    folder: Path
    examples: tuple[SpokenExample, ...] = ()

    @property
    def name(self) -> str:
        """Name of the node."""
        return self.spec.name


@dataclass(frozen=True, slots=True)
class Configuration:
    """The runtime file and all nodes it names.

    Attributes:
        runtime: The content of the runtime file.
        nodes: The nodes, sorted by name.
        file: The runtime file.
    """

    runtime: RuntimeConfig
    nodes: tuple[Node, ...]
    file: Path

    @property
    def keys(self) -> dict[str, Path]:
        """User to the file of their public key; a relative one starts at the runtime file."""
        named = self.runtime.operators.keys
        return {user: self.file.parent / Path(file).expanduser() for user, file in named.items()}

    @property
    def state(self) -> Path:
        """Folder of the journal and the indexes; a relative one starts at the runtime file."""
        named = self.runtime.state
        if not named:
            return state_folder(self.runtime.edge)
        return (self.file.parent / Path(os.path.expandvars(named)).expanduser()).resolve()
