"""Sentence templates, matched and sampled: the one place that knows hassil.

Knows commands and the names of devices; knows nothing of the twin, of models, or of what is a question.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
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
from edge_node.understand.naming import spoken_names
from edge_node.understand.values import digits, read_number, unit_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edge_node.config.loaded import Node
    from edge_node.config.models import ArgumentConfig, CommandConfig

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
    """

    node: str
    command: str
    arguments: Mapping[str, Any]
    literal: int
    free: bool


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
        self._devices: dict[str, tuple[str, ...]] = {}
        self._intents: dict[str, Intents] = {}

    def matches(self, text: str, *, devices: Mapping[str, tuple[str, ...]]) -> list[Match]:
        """Return every reading of `text` as a whole example of a template, the most literal first.

        `devices` names the nodes that are asked and the devices each of them has now.
        """
        if not text.strip() or len(text.split()) > _MOST_WORDS:
            return []
        for said in dict.fromkeys((" ".join(text.split()), digits(text))):
            found = [
                match
                for node, names in devices.items()
                for result in recognize_all(said, self._compiled(node, names))
                if (match := self._read(node, result, said)) is not None
            ]
            if found:
                return _best(found, text)
        return []

    def _compiled(self, node: str, devices: tuple[str, ...]) -> Intents:
        """Return the intents of a node, compiled again only when its devices have changed."""
        if self._devices.get(node) != devices or node not in self._intents:
            intents = {
                name: Intent(name, [_intent_data(command, devices)])
                for (owner, name), command in self._commands.items()
                if owner == node and command.examples
            }
            self._intents[node] = Intents("en", intents, skip_words=_SKIP_WORDS)
            self._devices[node] = devices
        return self._intents[node]

    def _read(self, node: str, result: RecognizeResult, said: str) -> Match | None:
        command = self._commands[node, result.intent.name]
        arguments: dict[str, Any] = {}
        for entity in result.entities_list:
            value = entity.value
            if _is_numeric(command.args[entity.name]):
                # hassil reads 40 out of "2-40" where a hyphen may stand for a space,
                # and 1.0 out of "1,000"; both are read right once numbers are in plain digits.
                value = read_number(entity.text.strip())
                if value is None or entity.text.strip() not in _bare_words(said):
                    return None
            if entity.name in arguments and arguments[entity.name] != value:
                return None
            arguments[entity.name] = value
        free = any(entity.is_wildcard for entity in result.entities_list)
        return Match(node, result.intent.name, arguments, result.text_chunks_matched, free)


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


def _intent_data(command: CommandConfig, devices: tuple[str, ...]) -> IntentData:
    lists = {name: _slot_list(name, argument, devices) for name, argument in command.args.items()}
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


def _slot_list(name: str, argument: ArgumentConfig, devices: tuple[str, ...]) -> SlotList:
    if argument.device:
        said = spoken_names(devices)
        return _texts((word, device) for device in devices for word in said[device])
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


def _best(found: list[Match], text: str) -> list[Match]:
    """Return the readings that are as literal as the most literal one, each call once."""
    exact = [match for match in found if _names_devices_exactly(match, text)] or found
    top = min((match.free, -match.literal) for match in exact)
    calls: dict[tuple[str, str, str], Match] = {}
    for match in exact:
        if (match.free, -match.literal) == top:
            calls.setdefault((match.node, match.command, repr(sorted(match.arguments.items()))), match)
    return list(calls.values())


def _names_devices_exactly(match: Match, text: str) -> bool:
    """Return whether every argument of the match that is a text stands in the sentence as it is."""
    words = _bare_words(text)
    return all(value in words for value in match.arguments.values() if isinstance(value, str))


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
