"""How people say the names of devices, and where a sentence says one.

Pure functions over names and text; knows nothing of the twin or of commands.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from difflib import SequenceMatcher

from edge_node.understand.values import digits

_SEPARATORS = re.compile(r"[-_.\s]+")
_PART = re.compile(r"\d+|[^\W\d_]+")
# A slip of one letter in five passes, another word of the same length does not; digits must be right.
_SPELLING = 0.8
_SHORTEST_MISSPELT = 4


@dataclass(frozen=True, slots=True)
class Mention:
    """A place in a text where a device is named.

    Attributes:
        device: The device.
        start: First character.
        end: One past the last character.
    """

    device: str
    start: int
    end: int


def spoken_names(devices: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Return for each device how it may be said: 'pump-2' is also 'pump 2', 'pump2' and 'number 2'.

    Numbers stand in digits; 'number 2' is there only where no other device ends in the same number, and
    'pump' alone only where there is no other pump.
    """
    endings = Counter(_ending(device) for device in devices)
    kinds = Counter(_kind(device) for device in devices)
    names = {}
    for device in devices:
        spaced = " ".join(_PART.findall(device)) or device
        plain = " ".join(str(int(part)) if part.isdigit() else part for part in spaced.split())
        said = [device, _SEPARATORS.sub(" ", device), spaced, plain, "".join(plain.split())]
        ending = _ending(device)
        if ending is not None and endings[ending] == 1:
            said += [f"number {ending}", f"no. {ending}", f"nr {ending}"]
        if kinds[_kind(device)] == 1:
            said.append(_kind(device))
        names[device] = tuple(dict.fromkeys(name.casefold() for name in said))
    return names


def _kind(device: str) -> str:
    """Return what a device is called without its number: 'pump' for 'pump-2'."""
    parts = _PART.findall(device)
    return " ".join(parts[:-1] if _ending(device) is not None else parts) or device


def _ending(device: str) -> int | None:
    parts = _PART.findall(device)
    # str.isdigit holds for digits that int() refuses; \d in a pattern does not match those.
    return int(parts[-1]) if len(parts) > 1 and parts[-1].isdigit() else None


def mentions(text: str, *, devices: tuple[str, ...]) -> list[Mention]:
    """Return where `text` (numbers in digits) names devices, longest names first, without overlaps."""
    lowered = text.casefold()
    names = sorted(
        ((name, device) for device, said in spoken_names(devices).items() for name in said),
        key=lambda pair: (-len(pair[0]), pair),
    )
    found: list[Mention] = []
    for name, device in names:
        if name not in lowered:
            continue
        for match in re.finditer(rf"(?<![\w-]){re.escape(name)}(?!\w|-\w|\.\d)", lowered):
            _add(found, Mention(device, match.start(), match.end()))
    for mention in _misspelt(lowered, devices):
        _add(found, mention)
    return found


def mentioned(text: str, *, devices: tuple[str, ...]) -> tuple[set[str], str]:
    """Return the devices that `text` names, and the rest of the text with its numbers in digits."""
    said = digits(text)
    found = mentions(said, devices=devices)
    rest = list(said)
    for mention in found:
        rest[mention.start : mention.end] = " " * (mention.end - mention.start)
    return {mention.device for mention in found}, "".join(rest)


def _add(found: list[Mention], mention: Mention) -> None:
    same = any(other.start == mention.start and other.end == mention.end for other in found)
    apart = all(mention.end <= other.start or mention.start >= other.end for other in found)
    if same or apart:
        found.append(mention)


def _misspelt(text: str, devices: tuple[str, ...]) -> list[Mention]:
    """Return names with a slip in their letters; their digits must be there as they are."""
    words = [(match[0], match.start(), match.end()) for match in _PART.finditer(text)]
    found = []
    for device in devices:
        parts = [part.casefold() for part in _PART.findall(device)]
        if not any(len(part) >= _SHORTEST_MISSPELT for part in parts):
            continue
        for index in range(len(words) - len(parts) + 1):
            window = words[index : index + len(parts)]
            goes_on = re.match(r"[-.]\d", text[window[-1][2] :])
            if not goes_on and all(
                _alike(part, word) for part, (word, _, _) in zip(parts, window, strict=True)
            ):
                found.append(Mention(device, window[0][1], window[-1][2]))
    return found


def _alike(part: str, word: str) -> bool:
    if part.isdigit() or word.isdigit():
        return part.isdigit() and word.isdigit() and int(part) == int(word)
    if len(part) < _SHORTEST_MISSPELT:
        return part == word
    return SequenceMatcher(None, part, word).ratio() >= _SPELLING
