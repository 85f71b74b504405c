"""Where the arguments of an order come from: its words, its context, the device it names, or an example.

Knows sentences with what they name, and arguments; knows nothing of vectors or of how a command is chosen.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from edge_node.understand.vocabulary import DEVICE, NUMBER, keys_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_node.config.loaded import SpokenExample
    from edge_node.config.models import ArgumentConfig, CommandConfig
    from edge_node.understand.vocabulary import Mark, Sentence, Vocabulary


class From(StrEnum):
    """Where the value of an argument comes from."""

    NAME = "name"  # a device, a place or a number that the sentence names
    CUE = "cue"  # a word that is a value
    TEXT = "text"  # words taken as they are
    CONTEXT = "context"  # where it was said
    LABEL = "label"  # what is known of the device that is named
    IMPLIED = "implied"  # the example's own value
    NOWHERE = "nowhere"  # it is left out


@dataclass(frozen=True, slots=True)
class Source:
    """Where one argument comes from.

    Attributes:
        origin: The kind of place.
        value: The value of an implied one; None for all others.
    """

    origin: From
    value: Any = None


NOWHERE = Source(From.NOWHERE)


@dataclass(frozen=True, slots=True)
class Worked:
    """An example with where each of its arguments comes from.

    Attributes:
        example: The example.
        sentence: Its sentence.
        sources: Argument name to where it comes from; arguments that are left out are not in it.
        texts: Argument that takes words as they are: first and last token of them.
    """

    example: SpokenExample
    sentence: Sentence
    sources: Mapping[str, Source]
    texts: Mapping[str, tuple[int, int]]


def work_out(example: SpokenExample, *, command: CommandConfig | None, vocabulary: Vocabulary) -> Worked:
    """Return an example with where each argument comes from."""
    args = command.args if command is not None else {}
    named = []
    for name, value in example.arguments.items():
        argument = args.get(name)
        kind = DEVICE if argument is not None and argument.device else name
        if kind in {DEVICE, *PLACES} and isinstance(value, str):
            named.append((kind, value))
    sentence = vocabulary.read(example.utterance, named=named)
    sources: dict[str, Source] = {}
    texts: dict[str, tuple[int, int]] = {}
    for name, value in example.arguments.items():
        argument = args.get(name)
        values = value if isinstance(value, list) else [value]
        place = None
        if argument is not None and argument.type == "string" and not argument.enum:
            place = _place(sentence, values)
        sources[name] = _source(
            name, values, argument, example, sentence, vocabulary, is_said=place is not None
        )
        if place is not None and sources[name].origin is From.TEXT:
            texts[name] = place
    return Worked(example, sentence, sources, texts)


PLACES = ("area", "floor")


def devices_named(sentence: Sentence) -> list[Mark]:
    """Return the places where a sentence names a device."""
    return [mark for mark in sentence.marks if mark.kind == DEVICE]


def _source(
    name: str,
    values: Sequence[Any],
    argument: ArgumentConfig | None,
    example: SpokenExample,
    sentence: Sentence,
    vocabulary: Vocabulary,
    *,
    is_said: bool,
) -> Source:
    value = values[0] if values else ""
    kind = DEVICE if argument is not None and argument.device else name
    for mark in sentence.marks:
        if mark.kind == NUMBER and isinstance(value, int | float) and not isinstance(value, bool):
            if mark.values[0] == value:
                return Source(From.NAME)
        elif mark.kind == kind and _means(mark, values, vocabulary):
            return Source(From.NAME)
    beside = _beside(name, kind, values, example, sentence, vocabulary)
    if beside is not None:
        return Source(beside)
    known = vocabulary.has(kind, str(value))
    return Source(From.IMPLIED, value) if known or not is_said else Source(From.TEXT)


def _beside(
    name: str,
    kind: str,
    values: Sequence[Any],
    example: SpokenExample,
    sentence: Sentence,
    vocabulary: Vocabulary,
) -> From | None:
    """Return which place beside the names in the sentence has the value of an argument."""
    if example.context.get(name) in values:
        return From.CONTEXT
    if any(mark.kind == kind and set(values) & set(mark.values) for mark in sentence.cues):
        return From.CUE
    devices = [device for mark in devices_named(sentence) for device in mark.values]
    told = any(vocabulary.labels.get(device, {}).get(name) in values for device in devices)
    return From.LABEL if told else None


def _means(mark: Mark, values: Sequence[Any], vocabulary: Vocabulary) -> bool:
    if set(values) & set(mark.values):
        return True
    meant = {
        device for value in values if isinstance(value, str) for device in vocabulary.has(mark.kind, value)
    }
    return not meant.isdisjoint(mark.values)


def _place(sentence: Sentence, values: Sequence[Any]) -> tuple[int, int] | None:
    keys = [token.key for token in sentence.tokens]
    for value in values:
        wanted = list(keys_of(str(value)))
        for first in range(len(keys) - len(wanted) + 1):
            if wanted and keys[first : first + len(wanted)] == wanted:
                return first, first + len(wanted)
    return None
