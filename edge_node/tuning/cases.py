"""Cases for one node, written from its own file: orders in its language and beside it, and what is none.

Knows templates, arguments and words of a node; knows nothing of models. The same seed writes the same cases.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from edge_node.config.loaded import SpokenExample
from edge_node.config.models import DeviceConfig
from edge_node.tuning.negatives import Negatives
from edge_node.tuning.phrases import filled, noisy, slots_of, word_lists
from edge_node.understand.naming import spoken_names
from edge_node.understand.templates import Templates, phrasings

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from edge_node.config.loaded import Node
    from edge_node.config.models import ArgumentConfig, CommandConfig


_INVENTED = 3
_LOW, _HIGH = 0, 100
_PARAPHRASED = 0.5
_NOISE = (0.0, 1.0, 1.0, 1.6)
_NONE_SHARE = 0.7
_TRIES = 30


@dataclass(frozen=True, slots=True)
class Cases:
    """What is learned, and what is held back to measure by.

    Attributes:
        learned: Cases to train on.
        held: Cases that training never sees.
    """

    learned: tuple[SpokenExample, ...]
    held: tuple[SpokenExample, ...]


def peopled(node: Node, *, devices: Sequence[str] = ()) -> Node:
    """Return a node whose file names devices: its own, those given, or invented ones where there are none."""
    known = dict(node.spec.devices)
    for name in devices:
        known.setdefault(name, DeviceConfig())
    if not known:
        keys = {
            key
            for command in node.spec.commands.values()
            for key, argument in command.args.items()
            if argument.device
        }
        known = {
            f"{key.replace('_', '-')}-{number}": DeviceConfig()
            for key in sorted(keys)
            for number in range(1, _INVENTED + 1)
        }
    return replace(node, spec=node.spec.model_copy(update={"devices": known}))


def write_cases(
    node: Node, *, orders: int, seed: int, given: Sequence[SpokenExample] = ()
) -> tuple[SpokenExample, ...]:
    """Return cases for a node whose file names its devices.

    Args:
        node: The node, as `peopled` returns it.
        orders: Orders for each command.
        seed: What all chance starts from.
        given: Cases of the user's own; they come first and in several ways of writing.
    """
    writing = _Writing(node, random.Random(seed))  # noqa: S311 - no secret
    found: dict[str, SpokenExample] = {case.utterance: case for case in (*given, *node.examples)}
    for name, command in node.spec.commands.items():
        wanted = len(found) + orders
        for _ in range(orders * _TRIES):
            if len(found) >= wanted or not command.examples:
                break
            case = writing.order(name, command)
            if case is not None:
                found.setdefault(case.utterance, case)
    ordered = [case for case in found.values() if case.command]
    negatives = Negatives(node, random.Random(seed + 1), templates=writing.templates)  # noqa: S311
    for text in negatives.sentences(int(len(ordered) * _NONE_SHARE), orders=ordered):
        found.setdefault(text, SpokenExample(text))
    return tuple(found.values())


def split(cases: Sequence[SpokenExample], *, seed: int, held: float = 0.2) -> Cases:
    """Return cases with a share of them held back, of each command and of none as of the others."""
    groups: dict[str, list[SpokenExample]] = {}
    for case in cases:
        groups.setdefault(case.command, []).append(case)
    learned: list[SpokenExample] = []
    back: list[SpokenExample] = []
    for name, group in groups.items():
        random.Random(f"{seed} {name}").shuffle(group)  # noqa: S311 - no secret
        count = round(len(group) * held)
        back += group[:count]
        learned += group[count:]
    return Cases(tuple(learned), tuple(back))


def save_cases(cases: Iterable[SpokenExample], path: Path) -> None:
    """Write cases as JSON Lines, in the layout of a node's file of examples."""
    lines = []
    for case in cases:
        expected = {"name": case.command, "arguments": dict(case.arguments)} if case.command else "none"
        lines.append(json.dumps({"utterance": case.utterance, "expected": expected}, ensure_ascii=False))
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")


