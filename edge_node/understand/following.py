"""Orders that rest on the one before: 'stop it', 'now the other one', 'the same with pump two', 'again'.

Knows the templates, what may be named, and what was ordered last; knows nothing of how that is kept.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from edge_node.messages import CommandDraft, NothingDraft, Origin
from edge_node.understand.asking import ask_for_argument
from edge_node.understand.forms import DEVICE
from edge_node.understand.habits import plain
from edge_node.understand.values import digits, read_number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_node.config.loaded import Node
    from edge_node.understand.phrases import Phrases
    from edge_node.understand.recent import Exchange

_BEGIN = r"^(?:(?:and|now|then|next|ok|okay|please|also|no|but)[,.]*\s+)*"
_END = r"(?:[, ]+(?:please|now|again|thanks|too|also|as well))*$"
_SAME = re.compile(
    rf"{_BEGIN}(?:do |make )?(?:the )?same(?: thing)?(?: again)?"
    rf"(?: (?:with|for|on|to|at|goes for))? (?P<what>.+?){_END}",
    re.IGNORECASE,
)
_TOO = re.compile(rf"{_BEGIN}(?P<what>.+?),? (?:too|also|as well){_END}", re.IGNORECASE)
_NEXT = re.compile(r"^(?:(?:and|now|then|next|also)[, ]+)+(?P<what>.+?)(?: please)?$", re.IGNORECASE)
_AGAIN = re.compile(
    rf"{_BEGIN}(?:(?:do (?:it|that|this|so)|repeat(?: (?:it|that|this))?|once more|one more time"
    rf"|(?:the )?same(?: thing)?)"
    rf"(?: again| once more| one more time)*|again){_END}",
    re.IGNORECASE,
)
_VALUE = re.compile(
    rf"{_BEGIN}(?:(?:make|set|put|turn) (?:it|that) |rather |better |to |at |make )(?:rather )?(?:to |at )?"
    rf"(?P<number>-?\d+(?:\.\d+)?)(?: (?P<unit>[^\W\d_/]+(?:/[^\W\d_]+)?))?(?: instead| rather)?{_END}",
    re.IGNORECASE,
)
_OTHER = re.compile(r"(?<!\w)(?:the )?other(?: (?:one|(?P<noun>[^\W\d_]+)))?(?!\w)", re.IGNORECASE)
_IT = re.compile(r"(?<!\w)(?:it|that one|this one|the same one|that thing|that|this)(?!\w|')", re.IGNORECASE)


class FollowUps:
    """Orders that rest on the one before.

    Args:
        nodes: The nodes whose commands may be ordered, by name.
    """

    def __init__(self, nodes: Mapping[str, Node]) -> None:
        self._nodes = nodes

    def repeated(
        self, text: str, *, last: Exchange | None, phrases: Mapping[str, Phrases]
    ) -> CommandDraft | NothingDraft | None:
        """Return the last order with another device or value, or once more; None where that is not asked.

        Args:
            text: What was said.
            last: What was ordered before, or None.
            phrases: What may be named, by node.
        """
        same = _SAME.match(text)
        if last is None:
            if same or _AGAIN.match(text):
                reason = "the same as what? you have ordered nothing within the last two minutes"
                return NothingDraft("", reason, code="ask_back")
            return None
        if _AGAIN.match(text):
            return self._once_more(last)
        value = _VALUE.match(digits(text))
        if value:
            return self._with_value(last, value["number"])
        for found in (same, _TOO.match(text), _NEXT.match(text)):
            if found:
                draft = self._with_device(last, found["what"], phrases[last.draft.node])
                if draft is not None:
                    return draft
        return None

    def named(
        self, text: str, *, last: Exchange | None, phrases: Mapping[str, Phrases]
    ) -> str | NothingDraft | None:
        """Return `text` with the device in the place of 'it' or 'the other one'.

        None where there is no such word, or nothing it may mean; what to ask back where it may mean several.
        """
        pattern = _OTHER if _OTHER.search(text) else _IT
        if last is None or not pattern.search(text):
            return None
        names = phrases[last.draft.node]
        devices = _others(last, names) if pattern is _OTHER else last.devices
        if len(devices) == 1:
            return pattern.sub(devices[0], text, count=1)
        return self._which(last, devices) if devices else None

    def with_any(self, text: str, device: str) -> str:
        """Return `text` with a device in the place of the first word that stands for one."""
        pattern = _OTHER if _OTHER.search(text) else _IT
        return pattern.sub(device, text, count=1)

    def _once_more(self, last: Exchange) -> CommandDraft | NothingDraft:
        if len(last.devices) > 1:
            return self._which(last, last.devices)
        return replace(last.draft, origin=Origin.TEMPLATE, confidence=1.0)

    def _with_value(self, last: Exchange, number: str) -> CommandDraft | NothingDraft | None:
        args = self._nodes[last.draft.node].spec.commands[last.draft.name].args
        numeric = [name for name, argument in args.items() if argument.type in {"integer", "number"}]
        value = read_number(number)
        if len(numeric) != 1 or value is None:
            return None
        if len(last.devices) > 1:
            return self._which(last, last.devices)
        return _changed(last, numeric[0], value)

    def _with_device(self, last: Exchange, what: str, names: Phrases) -> CommandDraft | NothingDraft | None:
        """Return the last order for the device that `what` wholly names."""
        key = self._device_argument(last)
        if not key:
            return None
        if _OTHER.fullmatch(what):
            devices = _others(last, names)
        else:
            bare = digits(plain(what))
            found = [phrase for phrase in names.find(bare) if phrase.kind == DEVICE]
            left = bare if not found else f"{bare[: found[0].start]}{bare[found[0].end :]}"
            if len(found) != 1 or left.strip(" ,.!").casefold() not in {"", "the"}:
                return None
            devices = names.fitting(key, found[0].values)
        if len(devices) != 1:
            return self._which(last, devices or names.devices)
        return _changed(last, key, devices[0])

    def _device_argument(self, last: Exchange) -> str:
        args = self._nodes[last.draft.node].spec.commands[last.draft.name].args
        names = [name for name, argument in args.items() if argument.device]
        return names[0] if len(names) == 1 else ""

    def _which(self, last: Exchange, devices: tuple[str, ...]) -> NothingDraft:
        key = self._device_argument(last) or "device"
        argument = self._nodes[last.draft.node].spec.commands[last.draft.name].args.get(key)
        question = (
            ask_for_argument(key, argument, devices=devices)
            if argument
            else f"which of {', '.join(devices)}?"
        )
        return NothingDraft(last.draft.node, question, code="ask_back")


def _changed(last: Exchange, name: str, value: object) -> CommandDraft:
    arguments = {**last.draft.arguments, name: value}
    return replace(last.draft, arguments=arguments, origin=Origin.TEMPLATE, confidence=1.0)


def _others(last: Exchange, names: Phrases) -> tuple[str, ...]:
    """Return the devices that are called as the last ones are, without those."""
    nouns = {names.noun(device) for device in last.devices}
    return tuple(
        device for device in names.devices if names.noun(device) in nouns and device not in last.devices
    )
