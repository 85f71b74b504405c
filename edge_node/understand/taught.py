"""What the examples of a node teach of its commands and of their arguments.

Knows worked-out examples and likeness; knows nothing of the sentence that is to be understood.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_node.understand.framing import NOWHERE, PLACES, From, Source
from edge_node.understand.likeness import Ridge
from edge_node.understand.speech import is_question
from edge_node.understand.vocabulary import DEVICE, NUMBER, key_of, keys_of
from edge_node.understand.words import stem, word_set, words_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from edge_node.config.models import CommandConfig
    from edge_node.understand.framing import Worked
    from edge_node.understand.vocabulary import Mark, Sentence

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
_OTHER_COMPANION = 0.5
_MOSTLY = 0.5
_BESIDE = 0.4
TIME_UNITS = word_set("hour minute second day week")


class Argument:
    """What the examples of all commands that have an argument teach of it."""

    def __init__(
        self,
        name: str,
        worked: Sequence[tuple[int, Worked]],
        among: NDArray[np.float32],
        *,
        before: Sequence[str] = (),
    ) -> None:
        self.rows = np.array([row for row, _ in worked], dtype=np.intp)
        self.worked = [one for _, one in worked]
        self._commands = np.array([one.example.command for one in self.worked])
        self.companions = tuple(each for each in before if _is_known_of(each, self.worked))
        self._beside = {
            each: np.array([str(one.example.arguments.get(each, "")) for one in self.worked])
            for each in self.companions
        }
        same = np.where(self._commands[:, None] == self._commands[None, :], 1.0, _OTHER_COMMAND)
        for values in self._beside.values():
            same *= np.where(values[:, None] == values[None, :], 1.0, _OTHER_COMPANION)
        inner = among[np.ix_(self.rows, self.rows)] * same.astype(np.float32)
        self.ridge = Ridge(inner, [_hashable(one, name) for one in self.worked])
        self.values = _values(self.worked, name)
        self.texts = [one.texts[name] for one in self.worked if name in one.texts]
        self.numeric = any(_is_number(one.example.arguments.get(name)) for one in self.worked)

    def alike(
        self, alike: NDArray[np.float32], command: str, *, decided: Mapping[str, Any] | None = None
    ) -> NDArray[np.float32]:
        """Return how alike a sentence with one command is to each example.

        Args:
            alike: How alike it is to each sentence.
            command: The command.
            decided: Arguments that are decided; examples with others count for less. None leaves them aside.
        """
        own = np.where(self._commands == command, 1.0, _OTHER_COMMAND)
        for each, values in self._beside.items() if decided is not None else ():
            own *= np.where(values == str((decided or {}).get(each, "")), 1.0, _OTHER_COMPANION)
        weighed: NDArray[np.float32] = alike[self.rows] * own.astype(np.float32)
        return weighed


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a number stands in an example, and which arguments it may belong to.

    Attributes:
        row: The example.
        family: What the name of its argument begins with, before the unit.
        before: The word before the number.
        behind: The word behind the number and its unit.
    """

    row: int
    family: tuple[str, ...]
    before: str
    behind: str


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
        self._spots = [spot for row, one in zip(rows, worked, strict=True) for spot in _spots(int(row), one)]
        asking = sum(is_question(one.example.utterance) for one in worked)
        self.asking = (asking + 0.5) / (len(worked) + 1)
        self.placeless = {
            label
            for one in worked
            for label in one.example.context
            if label not in one.sources
            and not any(mark.kind in {DEVICE, *PLACES} for mark in one.sentence.marks)
        }

    def speaks(self, name: str, mark: Mark, sentence: Sentence, alike: NDArray[np.float32]) -> float:
        """Return how much the words beside a number speak for an argument, about 0 to 1."""
        own = family(name)
        before, behind = beside(mark, sentence)
        return max(
            (
                float(alike[spot.row])
                * (1 - 2 * _BESIDE + _BESIDE * (spot.before == before) + _BESIDE * (spot.behind == behind))
                for spot in self._spots
                if spot.family == own
            ),
            default=0.0,
        )


def family(name: str) -> tuple[str, ...]:
    """Return the words of an argument's name before a unit of time, 'start' of both its hours and minutes."""
    words = keys_of(name)
    return words[:-1] if words and words[-1] in TIME_UNITS else words


def beside(mark: Mark, sentence: Sentence) -> tuple[str, str]:
    """Return the words before and behind a number with its unit; empty at the ends."""
    after = mark.last + (mark.unit in TIME_UNITS)
    before = sentence.tokens[mark.first - 1].key if mark.first else ""
    return before, sentence.tokens[after].key if after < len(sentence.tokens) else ""


def _spots(row: int, one: Worked) -> Iterator[Spot]:
    for name, value in one.example.arguments.items():
        if one.sources[name].origin is not From.NAME or not _is_number(value):
            continue
        for mark in one.sentence.marks:
            unit = keys_of(name)[-1:]
            fits = not mark.unit or not unit or mark.unit == unit[0] or unit[0] not in TIME_UNITS
            if mark.kind == NUMBER and mark.values[0] == value and fits:
                yield Spot(row, family(name), *beside(mark, one.sentence))


def _is_known_of(argument: str, worked: Sequence[Worked]) -> bool:
    """Return whether an argument is mostly known rather than named: what kind of thing is meant."""
    having = [one.sources[argument] for one in worked if argument in one.sources]
    known = sum(source.origin in {From.IMPLIED, From.LABEL, From.CUE} for source in having)
    return bool(having) and known >= _MOSTLY * len(having)


def masked(sentence: Sentence) -> list[str]:
    """Return the words of a sentence as they are compared, with what is named said by its kind."""
    terms, position = [], 0
    starts = {mark.first: mark for mark in sentence.marks}
    while position < len(sentence.tokens):
        mark = starts.get(position)
        key = sentence.tokens[position].key
        timed = position and key in TIME_UNITS and sentence.tokens[position - 1].text[-1].isdigit()
        terms.append(f"<{mark.kind}>" if mark else "<time>" if timed else stem(plainer(key)))
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
