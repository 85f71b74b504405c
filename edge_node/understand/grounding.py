"""Whether a call that a model wrote was really said.

Knows the words, the arguments and the device's fields; knows nothing of models. An argument counts only
where it can be traced to the words, to a default, or to the device that an alarm is about.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge_node.messages import RequestKind
from edge_node.understand.asking import ask_for_argument, call_in_words
from edge_node.understand.forms import DEVICE, Grade
from edge_node.understand.naming import mentioned
from edge_node.understand.values import digits, numbers_in
from edge_node.understand.words import content_stems, stem, words_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_node.config.models import ArgumentConfig, CommandConfig
    from edge_node.messages import Request
    from edge_node.understand.phrases import Phrases

_BOOLEAN_WORDS = {
    True: {"on", "true", "yes", "enable", "open"},
    False: {"off", "false", "no", "disable", "close"},
}


_SAYS_NOTHING = frozenset(
    stem(word) for word in ("is", "has", "have", "with", "include", "only", "allow", "accept")
)
_WITHOUT = frozenset({"no", "not", "without", "never", "don't", "doesn't", "except", "unless"})


@dataclass(frozen=True, slots=True)
class Ground:
    """What a request gives to stand on.

    Attributes:
        kind: Whether a person spoke or an alarm fired.
        devices: All devices there are.
        named: Those that the request names.
        numbers: Numbers that were said, or that the device reports.
        text: What was said, without the names of devices.
    """

    kind: RequestKind
    devices: tuple[str, ...]
    named: frozenset[str]
    numbers: tuple[float, ...]
    text: str


def ground_of(
    request: Request, *, devices: tuple[str, ...], fields: Mapping[str, Any], phrases: Phrases | None = None
) -> Ground:
    """Return what `request` gives to stand on.

    Args:
        request: A person's words, or an alarm.
        devices: All devices there are.
        fields: Those of the device that an alarm is about.
        phrases: What people call the devices; None where they have no names but their own.
    """
    if request.kind is RequestKind.ALARM:
        reported = tuple(
            value
            for value in fields.values()
            if isinstance(value, int | float) and not isinstance(value, bool)
        )
        words = " ".join(str(value) for value in fields.values() if isinstance(value, str))
        return Ground(request.kind, devices, frozenset({request.device} - {""}), reported, words)
    called, text = _called(digits(request.text), phrases) if phrases else (set(), request.text)
    named, rest = mentioned(text, devices=devices)
    return Ground(request.kind, devices, frozenset(named | called), tuple(numbers_in(rest)), rest)


def _called(text: str, phrases: Phrases) -> tuple[set[str], str]:
    """Return the devices that a text names beyond doubt by what people call them, and the rest of it."""
    rest, called = text, set()
    for phrase in phrases.find(text):
        if phrase.kind == DEVICE and len(phrase.values) == 1 and phrase.grade <= Grade.OTHERWISE:
            called.add(phrase.values[0])
            rest = rest[: phrase.start] + " " * (phrase.end - phrase.start) + rest[phrase.end :]
    return called, rest


def doubt(ground: Ground, *, name: str, command: CommandConfig, arguments: Mapping[str, Any]) -> str:
    """Return what to ask back about a call before it may count as said, or '' where every part of it was.

    Nothing may be in the call that was not said, no device or number said may be left out of it, and one word
    at least must be one by which the command is known.
    """
    question = unsaid(ground, name=name, command=command, arguments=arguments)
    if question or ground.kind is RequestKind.ALARM or _names_command(name, command, ground.text):
        return question
    return f"did you mean {call_in_words(name, arguments)}?"


def unsaid(ground: Ground, *, name: str, command: CommandConfig, arguments: Mapping[str, Any]) -> str:
    """Return what to ask back where a call holds what was not said, or leaves out what was, or ''."""
    for key, argument in command.args.items():
        value = arguments.get(key, argument.default)
        if value is None and argument.optional:
            continue
        if value is None or (value != argument.default and not _said(key, value, argument, ground)):
            return f"{name}: {ask_for_argument(key, argument, devices=ground.devices)}"
    if ground.kind is RequestKind.ALARM:
        return ""
    used = [value for value in arguments.values() if not isinstance(value, bool)]
    # A number within a text that was taken as it stands is not left out: 'the meeting of 4 May'.
    within = [number for value in used if isinstance(value, str) for number in numbers_in(value)]
    used += within
    left = [device for device in sorted(ground.named) if device not in used]
    left += [f"{number:g}" for number in ground.numbers if number not in used]
    numeric = sum(argument.type in {"integer", "number"} for argument in command.args.values()) + len(within)
    if not left and len(ground.numbers) > max(1, numeric):
        left += [f"{number:g}" for number in ground.numbers[numeric:]]
    return f"what about {', '.join(left)}? say one order at a time" if left else ""


def _said(name: str, value: Any, argument: ArgumentConfig, ground: Ground) -> bool:
    if argument.device:
        return value in ground.named
    if isinstance(value, bool):
        words = set(words_of(ground.text))
        named = content_stems(name.replace("_", " ")) - _SAYS_NOTHING
        # 'with breakfast' says that `has_breakfast` is so; that something is not so takes words of its own.
        told = value and bool(named) and named <= _stems(ground.text) and words.isdisjoint(_WITHOUT)
        return told or not _BOOLEAN_WORDS[value].isdisjoint(words)
    if isinstance(value, int | float):
        return value in ground.numbers
    if argument.enum is not None:
        return _stems(str(value)) <= _stems(ground.text)
    return bool(str(value).strip()) and str(value).casefold() in ground.text.casefold()


def _stems(text: str) -> set[str]:
    return {stem(word) for word in words_of(text)}


def _names_command(name: str, command: CommandConfig, text: str) -> bool:
    """Return whether the words hold at least one of those by which the command is known."""
    own = content_stems(" ".join([name, command.description, *command.examples]).replace("_", " "))
    devices = content_stems(" ".join(key for key, argument in command.args.items() if argument.device))
    values = content_stems(
        " ".join(value for argument in command.args.values() for value in argument.enum or ())
    )
    units = content_stems(" ".join(argument.unit or "" for argument in command.args.values()))
    return not ((own - devices) | values | units).isdisjoint(_stems(text))
