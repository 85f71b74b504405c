"""What a node's people may name: devices by all their names, areas and other labels, values of arguments.

Knows node files and the names of devices; knows nothing of commands' templates, of examples or of models.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

from edge_node.understand.naming import spoken_names
from edge_node.understand.values import digits, read_number, unit_words, whole_parts
from edge_node.understand.words import clean, stem, word_set

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from edge_node.config.loaded import Node

DEVICE, NUMBER = "device", "number"
_TOKEN = re.compile(r"-?\d+(?:\.\d+)?|[^\W_]+(?:['.][^\W_]+)*|[°%]")
_SEPARATORS = re.compile(r"[-_/\s]+")
_ARTICLES = word_set("the a an my our your this that these those")
_SPELLING = 0.79
_SHORTEST_MISSPELT = 5
_PLACES = ("area", "floor")


@dataclass(frozen=True, slots=True)
class Token:
    """A word or a number of a sentence.

    Attributes:
        text: As it was said.
        key: As it is compared: small letters, without plural or possessive ending.
        start: First character.
        end: One past the last character.
    """

    text: str
    key: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Mark:
    """Words of a sentence that name something.

    Attributes:
        kind: `device`, `number`, or the label or argument whose value is named.
        values: What may be meant; several devices may have one name.
        first: First token.
        last: One past the last token.
        unit: The word behind a number, compared as a token is; empty for anything else.
    """

    kind: str
    values: tuple[Any, ...]
    first: int
    last: int
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence with what it names.

    Attributes:
        text: The sentence, numbers in digits.
        tokens: Its words.
        marks: What is named without doubt, in order; a device, a place or a number.
        cues: Further values whose words stand in it, which may or may not be meant.
    """

    text: str
    tokens: tuple[Token, ...]
    marks: tuple[Mark, ...]
    cues: tuple[Mark, ...]

    def words(self, first: int, last: int) -> str:
        """Return the text from one token up to another, as it was said."""
        return self.text[self.tokens[first].start : self.tokens[last - 1].end] if first < last else ""


