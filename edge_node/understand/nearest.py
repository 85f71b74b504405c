"""The commands whose example sentences are nearest to what was said.

Knows an embedding model and sampled sentences; knows nothing of templates' notation or of the language model.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_node.understand.calls import call_text
from edge_node.understand.templates import sample

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edge_node.config.loaded import Node
    from edge_node.protocols import Embedder

_SENTENCES_PER_COMMAND = 6


@dataclass(frozen=True, slots=True)
class Example:
    """A sentence and the call that is meant by it.

    Attributes:
        node: Node of the command.
        command: Name of the command.
        sentence: The sentence; '{argument}' stands for a device.
        arguments: Argument name to value; '{argument}' stands for a device.
    """

    node: str
    command: str
    sentence: str
    arguments: Mapping[str, Any]

    def with_device(self, device: str) -> tuple[str, str]:
        """Return the sentence and the call as JSON text, with `device` put in."""
        sentence = self.sentence
        arguments = dict(self.arguments)
        for name, value in self.arguments.items():
            if value == f"{{{name}}}":
                sentence = sentence.replace(value, device.replace("-", " ").replace("_", " "))
                arguments[name] = device
        return sentence, call_text(self.command, arguments)


class NearestExamples:
    """Example sentences of the commands of some nodes, by nearness of meaning.

    Args:
        nodes: The nodes whose commands may be ordered.
        embedder: Sentences to vectors; asked for the examples once, when they are first needed.
    """

    def __init__(self, nodes: Sequence[Node], *, embedder: Embedder) -> None:
        self._examples = tuple(
            Example(node.name, name, sentence, arguments)
            for node in nodes
            for name, command in node.spec.commands.items()
            for sentence, arguments in [
                *sample(command, limit=_SENTENCES_PER_COMMAND),
                (command.description, {}),
            ]
        )
        self._embedder = embedder

    def prepare(self) -> None:
        """Embed the examples now rather than with the first sentence."""
        if self._examples:
            _ = self._vectors

    @cached_property
    def _vectors(self) -> NDArray[np.float32]:
        return self._embedder.embed([_spoken(example) for example in self._examples])

    def find(self, text: str, *, nodes: Sequence[str]) -> list[tuple[Example, float]]:
        """Return the examples of `nodes` with their cosine similarity to `text`, nearest first."""
        if not self._examples:
            return []
        similarities = self._vectors @ self._embedder.embed([text])[0]
        order = np.argsort(-similarities, kind="stable")
        return [
            (self._examples[index], float(similarities[index]))
            for index in order
            if self._examples[index].node in nodes
        ]


def _spoken(example: Example) -> str:
    """Return the sentence as it is embedded: a device is said by the name of its argument."""
    sentence = example.sentence
    for name in example.arguments:
        sentence = sentence.replace(f"{{{name}}}", name.replace("_", " "))
    return sentence
