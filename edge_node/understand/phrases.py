"""Which devices, and which values of arguments, the words of a sentence name.

Knows node files and the names of devices; knows nothing of templates' notation, of the twin or of models.
A phrase may mean several devices: what is wanted of them, or where it was said, tells which.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from edge_node.understand.spelling import HOMOPHONES, corrected
from edge_node.understand.values import NUMBER_WORDS, digits
from edge_node.understand.words import word_set

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edge_node.config.loaded import Node

DEVICE = "device"
_PART = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+(?:'[^\W\d_]+)?")
_POSSESSIVE = re.compile(r"'s?$")
_ARTICLES = word_set("the my our your its their")
_NUMBERED = ("number", "no", "nr")
_PLACED = ("in", "of", "at", "on")
_EVERY = ("all", "every", "each", "both", "any")
_LONGEST_GROUP = 8
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


class Grade(IntEnum):
    """How a phrase names something, the surest first."""

    EXACT = 0  # the name as it stands in topics
    NAME = 1  # the whole name as people say it, or an alias
    OTHERWISE = 2  # with another word for what it is, its number alone, or by its place and what it is
    PART = 3  # what it is, or its place, and no more
    NUMBER = 4  # a bare number


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words of a text that name something.

    Attributes:
        kind: `device`, or the argument whose value is named.
        values: What may be meant, all named equally well.
        start: First character.
        end: One past the last character.
        grade: How it is named.
    """

    kind: str
    values: tuple[Any, ...]
    start: int
    end: int
    grade: Grade = Grade.NAME


@dataclass(frozen=True, slots=True)
class _Word:
    text: str
    key: str
    start: int
    end: int