class Vocabulary:
    """The names that mean something to one node.

    Args:
        node: The node.
        devices: Its devices, as the twin knows them now.
    """

    def __init__(self, node: Node, *, devices: Sequence[str]) -> None:
        spec = node.spec
        self.devices = tuple(dict.fromkeys((*devices, *spec.devices)))
        self.labels: dict[str, Mapping[str, str]] = {
            name: known.known_labels for name, known in spec.devices.items()
        }
        self._names: dict[tuple[str, ...], list[tuple[str, Any]]] = {}
        plain = spoken_names(self.devices)
        for device in self.devices:
            known = spec.devices.get(device)
            for name in (*plain[device], *(known.aliases if known else ())):
                # 'flap-s' may be written 'flaps', which must not make it the one that "the flap" means.
                if " " in name or key_of(name) == name.casefold() or name == device:
                    self._add(name, DEVICE, device)
        for kind, value, name in _values(node):
            self._add(name, kind, value)
        self._longest = max((len(key) for key in self._names), default=0)
        self._stems: dict[str, list[tuple[str, Any]]] = {}
        for key, meanings in self._names.items():
            if len(key) == 1:
                places = [meaning for meaning in meanings if meaning[0] not in {DEVICE, *_PLACES}]
                self._stems.setdefault(stem(key[0]), []).extend(places)
        self._spelt = sorted({word for key in self._names for word in key if len(word) >= _SHORTEST_MISSPELT})

    def read(self, text: str, *, named: Sequence[tuple[str, Any]] = ()) -> Sentence:
        """Return a sentence with what it names, the longest names first.

        Args:
            text: The sentence.
            named: Kinds and values that are known to be named in it, whether or not a device has them now.
        """
        said = whole_parts(digits(clean(text)))
        tokens = tuple(
            Token(found[0], key_of(found[0]), found.start(), found.end()) for found in _TOKEN.finditer(said)
        )
        keys = [token.key for token in tokens]
        known = {key: [(kind, value)] for kind, value in named if (key := keys_of(str(value)))}
        found = self._found(keys, known)
        marks: list[Mark] = []
        cues: list[Mark] = []
        taken: set[int] = set()
        for first, last, meanings in found:
            if taken & set(range(first, last)):
                continue
            kinds = _by_kind(meanings)
            certain = [kind for kind in (DEVICE, *_PLACES) if kind in kinds]
            if len(kinds) == 1 and certain:
                marks.append(Mark(certain[0], kinds[certain[0]], first, last))
                taken |= set(range(first, last))
            else:
                cues += [Mark(kind, values, first, last) for kind, values in kinds.items()]
                if last - first > 1:
                    taken |= set(range(first, last))
        for at, token in enumerate(tokens):
            if at not in taken and (token.key,) not in self._names:
                akin = self._stems.get(stem(token.key), ())
                cues += [Mark(kind, (value,), at, at + 1) for kind, value in akin]
        marks += self._numbers(tokens, taken)
        return Sentence(said, tokens, tuple(sorted(marks, key=lambda mark: mark.first)), tuple(cues))

    def has(self, kind: str, text: str) -> tuple[Any, ...]:
        """Return what a name means as a value of one kind; nothing where it is none."""
        meanings = self._names.get(keys_of(text), ())
        return tuple(value for known, value in meanings if known == kind)

    def _add(self, name: str, kind: str, value: Any) -> None:
        key = keys_of(name)
        meanings = self._names.setdefault(key, []) if key else []
        if (kind, value) not in meanings:
            meanings.append((kind, value))

    def _found(
        self, keys: list[str], known: Mapping[tuple[str, ...], list[tuple[str, Any]]]
    ) -> list[tuple[int, int, list[tuple[str, Any]]]]:
        """Return where names stand, the longest first; what is `known` to be named counts before others."""
        spelt = [self._corrected(key) for key in keys]
        longest = max([self._longest, *map(len, known)])
        found = []
        for length in range(min(longest, len(keys)), 0, -1):
            for first in range(len(keys) - length + 1):
                window = tuple(spelt[first : first + length])
                meanings = known.get(tuple(keys[first : first + length])) or self._names.get(window)
                if meanings:
                    found.append((first, first + length, meanings))
        return sorted(
            found, key=lambda place: (-(tuple(keys[place[0] : place[1]]) in known), place[0] - place[1])
        )

    def _corrected(self, key: str) -> str:
        """Return the word of a name that `key` is a slip of, or `key` itself."""
        if len(key) < _SHORTEST_MISSPELT or not key.isalpha() or key in self._spelt:
            return key
        best, ratio = key, _SPELLING
        for word in self._spelt:
            if word[0] == key[0] and abs(len(word) - len(key)) <= 2:  # noqa: PLR2004 - two letters more or less
                now = SequenceMatcher(None, word, key).ratio()
                if now > ratio:
                    best, ratio = word, now
        return best

    def _numbers(self, tokens: Sequence[Token], taken: set[int]) -> list[Mark]:
        marks = []
        for index, token in enumerate(tokens):
            number = read_number(token.text)
            if number is None or index in taken:
                continue
            unit = tokens[index + 1].key if index + 1 < len(tokens) else ""
            marks.append(Mark(NUMBER, (number,), index, index + 1, unit))
        return marks


def _values(node: Node) -> Iterator[tuple[str, str, str]]:
    """Yield kind, value and a way to say it, of all labels and of arguments with an enum."""
    for device in node.spec.devices.values():
        for label, value in device.known_labels.items():
            yield label, value, value
    for label, values in node.spec.words.items():
        for value, words in values.items():
            for word in (value, *words):
                yield label, value, word
    for command in node.spec.commands.values():
        for name, argument in command.args.items():
            for value in argument.enum or ():
                yield name, value, value


def key_of(word: str) -> str:
    """Return a word as it is compared: small letters, no possessive and no plural ending."""
    key = word.casefold().removesuffix("'s").rstrip("'")
    if len(key) > 3 and key.endswith("s") and not key.endswith(("ss", "us", "is")):  # noqa: PLR2004 - "gas" stays
        key = key.removesuffix("s")
    return key


def keys_of(text: str) -> tuple[str, ...]:
    """Return the words of a name as they are compared, without a leading article."""
    keys = [key_of(word) for word in _TOKEN.findall(_SEPARATORS.sub(" ", digits(text)))]
    return tuple(keys)


def same_unit(one: str, other: str) -> bool:
    """Return whether two words mean the same unit."""
    return one == other or other in {key_of(word) for word in unit_words(one)}


def _by_kind(meanings: Iterable[tuple[str, Any]]) -> dict[str, tuple[Any, ...]]:
    kinds: dict[str, tuple[Any, ...]] = {}
    for kind, value in meanings:
        kinds[kind] = (*kinds.get(kind, ()), value)
    return kinds
