"""Several orders in one sentence, taken apart until each part is an order that is understood surely.

Knows how sentences join orders, leave out a verb or a device, and mean several devices at once; knows no
tier: what a part means, and which devices a phrase means, it is told. Nothing comes of a sentence of which
one part is not sure, but a question.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from edge_node.messages import CommandDraft, NothingDraft, TaskDraft
from edge_node.understand.asking import call_in_words
from edge_node.understand.speech import is_question, without_courtesy
from edge_node.understand.values import digits
from edge_node.understand.words import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

MOST_ORDERS = 16
"""Commands that one sentence may lead to."""
_MOST_PARTS = 8
_JOINED = re.compile(
    r"\s*(?:[,;&]\s*(?:and\s+then|and|then)?|\b(?:and\s+then|and\s+also|as\s+well\s+as|and|then|plus)\b)\s*",
    re.IGNORECASE,
)
_QUOTED = re.compile("[\"“”„«»\N{LEFT SINGLE QUOTATION MARK}]|(?<!\\w)'")


@dataclass(frozen=True, slots=True)
class Group:
    """Words of a sentence that mean several devices.

    Attributes:
        start: First character.
        end: One past the last character.
        devices: The devices that are meant, in order.
        doubt: What is to be asked back, where it is not plain which; empty where it is.
    """

    start: int
    end: int
    devices: tuple[str, ...]
    doubt: str = ""


Mention: TypeAlias = tuple[str, int, int]
"""A device, or nothing where several may be meant, its first character in a text and one past its last."""


class CompoundOrders:
    """Sentences that hold several orders.

    Args:
        mentions: Gives the devices that a text (numbers in digits) names, and where, from left to right.
        groups: Gives the places of a sentence (numbers in digits) that mean several devices.
        conflict: Gives why two commands contradict each other, or nothing where they do not.
    """

    def __init__(
        self,
        *,
        mentions: Callable[[str], Sequence[Mention]],
        groups: Callable[[str], Sequence[Group]],
        conflict: Callable[[CommandDraft, CommandDraft], str],
    ) -> None:
        self._mentions = mentions
        self._groups = groups
        self._conflict = conflict

    def draft(
        self, text: str, *, sure: Callable[[str], CommandDraft | None]
    ) -> CommandDraft | TaskDraft | NothingDraft | None:
        """Return the commands of a sentence in their order, what to ask back, or None where it is not such.

        Args:
            text: What was said.
            sure: Gives the command that a part means without doubt, or None.
        """
        said = without_courtesy(digits(clean(text)))
        groups = list(self._groups(said))
        parts = [part for part in _JOINED.split(said) if part]
        if not groups and (len(parts) < 2 or len(parts) > _MOST_PARTS):  # noqa: PLR2004 - one part is no compound
            return None
        reader = _Reader(self._mentions, self._groups, sure)
        read = reader.read(parts)
        drafts = list(reader.drafts)
        if read.doubt and (drafts or groups):
            return _asked(read.doubt)
        if not drafts or (read.left == parts[0] and is_question(read.left)):
            return None
        if read.left:
            reason = "is a question: ask it on its own" if is_question(read.left) else "was not understood"
            return _asked(f"{read.left!r} {reason}; nothing was done. Say one thing at a time")
        if _QUOTED.search(text):
            return _asked("these words stand in quotation marks: say without them what is to be done")
        return self._settled(drafts)

    def _settled(self, drafts: Sequence[CommandDraft]) -> CommandDraft | TaskDraft | NothingDraft:
        calls: dict[str, CommandDraft] = {}
        for draft in drafts:
            calls.setdefault(f"{draft.node} {_call(draft)}", draft)
        kept = tuple(calls.values())
        for number, one in enumerate(kept):
            for other in kept[number + 1 :]:
                why = self._conflict(one, other)
                if why:
                    return _asked(f"{_call(one)} and {_call(other)} contradict each other: {why}; which one?")
        if len(kept) > MOST_ORDERS:
            return _asked(f"that would be {len(kept)} commands, and one sentence may give {MOST_ORDERS}")
        return kept[0] if len(kept) == 1 else TaskDraft(kept)


@dataclass(frozen=True, slots=True)
class _Read:
    """How far a sentence was read: a part that was not understood, or what to ask back of one."""

    left: str = ""
    doubt: str = ""


class _Reader:
    """One sentence, read from left to right."""

    def __init__(
        self,
        mentions: Callable[[str], Sequence[Mention]],
        groups: Callable[[str], Sequence[Group]],
        sure: Callable[[str], CommandDraft | None],
    ) -> None:
        self._mentions = mentions
        self._groups = groups
        self._sure = sure
        self._device = ""
        self._verb = ""
        self.drafts: list[CommandDraft] = []

    def read(self, parts: Sequence[str]) -> _Read:
        """Return what is left of the parts; the longest run that is one order is taken first."""
        at, left = 0, ""
        while at < len(parts):
            for end in range(len(parts), at, -1):
                drafts, doubt = self._order(parts[at:end])
                if doubt:
                    return _Read(doubt=doubt)
                if drafts:
                    self.drafts += drafts
                    break
            else:
                left, end = left or parts[at], at + 1
            at = end
        return _Read(left=left)

    def _order(self, parts: Sequence[str]) -> tuple[list[CommandDraft], str]:
        """Return the commands of parts that are one order, perhaps for several devices."""
        if len(parts) > 1:
            return self._listed(parts), ""
        text = parts[0]
        group = next(iter(self._groups(text)), None)
        if group is not None:
            if group.doubt:
                return [], group.doubt
            return self._for_each(text[: group.start], group.devices, text[group.end :]), ""
        for said in self._completed(text):
            draft = self._sure(said)
            if draft is not None:
                self._take_up(said)
                return [draft], ""
        return [], ""

    def _listed(self, parts: Sequence[str]) -> list[CommandDraft]:
        """Return an order for each device of a list: "set pump 1, pump 2 and pump 3 to 30"."""
        first, last = self._mentions(parts[0]), self._mentions(parts[-1])
        if not first or not last or first[-1][2] != len(parts[0]) or last[0][1] != 0:
            return []
        between = [self._mentions(part) for part in parts[1:-1]]
        if any(
            len(found) != 1 or (found[0][1], found[0][2]) != (0, len(part))
            for found, part in zip(between, parts[1:-1], strict=True)
        ):
            return []
        devices = (first[-1][0], *(found[0][0] for found in between), last[0][0])
        return self._for_each(parts[0][: first[-1][1]], devices, parts[-1][last[0][2] :])

    def _for_each(self, before: str, devices: Sequence[str], after: str) -> list[CommandDraft]:
        drafts = [self._sure(f"{before}{device}{after}") for device in devices]
        found = [draft for draft in drafts if draft is not None]
        if len(found) != len(drafts):
            return []
        self._device, self._verb = "", before
        return found

    def _completed(self, text: str) -> list[str]:
        """Return a part as it stands, and with the device or the verb of the order before it."""
        said = [text]
        if self._device and not self._mentions(text):
            said += [f"{text} {word} {self._device}" for word in ("of", "on", "for")]
            said += [f"{text} {self._device}"]
        if self._verb and self._mentions(text):
            said.append(f"{self._verb}{text}")
        return said

    def _take_up(self, text: str) -> None:
        found = self._mentions(text)
        self._device = found[0][0] if len(found) == 1 else ""
        if found and found[0][1]:
            self._verb = text[: found[0][1]]


_PLURAL = re.compile(
    r"\b(?P<how>all|every|each|both)\b(?: of)?(?: the)?(?: (?P<count>\d+))?(?: (?P<noun>[^\W\d_]+))?",
    re.IGNORECASE,
)


def plural_groups(text: str, *, kinds: Mapping[str, tuple[str, ...]]) -> list[Group]:
    """Return where a text means all devices of a kind.

    Args:
        text: The text.
        kinds: Noun in the singular to the devices that it names.
    """
    groups = []
    for found in _PLURAL.finditer(text):
        noun = (found["noun"] or "").casefold()
        known = next((kinds[each] for each in (noun, noun.removesuffix("s")) if each in kinds), None)
        end = found.end() if known is not None or not noun else found.start("noun") - 1
        said = text[found.start() : end]
        devices = known if known is not None else ()
        if known is None and noun and found["how"].casefold() != "both":
            continue
        both = found["how"].casefold() == "both"
        if known is None and len(set(kinds.values())) == 1:
            devices = next(iter(kinds.values()))
        wanted = 2 if both else int(found["count"] or 0)
        doubt = ""
        if not devices or (wanted and wanted != len(devices)):
            listed = ", ".join(devices[:MOST_ORDERS]) or "nothing of that name"
            doubt = f"which do you mean by {said!r}? there is {listed}"
        groups.append(Group(found.start(), end, devices, doubt))
    return groups


def _asked(question: str) -> NothingDraft:
    return NothingDraft("", question, code="ask_back")


def _call(draft: CommandDraft) -> str:
    return call_in_words(draft.name, draft.arguments)
