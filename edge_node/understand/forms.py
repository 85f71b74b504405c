"""All ways in which people name the devices of a node, and the values of its arguments.

Knows node files and the names of devices; knows nothing of sentences.
"""

from __future__ import annotations

import re
from enum import IntEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from edge_node.config.loaded import Node
    from edge_node.config.models import DeviceConfig

DEVICE = "device"
"""Kind of a name that means a device; any other kind is the argument whose value is meant."""
PART = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+(?:'[^\W\d_]+)?")
NUMBERED = ("number", "no", "nr")
PLACED = ("in", "of", "at", "on")
_POSSESSIVE = re.compile(r"'s?$")
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


class Grade(IntEnum):
    """How a phrase names something, the surest first."""

    EXACT = 0  # the name as it stands in topics
    NAME = 1  # the whole name as people say it, or an alias
    OTHERWISE = 2  # with another word for what it is, its number alone, or by its place and what it is
    PART = 3  # what it is, or its place, and no more
    NUMBER = 4  # a bare number


class Forms:
    """The names of one node's devices and values, as the words they consist of.

    Args:
        node: The node.
        devices: Its devices, as the twin knows them now.

    Attributes:
        devices: The devices.
        meanings: Words of a name to kind to what it may mean, and how surely.
        nouns: Device to what it is called without its number or place.
        places: Device to where it is.
    """

    def __init__(self, node: Node, *, devices: Sequence[str]) -> None:
        words = node.spec.words
        self.devices = tuple(devices)
        self.meanings: dict[tuple[str, ...], dict[str, dict[Any, Grade]]] = {}
        self.nouns: dict[str, str] = {}
        self.places: dict[str, tuple[str, ...]] = {}
        self._synonyms = _groups([(value, *said) for value, said in words.get("kind", {}).items()])
        self._place_words = {
            " ".join(keys_of(place)): tuple(" ".join(keys_of(word)) for word in said)
            for label in ("area", "floor")
            for place, said in words.get(label, {}).items()
        }
        arguments = [item for command in node.spec.commands.values() for item in command.args.items()]
        self._called = tuple(sorted({name for name, argument in arguments if argument.device}))
        for device in self.devices:
            self._learn(device, node.spec.devices.get(device))
        self._ordinals()
        for name, argument in arguments:
            self._values(name, argument.enum or (), words.get(name, {}))

    def same(self, noun: str) -> tuple[str, ...]:
        """Return all nouns that say the same as one."""
        return self._synonyms.get(noun, (noun,))

    def _add(self, keys: Sequence[str], kind: str, value: Any, grade: Grade) -> None:
        if keys:
            meanings = self.meanings.setdefault(tuple(keys), {}).setdefault(kind, {})
            meanings[value] = min(grade, meanings.get(value, grade))

    def _learn(self, device: str, known: DeviceConfig | None) -> None:
        """Learn all ways to name one device."""
        keys = keys_of(device)
        number = keys[-1] if _is_counted(keys) else ""
        self.nouns[device] = _noun(device, known)
        own = () if number else (" ".join(keys[:-1]),)
        told = [" ".join(keys_of(place)) for place in (known.places if known else ())]
        said = [other for place in (*own, *told) for other in (place, *self._place_words.get(place, ()))]
        self.places[device] = tuple(dict.fromkeys(place for place in said if place))
        nouns = self.same(self.nouns[device])
        self._add(keys, DEVICE, device, Grade.NAME)
        for alias in known.aliases if known else ():
            self._learn_alias(device, keys_of(alias), nouns)
        if number:
            self._learn_number(device, number, nouns)
        for place in self.places[device]:
            self._learn_place(device, place.split(), nouns)
        for name in nouns:
            self._add(name.split(), DEVICE, device, Grade.PART)
            self._add(plural(name).split(), DEVICE, device, Grade.PART)

    def _learn_alias(self, device: str, alias: tuple[str, ...], nouns: Iterable[str]) -> None:
        self._add(alias, DEVICE, device, Grade.NAME)
        if alias[-1:] and alias[-1] in nouns:
            for noun in nouns:
                self._add((*alias[:-1], *noun.split()), DEVICE, device, Grade.OTHERWISE)

    def _learn_number(self, device: str, number: str, nouns: Iterable[str]) -> None:
        for word in NUMBERED:
            self._add((word, number), DEVICE, device, Grade.OTHERWISE)
        self._add((number,), DEVICE, device, Grade.NUMBER)
        for noun in (*nouns, *self._called):
            self._add((*noun.split(), number), DEVICE, device, Grade.OTHERWISE)
            for word in NUMBERED:
                self._add((*noun.split(), word, number), DEVICE, device, Grade.OTHERWISE)
        for noun in self._called:
            self._add(noun.split(), DEVICE, device, Grade.PART)

    def _learn_place(self, device: str, place: list[str], nouns: Iterable[str]) -> None:
        self._add(place, DEVICE, device, Grade.PART)
        for noun in nouns:
            for said in (noun.split(), plural(noun).split()):
                self._add((*place, *said), DEVICE, device, Grade.OTHERWISE)
                for word in PLACED:
                    self._add((*said, word, *place), DEVICE, device, Grade.OTHERWISE)

    def _ordinals(self) -> None:
        """Learn 'the second pump' where the pumps are numbered from 1 without a gap."""
        numbered: dict[str, dict[int, str]] = {}
        for device in self.devices:
            keys = keys_of(device)
            if _is_counted(keys):
                numbered.setdefault(self.nouns[device], {})[int(keys[-1])] = device
        for noun, members in numbered.items():
            if sorted(members) == list(range(1, len(members) + 1)) and len(members) <= len(_ORDINALS):
                for number, device in members.items():
                    alone = ("one", "1") if len(numbered) == 1 else ()
                    for said in (*self.same(noun), *self._called, *alone):
                        self._add((_ORDINALS[number - 1], *said.split()), DEVICE, device, Grade.OTHERWISE)

    def _values(self, name: str, values: Sequence[str], words: Mapping[str, Sequence[str]]) -> None:
        """Learn the values of an argument with an enum."""
        counted = [keys_of(value)[:-1] for value in values if _is_counted(keys_of(value))]
        for value in values:
            keys = keys_of(value)
            self._add(keys, name, value, Grade.NAME)
            self._add((*keys, name), name, value, Grade.OTHERWISE)
            for word in words.get(value, ()):
                self._add(keys_of(word), name, value, Grade.NAME)
            if _is_counted(keys):
                for word in NUMBERED:
                    self._add((*keys[:-1], word, keys[-1]), name, value, Grade.OTHERWISE)
                if counted.count(keys[:-1]) == 1:
                    self._add(keys[:-1], name, value, Grade.PART)


def _groups(groups: Iterable[Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Return for each noun all that say the same."""
    same: dict[str, tuple[str, ...]] = {}
    for words in groups:
        nouns = tuple(dict.fromkeys(" ".join(keys_of(word)) for word in words))
        for noun in nouns:
            same[noun] = tuple(dict.fromkeys((*same.get(noun, ()), *nouns)))
    return same


def key_of(word: str) -> str:
    """Return a word or a number as it is compared."""
    plain = _POSSESSIVE.sub("", word.casefold())
    return plain.lstrip("0") or "0" if plain.isdecimal() else plain


def keys_of(name: str) -> tuple[str, ...]:
    """Return the words and numbers of a name as they are compared."""
    return tuple(key_of(part) for part in PART.findall(name))


def plural(noun: str) -> str:
    """Return a noun as it is said of several."""
    return noun if noun.endswith("s") else f"{noun}s"


def _is_counted(keys: Sequence[str]) -> bool:
    return len(keys) > 1 and keys[-1].isdigit()


def _noun(device: str, known: DeviceConfig | None) -> str:
    """Return what a device is called: by its label, else by its name without number or place."""
    labels = known.known_labels if known else {}
    if "kind" in labels:
        return " ".join(keys_of(labels["kind"]))
    keys = keys_of(device)
    return " ".join(keys[:-1]) if _is_counted(keys) else keys[-1] if keys else device