class _Writing:
    """Orders of one node."""

    def __init__(self, node: Node, chance: random.Random) -> None:
        self.templates = Templates([node])
        self._node = node
        self._chance = chance
        self._devices = tuple(node.spec.devices)
        self._names = spoken_names(self._devices)
        self._phrasings = {
            name: [phrasings(template, command) for template in command.examples]
            for name, command in node.spec.commands.items()
        }

    def order(self, name: str, command: CommandConfig) -> SpokenExample | None:
        """Return an order as somebody might say it, or None where it came out as one of another command."""
        sentence = self._chance.choice(self._chance.choice(self._phrasings[name]))
        if self._chance.random() < _PARAPHRASED:
            sentence = paraphrased(sentence, self._chance)
        said: dict[str, str] = {}
        values: dict[str, Any] = {}
        for key in slots_of(sentence):
            if key not in said:
                said[key], values[key] = self._value(key, command.args[key])
        strength = self._chance.choice(_NOISE)
        text = noisy(filled(sentence, said), self._chance, strength=strength, keep=tuple(said.values()))
        for key, argument in command.args.items():
            if key in values and argument.type == "string" and argument.enum is None:
                at = text.casefold().find(said[key].casefold())
                values[key] = text[at : at + len(said[key])] if at >= 0 else values[key]
        read = self.templates.matches(text, devices={self._node.name: self._devices})
        if any(match.command != name for match in read):
            return None
        return SpokenExample(text, name, values)

    def _value(self, key: str, argument: ArgumentConfig) -> tuple[str, Any]:
        """Return how a value is said, and the value."""
        words = self._node.spec.words.get(key, {})
        if argument.device:
            device = self._chance.choice(self._devices)
            aliases = self._node.spec.devices[device].aliases
            return self._chance.choice([*self._names[device][:4], *aliases]), device
        if argument.enum is not None:
            value = self._chance.choice(argument.enum)
            return self._chance.choice([_spaced(value), value, *words.get(value, ())]), value
        if argument.type == "boolean":
            truth = self._chance.random() < 0.5  # noqa: PLR2004 - a coin
            return "on" if truth else "off", truth
        if argument.type in {"integer", "number"}:
            return self._number(argument)
        texts = word_lists("words.yaml")["texts"]
        text = self._chance.choice(texts[self._chance.choice(sorted(texts))])
        return text, text

    def _number(self, argument: ArgumentConfig) -> tuple[str, Any]:
        low = argument.minimum if argument.minimum is not None else _LOW
        high = argument.maximum if argument.maximum is not None else max(_HIGH, low + _HIGH)
        drawn = self._chance.uniform(low, high)
        if argument.type == "integer" or self._chance.random() < 0.4:  # noqa: PLR2004 - many settings are whole
            whole = min(max(round(drawn), int(-(-low // 1))), int(high // 1))
            return str(whole), whole
        value = round(drawn, 1 if high - low > 1 else 2)
        value = min(max(value, low), high)
        plain = int(value) if float(value).is_integer() else value
        return f"{plain}", plain


def paraphrased(sentence: str, chance: random.Random) -> str:
    """Return a sentence with one word in other words, or put another way round, by rule."""
    rules = word_lists("words.yaml")["synonyms"]
    words = sentence.split()
    known = [at for at, word in enumerate(words) if word in rules]
    if known and chance.random() < 0.7:  # noqa: PLR2004 - the rest are put another way round
        at = chance.choice(known)
        return " ".join([*words[:at], chance.choice(rules[words[at]]), *words[at + 1 :]])
    frames = word_lists("words.yaml")["frames"]
    if not words[0].islower() or words[0].startswith("{"):
        frames = [frame for frame in frames if frame.startswith("...")]
    frame = chance.choice(frames)
    return str(frame).replace("...", sentence)


def _spaced(value: str) -> str:
    return value.replace("_", " ").replace("-", " ")
