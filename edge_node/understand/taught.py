"""What the examples of a node teach of its commands and of their arguments.

Knows worked-out examples and likeness; knows nothing of the sentence that is to be understood.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_node.understand.framing import NOWHERE, PLACES, From, Source
from edge_node.understand.likeness import Ridge
from edge_node.understand.speech import is_question
from edge_node.understand.vocabulary import DEVICE, key_of, keys_of
from edge_node.understand.words import stem, word_set, words_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edge_node.config.models import CommandConfig
    from edge_node.understand.framing import Worked
    from edge_node.understand.vocabulary import Sentence

ORDER_WORDS = word_set(
    """turn switch put set make bring up down now right every each all any both single whole entire across
    over around everywhere house home building room area place device thing one"""
)
# Verbs of operating machines that say the same as plainer ones.
_PLAINER = {
    **dict.fromkeys(("activate", "enable", "deactivate", "disable", "kill", "switch"), "turn"),
    "shut": "close",
    "halt": "stop",
    "launch": "start",
}
_WITH = {
    **dict.fromkeys(("activate", "enable"), "on"),
    **dict.fromkeys(("deactivate", "disable", "kill"), "off"),
}
_OTHER_COMMAND = 0.5


class Argument:
    """What the examples of all commands that have an argument teach of it."""

    def __init__(self, name: str, worked: Sequence[tuple[int, Worked]], among: NDArray[np.float32]) -> None:
        self.rows = np.array([row for row, _ in worked], dtype=np.intp)
        self.worked = [one for _, one in worked]
        self._commands = np.array([one.example.command for one in self.worked])
        same = np.where(self._commands[:, None] == self._commands[None, :], 1.0, _OTHER_COMMAND)
        inner = among[np.ix_(self.rows, self.rows)] * same.astype(np.float32)
        self.ridge = Ridge(inner, [_hashable(one, name) for one in self.worked])
        self.values = _values(self.worked, name)
        self.texts = [one.texts[name] for one in self.worked if name in one.texts]
        self.numeric = any(_is_number(one.example.arguments.get(name)) for one in self.worked)

    def alike(self, alike: NDArray[np.float32], command: str) -> NDArray[np.float32]:
        """Return how alike a sentence with one command is to each example."""
        own = np.where(self._commands == command, 1.0, _OTHER_COMMAND).astype(np.float32)
        weighed: NDArray[np.float32] = alike[self.rows] * own
        return weighed


class Command:
    """What the examples of one command teach."""

    def __init__(
        self,
        name: str,
        spec: CommandConfig,
        *,
        rows: NDArray[np.intp],
        worked: Sequence[Worked],
        arguments: Mapping[str, Argument],
    ) -> None:
        self.name = name
        self.spec = spec
        self.rows = rows
        self.arguments = {argument: arguments[argument] for argument in spec.args}
        told = words_of(f"{spec.description} {spaced(name)}")
        self.words = {stem(token.key) for one in worked for token in one.sentence.tokens} | {
            stem(key_of(word)) for word in told
        }
        asking = sum(is_question(one.example.utterance) for one in worked)
        self.asking = (asking + 0.5) / (len(worked) + 1)
        self.placeless = {
            label
            for one in worked
            for label in one.example.context
            if label not in one.sources
            and not any(mark.kind in {DEVICE, *PLACES} for mark in one.sentence.marks)
        }


def masked(sentence: Sentence) -> list[str]:
    """Return the words of a sentence as they are compared, with what is named said by its kind."""
    terms, position = [], 0
    starts = {mark.first: mark for mark in sentence.marks}
    while position < len(sentence.tokens):
        mark = starts.get(position)
        key = sentence.tokens[position].key
        terms.append(f"<{mark.kind}>" if mark else stem(plainer(key)))
        if not mark and key in _WITH:
            terms.append(_WITH[key])
        position = mark.last if mark else position + 1
    return terms


def plainer(key: str) -> str:
    """Return the plainer verb for one that says the same, else the word itself."""
    return _PLAINER.get(key, key)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def spaced(name: str) -> str:
    """Return the name of a command as words: 'setSpeed' and 'set_speed' are 'set speed'."""
    return " ".join(re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", name)).casefold()


def _hashable(one: Worked, argument: str) -> Source:
    """Return where an argument came from, with its value where a value tells more than the place."""
    source = one.sources.get(argument, NOWHERE)
    if source.origin not in {From.IMPLIED, From.LABEL, From.CUE}:
        return source
    value = one.example.arguments[argument]
    value = value[0] if isinstance(value, list) and value else value
    return Source(source.origin, value if not isinstance(value, list | dict) else str(value))


def _values(worked: Sequence[Worked], argument: str) -> dict[tuple[str, ...], Any]:
    """Return the values that examples took from the words as they are."""
    found: dict[tuple[str, ...], Any] = {}
    for one in worked:
        source = one.sources.get(argument)
        if source is not None and source.origin in {From.TEXT, From.IMPLIED}:
            value = one.example.arguments[argument]
            value = value[-1] if isinstance(value, list) else value
            if isinstance(value, str):
                found.setdefault(keys_of(value), value)
    return found
