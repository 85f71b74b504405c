"""Sentence templates, matched and sampled: the one place that knows hassil.

Knows commands and the names of devices; knows nothing of the twin, of models, or of what is a question.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from hassil.errors import HassilError
from hassil.intents import (
    Intent,
    IntentData,
    Intents,
    RangeFractionType,
    RangeSlotList,
    SlotList,
    TextSlotList,
    WildcardSlotList,
)
from hassil.parse_expression import parse_sentence
from hassil.parser import ParseError
from hassil.recognize import RecognizeResult, recognize_all
from hassil.sample import sample_sentence

from edge_node.errors import ConfigurationInvalid, Problem
from edge_node.understand.hearing import STANDINS, plainer_readings, readings, unnamed_readings
from edge_node.understand.phrases import Phrases
from edge_node.understand.values import read_number, unit_words
from edge_node.understand.words import word_set

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from edge_node.config.loaded import Node
    from edge_node.config.models import ArgumentConfig, CommandConfig
    from edge_node.understand.hearing import Heard
    from edge_node.understand.phrases import Phrase

_SKIP_WORDS = ["the", "please", "kindly", "just"]
_SPOKEN_BOOLEANS = {True: ("on", "true", "yes", "enabled"), False: ("off", "false", "no", "disabled")}
# Longer texts are no orders, and a template with two wildcards takes time that grows with their square.
_MOST_WORDS = 40
# Sampling walks the alternatives in order; so many are looked at so that the kept ones differ.
_SAMPLES_SEEN = 240
_PHRASINGS = 2000
_REFERENCE = re.compile(r"(?<!\\)\{([^{}:@]+)(?::[^{}]+)?\}")


class _EveryNumber:
    """Holds every number: the gate, not the template, says which are allowed."""

    def __contains__(self, number: object) -> bool:
        return True

    def __iter__(self) -> Iterator[int]:
        # Only sampling walks the numbers, and it brings lists of its own.
        return iter(())


class _AnyNumberList(RangeSlotList):  # type: ignore[misc] # hassil is not typed for subclassing
    """A list of all numbers in digits, decimals and signs included."""

    def __init__(self, name: str) -> None:
        super().__init__(
            name=name, start=0, stop=0, fraction_type=RangeFractionType.TENTHS, digits=True, words=False
        )

    def get_numbers(self) -> _EveryNumber:
        return _EveryNumber()


@dataclass(frozen=True, slots=True)
class Match:
    """A template that a sentence is a whole example of.

    Attributes:
        node: Node of the command.
        command: Name of the command.
        arguments: Argument name to value, only those that were said.
        literal: Characters of the template's own words that were matched.
        free: Whether a part of the sentence was taken as free text.
        named: Argument name to the words that name its device, and the devices that they may mean; none
            where it is not there.
        misfits: Devices that are called something else than the argument they stand for.
    """

    node: str
    command: str
    arguments: Mapping[str, Any]
    literal: int
    free: bool
    named: Mapping[str, Phrase] = field(default_factory=dict)
    misfits: int = 0

    @property
    def is_named(self) -> bool:
        """Whether every device was named; else it stands for any."""
        return all(phrase.end for phrase in self.named.values())


class Templates:
    """The sentence templates of some nodes, ready to match.

    Args:
        nodes: The nodes whose commands may be ordered.

    Raises:
        ConfigurationInvalid: A template cannot be parsed or names an argument that is not there.
    """

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._commands = {
            (node.name, name): command for node in nodes for name, command in node.spec.commands.items()
        }
        for node in nodes:
            _check(node)
        self._nodes = {node.name: node for node in nodes}
        self._intents = {node.name: _intents(node) for node in nodes}
        self._verbs = {node.name: _literals(node) for node in nodes}
        self._units = {node.name: _units(node) for node in nodes}
        self._phrases: dict[str, Phrases] = {}

    def matches(self, text: str, *, devices: Mapping[str, tuple[str, ...]]) -> list[Match]:
        """Return every reading of `text` as a whole example of a template, the most literal first.

        `devices` names the nodes that are asked and the devices each of them has now.
        """
        if not text.strip() or len(text.split()) > _MOST_WORDS:
            return []
        # A node that knows the words as they were said comes before one that has to bend them.
        # Whether a device that is not there was meant, or none was named, is asked where nothing else can be.
        for heard in (self._as_said, self._plainer, self._with_strangers, self._without_device):
            found = [
                match
                for node, names in devices.items()
                for match in self._first(node, heard(text, self.phrases(node, names), node))
            ]
            if found:
                return _best(found)
        return []

    def verbs(self, node: str) -> frozenset[str]:
        """Return the words that the templates of a node consist of."""
        return self._verbs[node]

    def phrases(self, node: str, devices: tuple[str, ...]) -> Phrases:
        """Return what the people of a node may name, made again only when its devices have changed."""
        known = self._phrases.get(node)
        if known is None or known.devices != devices:
            known = Phrases(self._nodes[node], devices=devices, literals=self._verbs[node])
            self._phrases[node] = known
        return known

    def _as_said(self, text: str, phrases: Phrases, node: str) -> Iterator[Heard]:
        del node
        return readings(text, phrases=phrases)

    def _plainer(self, text: str, phrases: Phrases, node: str) -> Iterator[Heard]:
        verbs, units = self._verbs[node], self._units[node]
        return plainer_readings(text, phrases=phrases, verbs=verbs, units=units)

    def _with_strangers(self, text: str, phrases: Phrases, node: str) -> Iterator[Heard]:
        verbs, units = self._verbs[node], self._units[node]
        return plainer_readings(text, phrases=phrases, verbs=verbs, units=units, strangers=True)

    def _without_device(self, text: str, phrases: Phrases, node: str) -> Iterator[Heard]:
        del node
        return unnamed_readings(text, phrases=phrases)

    def _first(self, node: str, all_heard: Iterable[Heard]) -> list[Match]:
        """Return how a node understands the first reading that it understands."""
        for heard in all_heard:
            results = recognize_all(heard.text, self._intents[node])
            found = [match for result in results if (match := self._read(node, result, heard)) is not None]
            if found:
                return found
        return []

    def _read(self, node: str, result: RecognizeResult, heard: Heard) -> Match | None:
        command = self._commands[node, result.intent.name]
        arguments: dict[str, Any] = {}
        named: dict[str, Phrase] = {}
        misfits = 0
        for entity in result.entities_list:
            value = entity.value
            argument = command.args[entity.name]
            if argument.device:
                phrase = heard.named.get(str(value))
                if phrase is None:
                    return None
                fitting = self._phrases[node].fitting(entity.name, phrase.values)
                # Of a device that is not there, the words are what can be told.
                value = fitting[0] if fitting else heard.original[str(value)]
                misfits += not self._phrases[node].fits(entity.name, value)
                named[entity.name] = replace(phrase, values=fitting)
            elif _is_numeric(argument):
                # hassil reads 40 out of "2-40" where a hyphen may stand for a space,
                # and 1.0 out of "1,000"; both are read right once numbers are in plain digits.
                value = read_number(entity.text.strip())
                if value is None or entity.text.strip() not in _bare_words(heard.text):
                    return None
            elif isinstance(value, str):
                value = heard.restored(value)
            if entity.name in arguments and arguments[entity.name] != value:
                return None
            arguments[entity.name] = value
        free = any(entity.is_wildcard for entity in result.entities_list)
        return Match(node, result.intent.name, arguments, result.text_chunks_matched, free, named, misfits)


def sample(command: CommandConfig, *, limit: int) -> list[tuple[str, dict[str, Any]]]:
    """Return up to `limit` sentences that the templates of a command allow, each with its values.

    A device stands in the sentence as '{argument}', for the caller to put a name in.
    """
    per_template = max(1, limit // max(1, len(command.examples)))
    pairs: list[tuple[str, dict[str, Any]]] = []
    for turn, template in enumerate(command.examples):
        values = {name: _example_value(name, argument, turn) for name, argument in command.args.items()}
        lists = {
            name: TextSlotList.from_tuples([(_as_said(value), value)], allow_template=False)
            for name, value in values.items()
        }
        sentences = list(
            dict.fromkeys(
                " ".join(text.split())
                for text in islice(sample_sentence(parse_sentence(template), lists), _SAMPLES_SEEN)
            )
        )
        step = max(1, len(sentences) // per_template)
        said = {name: values[name] for name in _REFERENCE.findall(template) if name in values}
        pairs.extend((sentence, said) for sentence in sentences[::step][:per_template])
    return pairs[:limit]


def phrasings(template: str, command: CommandConfig) -> list[str]:
    """Return the sentences that a template allows, `_PHRASINGS` at most; '{argument}' stands for a value."""
    lists = {
        name: TextSlotList.from_tuples([(f"{{{name}}}", name)], allow_template=False) for name in command.args
    }
    sampled = islice(sample_sentence(parse_sentence(template), lists), _PHRASINGS)
    return list(dict.fromkeys(" ".join(text.split()) for text in sampled))


def _check(node: Node) -> None:
    problems = []
    for name, command in node.spec.commands.items():
        for index, template in enumerate(command.examples):
            came = _fault(template, command)
            if came:
                problems.append(
                    Problem(
                        file=str(node.folder / "node.yaml"),
                        line=0,
                        key=f"commands.{name}.examples[{index}]",
                        expected="a sentence template with the command's arguments in braces",
                        came=came,
                        hint="(a|b) is a choice, [a] may be left out, {argument} takes a value",
                    )
                )
    if problems:
        raise ConfigurationInvalid(problems)


def _fault(template: str, command: CommandConfig) -> str:
    try:
        sentence = parse_sentence(template)
        lists = {name: TextSlotList.from_strings([name], allow_template=False) for name in command.args}
        next(iter(sample_sentence(sentence, lists)), "")
        unknown = set(sentence.list_names()) - set(command.args)
    except (ParseError, HassilError, ValueError) as error:
        return f"{template!r}, {error}"
    return f"{{{min(unknown)}}} in {template!r}" if unknown else ""


def _intents(node: Node) -> Intents:
    intents = {
        name: Intent(name, [_intent_data(command)])
        for name, command in node.spec.commands.items()
        if command.examples
    }
    return Intents("en", intents, skip_words=_SKIP_WORDS)


def _literals(node: Node) -> frozenset[str]:
    """Return the words that the templates of a node consist of."""
    templates = " ".join(each for command in node.spec.commands.values() for each in command.examples)
    return word_set(" ".join(re.findall(r"[^\W\d_]+", _REFERENCE.sub(" ", templates))).casefold())


def _units(node: Node) -> frozenset[str]:
    """Return the units of the arguments of a node, each by the first of the words for it."""
    arguments = (argument for command in node.spec.commands.values() for argument in command.args.values())
    return frozenset(unit_words(argument.unit)[0] for argument in arguments if argument.unit)


def _intent_data(command: CommandConfig) -> IntentData:
    lists = {name: _slot_list(name, argument) for name, argument in command.args.items()}
    return IntentData(
        sentence_texts=[_with_units(template, command) for template in command.examples],
        slot_lists=lists,
        wildcard_list_names={name for name, slot in lists.items() if isinstance(slot, WildcardSlotList)},
    )


def _with_units(template: str, command: CommandConfig) -> str:
    """Return `template` with the unit allowed after each number that has one."""

    def unit_after(found: re.Match[str]) -> str:
        argument = command.args[found[1]]
        if not _is_numeric(argument) or not argument.unit:
            return found[0]
        said = "|".join(_escape(word) for word in unit_words(argument.unit))
        return f"{found[0]} [({said})]"

    return _REFERENCE.sub(unit_after, template)


def _escape(word: str) -> str:
    return re.sub(r"([()\[\]{}<>|;:\\])", r"\\\1", word)


def _slot_list(name: str, argument: ArgumentConfig) -> SlotList:
    if argument.device:
        return _texts((word, word) for word in STANDINS)
    if argument.enum is not None:
        return _texts(
            (word, value) for value in argument.enum for word in dict.fromkeys((value, _spaced(value)))
        )
    if argument.type == "boolean":
        return _texts((word, value) for value, words in _SPOKEN_BOOLEANS.items() for word in words)
    return _AnyNumberList(name) if _is_numeric(argument) else WildcardSlotList(name)


def _texts(pairs: Iterator[tuple[str, Any]]) -> TextSlotList:
    return TextSlotList.from_tuples(list(pairs), allow_template=False)


def _is_numeric(argument: ArgumentConfig) -> bool:
    return argument.type in {"integer", "number"} and argument.enum is None and not argument.device


def _spaced(value: str) -> str:
    return value.replace("_", " ").replace("-", " ")


def _bare_words(text: str) -> set[str]:
    return {word.strip(".,;:!?()\"'") for word in text.split()}


def _best(found: list[Match]) -> list[Match]:
    """Return the readings that are as literal and as fitting as the best one, each call once."""
    top = min((match.free, -match.literal, match.misfits) for match in found)
    calls: dict[tuple[str, str, str], Match] = {}
    for match in found:
        if (match.free, -match.literal, match.misfits) == top:
            calls.setdefault((match.node, match.command, repr(sorted(match.arguments.items()))), match)
    return list(calls.values())


def _example_value(name: str, argument: ArgumentConfig, turn: int) -> Any:
    if argument.device:
        return f"{{{name}}}"
    if argument.enum:
        return argument.enum[turn % len(argument.enum)]
    if argument.type == "boolean":
        return turn % 2 == 0
    if not _is_numeric(argument):
        return argument.default if isinstance(argument.default, str) else name.replace("_", " ")
    low = argument.minimum if argument.minimum is not None else 0.0
    high = argument.maximum if argument.maximum is not None else low + 100.0
    value = low + (high - low) * (0.4, 0.7, 0.2)[turn % 3]
    return round(value) if argument.type == "integer" or value.is_integer() else round(value, 1)


def _as_said(value: Any) -> str:
    return ("on" if value else "off") if isinstance(value, bool) else str(value)
