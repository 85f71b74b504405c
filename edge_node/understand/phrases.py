"""Which devices, and which values of arguments, the words of a sentence name.

Knows node files and the names of devices; knows nothing of templates' notation, of the twin or of models.
A phrase may mean several devices: what is wanted of them, or where it was said, tells which.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from edge_node.understand.forms import DEVICE, NUMBERED, PART, PLACED, Forms, Grade, key_of, keys_of, plural
from edge_node.understand.spelling import HOMOPHONES, corrected
from edge_node.understand.values import NUMBER_WORDS, digits
from edge_node.understand.words import word_set

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edge_node.config.loaded import Node

_ARTICLES = word_set("the my our your its their")
_EVERY = ("all", "every", "each", "both", "any")
_LONGEST_GROUP = 8


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
        self._forms = Forms(node, devices=devices)
        self._literals = literals
        names = self._forms.meanings
        self._longest = max(map(len, names), default=0)
        self._spelt = frozenset(key for name in names for key in name)
        counted = (one for name in names for one, other in pairwise(name) if other.isdigit())
        self._counted = frozenset((*NUMBERED, *counted))

    @property
    def devices(self) -> tuple[str, ...]:
        """The devices."""
        return self._forms.devices

    def noun(self, device: str) -> str:
        """Return what a device is called without its number or place."""
        return self._forms.nouns.get(device, device)

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
            if number and number[0].key in NUMBERED:
                number = words[first + 2 :][:1]
            counted = word.key in self._counted and word.key not in NUMBERED
            if not counted or not number or not number[0].key.lstrip("-").isdecimal():
                continue
            if (word.key, number[0].key) not in self._forms.meanings:
                found.append(Phrase(DEVICE, (), word.start, number[0].end))
        return found

    def groups(self, text: str) -> list[Phrase]:
        """Return where a text names several devices at once, in order: 'all pumps', 'the lights downstairs'.

        A noun in the plural or behind 'all', 'every', 'each', 'both' or 'any', with a place before or behind
        it; the values are the devices that are called so, in that place if one is said.
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
            for noun in self._forms.same(self.noun(device)):
                for said in {noun, plural(noun)}:
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
        if after[:1] and after[0] in PLACED:
            after = after[1:]
        places = [" ".join(words) for words in (before, after) if words]
        devices = [device for device in self.devices if noun in self._forms.same(self.noun(device))]
        for place in places:
            devices = [device for device in devices if place in self._forms.places[device]]
        return tuple(devices)

    def _without_verbs(self, found: list[Phrase], text: str) -> list[Phrase]:
        """Return what is named without words that templates have too, where a device is named beside."""
        devices = [phrase for phrase in found if phrase.kind == DEVICE]
        verbs = [
            phrase
            for phrase in devices
            if phrase.grade is Grade.PART and key_of(text[phrase.start : phrase.end]) in self._literals
        ]
        spared = verbs if len(verbs) < len(devices) else verbs[:-1]
        return [phrase for phrase in found if phrase not in spared]

    def fitting(self, argument: str, devices: Iterable[str]) -> tuple[str, ...]:
        """Return those devices that are called as the argument is, or all where none or every one is."""
        given = tuple(devices)
        return tuple(device for device in given if self.fits(argument, device)) or given

    def fits(self, argument: str, device: str) -> bool:
        """Return whether a device is called as an argument is, or by a word that says the same.

        An argument by whose name no device is called, such as `machine`, may be any of them.
        """
        nouns = self._forms.same(argument)
        return self.noun(device) in nouns or not any(self.noun(each) in nouns for each in self.devices)

    def within(self, place: str, devices: Iterable[str]) -> tuple[str, ...]:
        """Return those devices that are in a place, such as a room or a floor."""
        keys = " ".join(keys_of(place))
        return tuple(device for device in devices if keys in self._forms.places.get(device, ()))

    def _named(self, window: Sequence[_Word], text: str, *, bare_numbers: bool) -> list[Phrase]:
        start, end = window[0].start, window[-1].end
        kinds = self._forms.meanings.get(tuple(word.key for word in window), {})
        phrases = []
        for kind, meanings in kinds.items():
            said = {
                value: Grade.EXACT if text[start:end] == value else grade for value, grade in meanings.items()
            }
            best = min(said.values())
            if best is Grade.NUMBER and (not bare_numbers or len(said) > 1):
                continue
            values = tuple(value for value, grade in said.items() if grade == best)
            phrases.append(Phrase(kind, values, start, end, best))
        # A name that is a device's and a value's is the one that is named better.
        return sorted(phrases, key=lambda phrase: phrase.grade)[:1]

    def _words(self, text: str) -> list[_Word]:
        words: list[_Word] = []
        for match in PART.finditer(text):
            key = key_of(match[0])
            if key in _ARTICLES:
                continue
            if _is_negative(text, match.start()):
                key = f"-{key}"
            if key not in self._spelt and key not in self._literals:
                key = corrected(key, self._spelt)
            if key not in self._literals and words and words[-1].key in self._counted:
                key = digits(HOMOPHONES.get(key) or corrected(key, NUMBER_WORDS))
            if key == "to" and len(words) > 1 and words[-1].key == "to" and words[-2].key in self._counted:
                # "Pump to to 30": the first of them is the number two.
                words[-1] = replace(words[-1], key="2")
            words.append(_Word(match[0], key, match.start(), match.end()))
        return words


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
