"""What a sentence may come down to, before templates see it: names made plain, habits of speech taken out.

Knows what a node's people may name; knows nothing of how templates are matched, of the twin or of models.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge_node.understand.correcting import amended
from edge_node.understand.forms import DEVICE, Grade
from edge_node.understand.habits import base, imperatives, plain
from edge_node.understand.measures import in_numbers, in_shares, in_units
from edge_node.understand.phrases import Phrase
from edge_node.understand.values import digits

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from edge_node.understand.phrases import Phrases

_MOST_DEVICES = 4
STANDINS = tuple(f"qqdevice{letter}" for letter in "abcd"[:_MOST_DEVICES])
"""Words that stand for the devices of a sentence, in order, where templates see it."""
_STANDIN = "(?P<device>qqdevice[a-d])"
_LET = re.compile(rf"^(?:let|have|make|get|tell|ask|allow) {_STANDIN} (?:to )?(?P<rest>.+)$", re.IGNORECASE)
_SHALL = re.compile(
    rf"^{_STANDIN} (?:should|shall|may|must|needs? to|has to|is to) (?P<rest>.+)$", re.IGNORECASE
)
_FIRST = re.compile(rf"^{_STANDIN} (?P<verb>[a-z]+)(?P<rest>(?: .+)?)$", re.IGNORECASE)
_LAST = re.compile(rf"^(?P<rest>.+?) {_STANDIN}$", re.IGNORECASE)
_LAST_OF = re.compile(rf"^(?P<rest>.+?) (?:on|with|for|by|using) {_STANDIN}$", re.IGNORECASE)
_PASSIVE = re.compile(
    rf"^{_STANDIN} (?:can|may|should|must|needs to|has to|is to) (?:now )?be "
    r"(?P<verb>[a-z]+?)ed(?P<rest>(?: .+)?)$",
    re.IGNORECASE,
)
_ARTICLE = re.compile(r"(?<!\w)the (?=qqdevice)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Heard:
    """A sentence as templates see it.

    Attributes:
        text: The sentence; stand-ins are in the place of devices, values are as the node has them.
        named: Stand-in to the phrase that it stands for.
        original: Stand-in to the words that were said.
        literal: Whether nothing but names and numbers was changed.
    """

    text: str
    named: Mapping[str, Phrase] = field(default_factory=dict)
    original: Mapping[str, str] = field(default_factory=dict)
    literal: bool = True

    def restored(self, text: str) -> str:
        """Return a part of the sentence with the words that were said in the place of stand-ins."""
        for word, said in self.original.items():
            text = text.replace(word, said)
        return text


def readings(text: str, *, phrases: Phrases) -> Iterator[Heard]:
    """Yield a sentence as it was said, with what it names made plain and numbers in digits."""
    yield from _once(
        heard
        for said in (" ".join(text.split()), digits(text))
        for heard in _named(said, phrases, literal=True)
    )


def plainer_readings(
    text: str,
    *,
    phrases: Phrases,
    verbs: frozenset[str],
    units: frozenset[str],
    strangers: bool = False,
) -> Iterator[Heard]:
    """Yield what a sentence comes down to once habits of speech are taken out, the most literal first.

    Args:
        text: The sentence.
        phrases: What may be named.
        verbs: Words that orders begin with.
        units: Units of the node's arguments.
        strangers: Whether devices that are not there have stand-ins too.
    """
    yield from _once(
        each
        for said in _plainer(text, phrases=phrases, verbs=verbs, units=units)
        for heard in _named(said, phrases, literal=False, strangers=strangers)
        for each in (heard, *_framed(heard, verbs))
    )


def unnamed_readings(text: str, *, phrases: Phrases) -> Iterator[Heard]:
    """Yield orders of a sentence that names no device, with a stand-in for all where one may be missing."""
    said = digits(plain(text))
    if not phrases.devices or any(phrase.kind == DEVICE for phrase in phrases.find(said)):
        return
    heard = _marked(said, phrases.find(said), literal=False)
    anyone = {STANDINS[0]: Phrase(DEVICE, phrases.devices, 0, 0, Grade.PART)}
    verb, _, rest = heard.text.partition(" ")
    for order in (f"{heard.text} {STANDINS[0]}", f"{verb} {STANDINS[0]} {rest}".rstrip()):
        yield Heard(order, anyone, {STANDINS[0]: ""}, literal=False)


def _once(all_heard: Iterable[Heard]) -> Iterator[Heard]:
    seen: set[str] = set()
    for heard in all_heard:
        if heard.text not in seen:
            seen.add(heard.text)
            yield heard


def _named(text: str, phrases: Phrases, *, literal: bool, strangers: bool = False) -> Iterator[Heard]:
    found = phrases.find(text, strangers=strangers)
    yield _marked(text, found, literal=literal)
    yield _marked(text, [phrase for phrase in found if phrase.kind == DEVICE], literal=literal)
    if not any(phrase.kind == DEVICE for phrase in found):
        yield _marked(text, phrases.find(text, bare_numbers=True), literal=literal)


def _plainer(text: str, *, phrases: Phrases, verbs: frozenset[str], units: frozenset[str]) -> Iterator[str]:
    bare = plain(text)
    for said in (bare, *imperatives(text, verbs=verbs)):
        written = in_units(in_numbers(digits(said)), units=units)
        yield written
        yield in_shares(written)
    written = in_units(in_numbers(digits(text)), units=units)
    for other in amended(written, phrases=phrases):
        yield in_shares(plain(other))


def _marked(text: str, found: Iterable[Phrase], *, literal: bool) -> Heard:
    """Return a text with stand-ins for devices, and with values as the node has them."""
    named: dict[str, Phrase] = {}
    original: dict[str, str] = {}
    pieces, position = [], 0
    for phrase in found:
        said = text[phrase.start : phrase.end]
        if phrase.kind == DEVICE and len(named) < _MOST_DEVICES:
            word = STANDINS[len(named)]
            named[word], original[word] = phrase, said
        elif phrase.kind != DEVICE and len(phrase.values) == 1 and not _is_canonical(said, phrase.values[0]):
            word = str(phrase.values[0])
        else:
            word = said
        pieces += [text[position : phrase.start], word]
        position = phrase.end
    marked = "".join((*pieces, text[position:]))
    return Heard(marked if literal else _ARTICLE.sub("", marked), named, original, literal)


def _is_canonical(said: str, value: str) -> bool:
    return said.casefold() in {value.casefold(), value.replace("_", " ").replace("-", " ").casefold()}


def _framed(heard: Heard, verbs: frozenset[str]) -> Iterator[Heard]:
    """Yield other orders of the words: 'let it go' is 'it go' and 'go it'."""
    text = heard.text
    passive = _PASSIVE.match(text)
    if passive and (verb := base(passive["verb"].casefold(), verbs)):
        yield _with(heard, f"{verb} {passive['device']}{passive['rest']}")
    for frame in (_LET, _SHALL):
        found = frame.match(text)
        if found:
            text = f"{found['device']} {found['rest']}"
            yield _with(heard, text)
    first = _FIRST.match(text)
    if first:
        yield _with(heard, f"{first['verb']} {first['device']}{first['rest']}")
    for found in (None if first else frame.match(text) for frame in (_LAST, _LAST_OF)):
        if found:
            yield _with(heard, f"{found['device']} {found['rest']}")
            verb, _, rest = found["rest"].partition(" ")
            yield _with(heard, f"{verb} {found['device']} {rest}".rstrip())


def _with(heard: Heard, text: str) -> Heard:
    return Heard(text, heard.named, heard.original, literal=False)
