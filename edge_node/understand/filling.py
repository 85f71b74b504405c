"""The arguments of one command, found in one sentence.

Knows what examples taught of the command, and what the sentence names; knows nothing of how the command was
chosen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_node.understand.framing import PLACES, From, Source, devices_named
from edge_node.understand.taught import ORDER_WORDS, plainer
from edge_node.understand.values import unit_words
from edge_node.understand.vocabulary import DEVICE, NUMBER, keys_of, same_unit
from edge_node.understand.words import content_stems, stem, word_set

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from edge_node.config.models import ArgumentConfig
    from edge_node.understand.framing import Worked
    from edge_node.understand.taught import Command
    from edge_node.understand.vocabulary import Mark, Sentence, Vocabulary

_HERE = word_set("here")
_EVERYWHERE = word_set("everywhere house home building flat apartment every all")
_MOST = word_set("max maximum full fully highest brightest most completely")
_LEAST = word_set("min minimum lowest least dimmest darkest")
_DETERMINERS = word_set("the a an my our your this that these those some")
_HERE_PRIOR = 0.35
_SAID_PRIOR = 0.4
_STRANGE_PRIOR = 0.3
_BESIDE = 0.05
_LONGER = 2
_FAMILY = 4


class Filling:
    """The arguments of one command, found in one sentence."""

    def __init__(
        self,
        command: Command,
        sentence: Sentence,
        alike: NDArray[np.float32],
        context: Mapping[str, str],
        vocabulary: Vocabulary,
    ) -> None:
        self._command = command
        self._sentence = sentence
        self._alike = alike
        self._context = context
        self._vocabulary = vocabulary
        self._used: set[int] = set()
        self._covered: set[int] = set()
        self._cued: set[int] = set()
        self.weakest = 1.0
        self.ambiguous = False
        self.arguments: dict[str, Any] = {}
        self._numbers()
        later = []
        for name, argument in self._command.spec.args.items():
            if name not in self.arguments and not self._named(name, argument):
                later.append(name)
        # Words taken as they are come last: what has a meaning of its own is not part of them.
        for name in sorted(later, key=lambda each: bool(self._command.arguments[each].texts)):
            self._decide(name)

    def left(self) -> tuple[str, ...]:
        """Return what is named and in no argument."""
        return tuple(
            self._sentence.words(mark.first, mark.last)
            for index, mark in enumerate(self._sentence.marks)
            if index not in self._used and not set(range(mark.first, mark.last)) <= self._covered | self._cued
        )

    def unknown(self) -> tuple[str, ...]:
        """Return the words with a meaning that nothing explains."""
        named = {at for mark in self._sentence.marks for at in range(mark.first, mark.last)}
        named |= self._covered | self._cued
        units = {
            mark.last for mark in self._sentence.marks if mark.kind == NUMBER and unit_words(mark.unit)[1:]
        }
        return tuple(
            token.text
            for at, token in enumerate(self._sentence.tokens)
            if at not in named | units
            and token.key not in ORDER_WORDS
            and stem(plainer(token.key)) not in self._command.words
            and content_stems(token.text)
        )

    def _named(self, name: str, argument: ArgumentConfig) -> bool:
        kind = DEVICE if argument.device else name
        for index, mark in enumerate(self._sentence.marks):
            if mark.kind == kind and index not in self._used:
                self._used.add(index)
                self.arguments[name] = self._meant(mark)
                return True
        here = any(token.key in _HERE for token in self._sentence.tokens)
        if here and kind in PLACES and kind in self._context:
            self.arguments[name] = self._context[kind]
            return True
        return False

    def _decide(self, name: str) -> None:
        """Give an argument the value that the examples speak for most, or none."""
        scores = self._scores(name)
        general = dict.fromkeys(From, 0.0)
        for source, score in scores.items():
            general[source.origin] += score
        place = None
        if general[From.TEXT] > 0:
            # A word that says what kind of thing is meant may also say its state: "are the doors locked".
            place = self._text(name, taken=self._covered | self._cued) or self._text(
                name, taken=self._covered
            )
        text = self._sentence.words(*place) if place else ""
        taken = self._command.arguments[name].values.get(keys_of(text), text)
        speaks = self._candidates(name, general)
        if place:
            speaks[taken] = speaks.get(taken, 0.0) + general[From.TEXT] + self._unexplained(name, place)
        self._weigh(name, scores, speaks)
        ranked = sorted(speaks.items(), key=lambda pair: -pair[1])
        value, score = ranked[0]
        self.weakest = min(self.weakest, score - (ranked[1][1] if len(ranked) > 1 else 0.0))
        if value is None:
            return
        self.arguments[name] = value
        if place and value == taken:
            self._covered |= set(range(*place))
        for mark in self._sentence.cues:
            if mark.kind == name and mark.values[0] == value:
                self._cued |= set(range(mark.first, mark.last))

    def _unexplained(self, name: str, place: tuple[int, int]) -> float:
        """Return how much speaks for words as an argument because nothing else explains them."""
        if keys_of(self._sentence.words(*place)) in self._command.arguments[name].values:
            return _SAID_PRIOR
        tokens = self._sentence.tokens[place[0] : place[1]]
        strange = [stem(plainer(token.key)) not in self._command.words for token in tokens]
        return _STRANGE_PRIOR if all(strange) else 0.0

    def _candidates(self, name: str, general: Mapping[From, float]) -> dict[Any, float]:
        """Return the values that the sentence, its place and its devices offer; None is to leave it out."""
        speaks: dict[Any, float] = {None: general[From.NOWHERE]}
        for value in self._cues(name):
            said = _SAID_PRIOR if self._command.spec.args[name].enum else 0.0
            speaks[value] = speaks.get(value, 0.0) + general[From.CUE] + general[From.NAME] + said
        for place, value in enumerate(self._labels(name)):
            speaks[value] = speaks.get(value, 0.0) + (0.0 if place else general[From.LABEL])
        if name in self._context:
            here = self._context[name]
            speaks[here] = speaks.get(here, 0.0) + general[From.CONTEXT] + self._prior(name)
        return speaks

    def _weigh(self, name: str, scores: Mapping[Source, float], speaks: dict[Any, float]) -> None:
        """Add what examples with a certain value say for it, unless the words or the device say another."""
        labels = self._labels(name)
        offered = bool(labels or self._cues(name))
        for source, score in scores.items():
            value = source.value
            implied = source.origin is From.IMPLIED and (not labels or value in labels)
            told = source.origin in {From.LABEL, From.CUE} and (value in speaks or not offered)
            if implied or told:
                speaks[value] = speaks.get(value, 0.0) + score

    def _scores(self, name: str) -> dict[Source, float]:
        taught = self._command.arguments[name]
        alike = taught.alike(self._alike, self._command.name, decided=self.arguments)
        scores = taught.ridge.scores(alike)
        return {
            source: float(score)
            for source, score in zip(taught.ridge.classes, scores, strict=True)
            if isinstance(source, Source)
        }

    def _prior(self, name: str) -> float:
        """Return how much is to be said for the place of who speaks, before any example."""
        placed = any(mark.kind in {DEVICE, *PLACES} for mark in self._sentence.marks)
        everywhere = any(token.key in _EVERYWHERE for token in self._sentence.tokens)
        if name not in PLACES or placed or everywhere:
            return 0.0
        return _HERE_PRIOR if name in self._command.placeless else 1.0

    def _cues(self, name: str) -> list[Any]:
        argument = self._command.spec.args[name]
        if argument.type in {"integer", "number"}:
            keys = {token.key for token in self._sentence.tokens}
            ends = [(_MOST, argument.maximum), (_LEAST, argument.minimum)]
            return [
                int(end) if float(end).is_integer() else end
                for words, end in ends
                if end is not None and words & keys
            ]
        kind = DEVICE if argument.device else name
        cues = [mark for mark in self._sentence.cues if mark.kind == kind]
        # The first word of an order is its verb: in "switch off the lights" no switch is meant.
        return [max(cues, key=lambda mark: (mark.last - mark.first, mark.first)).values[0]] if cues else []

    def _labels(self, name: str) -> list[str]:
        """Return what the devices that are named have for a label, the likeliest first."""
        found: list[str] = []
        for mark in devices_named(self._sentence):
            for device in (self._meant(mark), *mark.values):
                known = self._vocabulary.labels.get(device, {})
                if name in known and known[name] not in found:
                    found.append(known[name])
        return found

    def _meant(self, mark: Mark) -> Any:
        """Return which of the devices of one name is meant: the one of whose labels most is said."""
        if len(mark.values) == 1 or mark.kind != DEVICE:
            return mark.values[0]
        said = {stem(token.key) for token in self._sentence.tokens}

        def told(device: str) -> float:
            words = [keys_of(value) for value in self._vocabulary.labels.get(device, {}).values()]
            return max(
                (
                    sum(any(_akin(stem(word), one) for one in said) for word in value) / len(value)
                    for value in words
                    if value
                ),
                default=0.0,
            )

        ranked = sorted(mark.values, key=told, reverse=True)
        if told(ranked[0]) == told(ranked[1]):
            self.ambiguous = True
        return ranked[0]

    def _text(self, name: str, *, taken: set[int]) -> tuple[int, int] | None:
        """Return where the words stand that an argument takes as they are, those `taken` left aside."""
        taught = self._command.arguments[name]
        keys = [token.key for token in self._sentence.tokens]
        for value in sorted(taught.values, key=len, reverse=True):
            for first in range(len(keys) - len(value) + 1):
                place = range(first, first + len(value))
                if value and tuple(keys[first : first + len(value)]) == value and not taken & set(place):
                    return first, first + len(value)
        best: tuple[float, tuple[int, int]] | None = None
        longest = max((last - first for first, last in taught.texts), default=0)
        longest += _LONGER if longest > 1 else 0
        alike = taught.alike(self._alike, self._command.name)
        for row, one in enumerate(taught.worked):
            if name not in one.texts:
                continue
            for stretch, matched in _aligned(one, one.texts[name], self._sentence):
                inner = self._trimmed(stretch, taken=taken)
                if inner and inner[1] - inner[0] <= longest:
                    score = float(alike[row]) + _BESIDE * matched
                    if best is None or score > best[0]:
                        best = (score, inner)
        return best[1] if best else None

    def _trimmed(self, place: tuple[int, int], *, taken: set[int]) -> tuple[int, int] | None:
        """Return the longest part of a place that has no other meaning, without an article before it."""
        pieces, start = [], place[0]
        for at in range(place[0], place[1] + 1):
            if at == place[1] or at in taken:
                pieces.append((start, at))
                start = at + 1
        first, last = max(pieces, key=lambda piece: piece[1] - piece[0])
        while first < last and self._sentence.tokens[first].text in _DETERMINERS:
            first += 1
        while first < last and self._sentence.tokens[last - 1].text in _DETERMINERS:
            last -= 1
        return (first, last) if first < last else None

    def _numbers(self) -> None:
        pairs = []
        for index, mark in enumerate(self._sentence.marks):
            if mark.kind != NUMBER:
                continue
            for name, argument in self._command.spec.args.items():
                fits = _unit_fits(mark, name, argument)
                numeric = argument.type in {"integer", "number"} or self._command.arguments[name].numeric
                if not numeric and fits <= 0:
                    continue
                score = sum(
                    score for source, score in self._scores(name).items() if source.origin is From.NAME
                )
                score += self._command.speaks(name, mark, self._sentence, self._alike)
                pairs.append((score + fits, name, index, mark))
        for score, name, index, mark in sorted(pairs, key=lambda pair: -pair[0]):
            if name not in self.arguments and index not in self._used and score > 0:
                self.arguments[name] = mark.values[0]
                self._used.add(index)
                self._covered |= set(range(mark.first, mark.last + bool(unit_words(mark.unit)[1:])))


def _akin(one: str, other: str) -> bool:
    """Return whether two stems are of one family: 'connectivit' and 'connect'."""
    short = min(len(one), len(other))
    return one == other or (short >= _FAMILY and one[:short] == other[:short])


_TIME = {"hour", "minute", "second", "day", "week"}


def _unit_fits(mark: Mark, name: str, argument: ArgumentConfig) -> float:
    own = keys_of(argument.unit or "") or keys_of(name)[-1:]
    if not mark.unit or not own:
        return 0.0
    if any(same_unit(word, mark.unit) for word in own):
        return 1.0
    return -1.0 if mark.unit in _TIME and own[-1] in _TIME else 0.0


def _aligned(one: Worked, place: tuple[int, int], sentence: Sentence) -> list[tuple[tuple[int, int], int]]:
    """Return where the text of an example would stand in a sentence, and how many words beside it agree."""
    theirs = [token.key for token in one.sentence.tokens]
    keys = [token.key for token in sentence.tokens]
    left, right = theirs[: place[0]], theirs[place[1] :]
    starts = (
        [(0, 0)]
        if not left
        else [
            (at + 1, _common(left[::-1], keys[: at + 1][::-1]))
            for at, key in enumerate(keys)
            if key == left[-1]
        ]
    )
    ends = (
        [(len(keys), 0)]
        if not right
        else [(at, _common(right, keys[at:])) for at, key in enumerate(keys) if key == right[0]]
    )
    return [((start, end), one + two) for start, one in starts for end, two in ends if start < end]


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    count = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        count += 1
    return count