class Phrases:
    """The names of one node's devices and values.

    Args:
        node: The node.
        devices: Its devices, as the twin knows them now.
        literals: Words that templates consist of; they are never taken for slips of names.
    """

    def __init__(self, node: Node, *, devices: Sequence[str], literals: frozenset[str] = frozenset()) -> None:
        spec = node.spec
        self.devices = tuple(devices)
        kinds = spec.words.get("kind", {})
        self._synonyms = _groups([(value, *words) for value, words in kinds.items()])
        self._place_words = {
            " ".join(_keys(place)): tuple(" ".join(_keys(word)) for word in words)
            for label in ("area", "floor")
            for place, words in spec.words.get(label, {}).items()
        }
        called = {
            name
            for command in spec.commands.values()
            for name, argument in command.args.items()
            if argument.device
        }
        self._called = tuple(sorted(called))
        self._forms: dict[tuple[str, ...], dict[str, dict[Any, Grade]]] = {}
        self.nouns: dict[str, str] = {}
        self.places: dict[str, tuple[str, ...]] = {}
        for device in self.devices:
            self._learn(device, node)
        self._ordinals()
        self._values(node)
        self._longest = max(map(len, self._forms), default=0)
        self._spelt = frozenset(key for form in self._forms for key in form)
        self._literals = literals
        counted = (one for form in self._forms for one, other in pairwise(form) if other.isdigit())
        self._counted = frozenset((*_NUMBERED, *counted))

    def find(self, text: str, *, bare_numbers: bool = False, strangers: bool = False) -> list[Phrase]:
        """Return what `text` (numbers in digits) names, in order and without overlaps, the longest first.

        Args:
            text: The text.
            bare_numbers: Whether a number that only one device ends in may name that device.
            strangers: Whether devices that are counted and not there are named too, with no values.
        """
        words = self._words(text)
        found = self._strangers(words) if strangers else []
        for length in range(min(self._longest, len(words)), 0, -1):
            for first in range(len(words) - length + 1):
                window = words[first : first + length]
                start, end = window[0].start, window[-1].end
                if any(one.start < end and start < one.end for one in found) or _goes_on(text, start, end):
                    continue
                found += self._named(window, text, bare_numbers=bare_numbers and first > 0)
        return sorted(self._without_verbs(found, text), key=lambda phrase: phrase.start)

    def _strangers(self, words: Sequence[_Word]) -> list[Phrase]:
        """Return where a device is counted that is not there, such as 'pump 9' of three pumps."""
        found = []
        for first, word in enumerate(words):
            number = words[first + 1 :][:1]
            if number and number[0].key in _NUMBERED:
                number = words[first + 2 :][:1]
            counted = word.key in self._counted and word.key not in _NUMBERED
            if not counted or not number or not number[0].key.lstrip("-").isdecimal():
                continue
            if (word.key, number[0].key) not in self._forms:
                found.append(Phrase(DEVICE, (), word.start, number[0].end))
        return found

    def groups(self, text: str) -> list[Phrase]:
        """Return where a text names several devices at once, in order: 'all pumps', 'the lights downstairs'.

        A noun in the plural or behind 'all', 'every', 'each', 'both' or 'any', with a place before or behind it;
        the values are the devices that are called so, in that place if one is said.
        """
        words = self._words(text)
        found: list[Phrase] = []
        for length in range(min(_LONGEST_GROUP, len(words)), 0, -1):
            for first in range(len(words) - length + 1):
                window = words[first : first + length]
                start, end = window[0].start, window[-1].end
                if any(one.start < end and start < one.end for one in found) or _goes_on(text, start, end):
                    continue
                devices = self._group([word.key for word in window])
                if devices:
                    found.append(Phrase(DEVICE, devices, start, end, Grade.OTHERWISE))
        return sorted(found, key=lambda phrase: phrase.start)

    def _group(self, keys: list[str]) -> tuple[str, ...]:
        every = bool(keys) and keys[0] in _EVERY
        rest = keys[1:] if every else keys
        while every and rest and rest[0] in {"of", "one"}:
            rest = rest[1:]
        for device in self.devices:
            for noun in self._same(self.nouns[device]):
                for said in {noun, _plural(noun)}:
                    at = _place_of(said.split(), rest)
                    if at is None or not (every or said != noun):
                        continue
                    before, after = rest[:at], rest[at + len(said.split()) :]
                    devices = self._called_so(noun, before, after)
                    if devices:
                        return devices
        return ()

    def _called_so(self, noun: str, before: list[str], after: list[str]) -> tuple[str, ...]:
        """Return the devices that a noun means with words before and behind it that can only be a place."""
        if after[:1] and after[0] in _PLACED:
            after = after[1:]
        places = [" ".join(words) for words in (before, after) if words]
        devices = [device for device in self.devices if noun in self._same(self.nouns[device])]
        for place in places:
            devices = [device for device in devices if place in self.places[device]]
        return tuple(devices)

    def _without_verbs(self, found: list[Phrase], text: str) -> list[Phrase]:
        """Return what is named without single words that templates have too, where a device is named beside."""
        devices = [phrase for phrase in found if phrase.kind == DEVICE]
        verbs = [
            phrase
            for phrase in devices
            if phrase.grade is Grade.PART and _key(text[phrase.start : phrase.end]) in self._literals
        ]
        spared = verbs if len(verbs) < len(devices) else verbs[:-1]
        return [phrase for phrase in found if phrase not in spared]

    def fitting(self, argument: str, devices: Iterable[str]) -> tuple[str, ...]:
        """Return those devices that are called as the argument is, or all where none or every one is."""
        given = tuple(devices)
        return tuple(device for device in given if self.fits(argument, device)) or given

    def fits(self, argument: str, device: str) -> bool:
        """Return whether a device is called as an argument is, or by a word that says the same."""
        return self.nouns.get(device) in self._same(argument)

    def within(self, place: str, devices: Iterable[str]) -> tuple[str, ...]:
        """Return those devices that are in a place, such as a room or a floor."""
        keys = " ".join(_keys(place))
        return tuple(device for device in devices if keys in self.places.get(device, ()))

    def _named(self, window: Sequence[_Word], text: str, *, bare_numbers: bool) -> list[Phrase]:
        start, end = window[0].start, window[-1].end
        kinds = self._forms.get(tuple(word.key for word in window), {})
        phrases = []
        for kind, meanings in kinds.items():
            said = {value: Grade.EXACT if text[start:end] == value else grade for value, grade in meanings.items()}
            best = min(said.values())
            if best is Grade.NUMBER and (not bare_numbers or len(said) > 1):
                continue
            values = tuple(value for value, grade in said.items() if grade == best)
            phrases.append(Phrase(kind, values, start, end, best))
        # A name that is a device's and a value's is the one that is named better.
        return sorted(phrases, key=lambda phrase: phrase.grade)[:1]

    def _words(self, text: str) -> list[_Word]:
        words: list[_Word] = []
        for match in _PART.finditer(text):
            key = _key(match[0])
            if key in _ARTICLES:
                continue
            if _is_negative(text, match.start()):
                key = f"-{key}"
            if key not in self._spelt and key not in self._literals:
                key = corrected(key, self._spelt)
            if key not in self._literals and words and words[-1].key in self._counted:
                key = digits(HOMOPHONES.get(key) or corrected(key, NUMBER_WORDS))
            words.append(_Word(match[0], key, match.start(), match.end()))
        return words

    def _add(self, keys: Sequence[str], kind: str, value: Any, grade: Grade) -> None:
        if keys:
            meanings = self._forms.setdefault(tuple(keys), {}).setdefault(kind, {})
            meanings[value] = min(grade, meanings.get(value, grade))

    def _learn(self, device: str, node: Node) -> None:
        """Learn all ways to name one device."""
        keys = _keys(device)
        known = node.spec.devices.get(device)
        self._add(keys, DEVICE, device, Grade.NAME)
        number = keys[-1] if len(keys) > 1 and keys[-1].isdigit() else ""
        stem = keys[:-1] if number else keys
        labels = known.known_labels if known else {}
        noun = " ".join(_keys(labels["kind"])) if "kind" in labels else " ".join(stem) if number else stem[-1:] and stem[-1]
        self.nouns[device] = noun or device
        own = " ".join(stem[:-1]) if not number and len(stem) > 1 else ""
        told = [" ".join(_keys(place)) for place in (known.places if known else ())]
        said = [other for place in (own, *told) for other in (place, *self._place_words.get(place, ())) if place]
        self.places[device] = tuple(dict.fromkeys(said))
        nouns = self._same(self.nouns[device])
        for alias in known.aliases if known else ():
            self._add(_keys(alias), DEVICE, device, Grade.NAME)
            for noun in nouns:
                if _keys(alias)[-1:] and _keys(alias)[-1] in nouns:
                    self._add((*_keys(alias)[:-1], *noun.split()), DEVICE, device, Grade.OTHERWISE)
        if number:
            self._learn_number(device, number, nouns)
        for place in self.places[device]:
            self._learn_place(device, place.split(), nouns)
        for name in nouns:
            self._add(name.split(), DEVICE, device, Grade.PART)
            self._add(_plural(name).split(), DEVICE, device, Grade.PART)

    def _learn_number(self, device: str, number: str, nouns: Iterable[str]) -> None:
        for word in _NUMBERED:
            self._add((word, number), DEVICE, device, Grade.OTHERWISE)
        self._add((number,), DEVICE, device, Grade.NUMBER)
        for noun in (*nouns, *self._called):
            self._add((*noun.split(), number), DEVICE, device, Grade.OTHERWISE)
            for word in _NUMBERED:
                self._add((*noun.split(), word, number), DEVICE, device, Grade.OTHERWISE)

    def _learn_place(self, device: str, place: list[str], nouns: Iterable[str]) -> None:
        self._add(place, DEVICE, device, Grade.PART)
        for noun in nouns:
            for said in (noun.split(), _plural(noun).split()):
                self._add((*place, *said), DEVICE, device, Grade.OTHERWISE)
                for word in _PLACED:
                    self._add((*said, word, *place), DEVICE, device, Grade.OTHERWISE)

    def _ordinals(self) -> None:
        """Learn 'the second pump' where the pumps are numbered from 1 without a gap."""
        numbered: dict[str, dict[int, str]] = {}
        for device in self.devices:
            keys = _keys(device)
            if len(keys) > 1 and keys[-1].isdigit():
                numbered.setdefault(self.nouns[device], {})[int(keys[-1])] = device
        for noun, members in numbered.items():
            if sorted(members) == list(range(1, len(members) + 1)) and len(members) <= len(_ORDINALS):
                for number, device in members.items():
                    for said in (*self._same(noun), *self._called):
                        self._add((_ORDINALS[number - 1], *said.split()), DEVICE, device, Grade.OTHERWISE)

    def _values(self, node: Node) -> None:
        """Learn the values of arguments with an enum."""
        for command in node.spec.commands.values():
            for name, argument in command.args.items():
                words = node.spec.words.get(name, {})
                nouns = [_keys(value)[:-1] for value in argument.enum or () if _keys(value)[-1:] and _keys(value)[-1].isdigit()]
                for value in argument.enum or ():
                    keys = _keys(value)
                    self._add(keys, name, value, Grade.NAME)
                    self._add((*keys, name), name, value, Grade.OTHERWISE)
                    for word in words.get(value, ()):
                        self._add(_keys(word), name, value, Grade.NAME)
                    if len(keys) > 1 and keys[-1].isdigit():
                        for word in _NUMBERED:
                            self._add((*keys[:-1], word, keys[-1]), name, value, Grade.OTHERWISE)
                        if nouns.count(keys[:-1]) == 1:
                            self._add(keys[:-1], name, value, Grade.PART)

    def _same(self, noun: str) -> tuple[str, ...]:
        return self._synonyms.get(noun, (noun,))


def _groups(groups: Iterable[Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Return for each noun all that say the same."""
    same: dict[str, tuple[str, ...]] = {}
    for words in groups:
        nouns = tuple(dict.fromkeys(" ".join(_keys(word)) for word in words))
        for noun in nouns:
            same[noun] = tuple(dict.fromkeys((*same.get(noun, ()), *nouns)))
    return same


def _key(word: str) -> str:
    plain = _POSSESSIVE.sub("", word.casefold())
    return plain.lstrip("0") or "0" if plain.isdecimal() else plain


def _keys(name: str) -> tuple[str, ...]:
    return tuple(_key(part) for part in _PART.findall(name))


def _is_negative(text: str, start: int) -> bool:
    """Return whether a sign stands before a number, rather than a hyphen between a name and its number."""
    sign = text[:start].endswith("-") and text[start].isdigit()
    return sign and (start == 1 or text[start - 2].isspace())


def _place_of(words: list[str], keys: list[str]) -> int | None:
    """Return where words stand one behind the other among keys."""
    for at in range(len(keys) - len(words) + 1):
        if keys[at : at + len(words)] == words:
            return at
    return None


def _plural(noun: str) -> str:
    return noun if noun.endswith("s") else f"{noun}s"


def _goes_on(text: str, start: int, end: int) -> bool:
    """Return whether a name is only a part of a longer word or number: 'pump-2' in 'pump-2.5'."""
    before, after = text[max(0, start - 1) : start], text[end : end + 2]
    return (
        before in {"-", ".", "_"}
        or before.isalnum()
        or after[:1].isalnum()
        or after[:1] == "_"
        or (after[:1] in {"-", "."} and after[1:].isalnum())
    )
