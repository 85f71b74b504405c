"""Orders understood by the examples of a node: which command, and where each argument comes from.

Knows examples, what sentences name, and an embedding model; knows nothing of templates, of the twin or of
the language model.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_node.understand.framing import NOWHERE, PLACES, From, Source, devices_named, work_out
from edge_node.understand.likeness import Likeness, Ridge
from edge_node.understand.values import unit_words
from edge_node.understand.vocabulary import DEVICE, NUMBER, key_of, keys_of, same_unit
from edge_node.understand.speech import is_question
from edge_node.understand.words import content_stems, stem, word_set, words_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edge_node.config.loaded import Node, SpokenExample
    from edge_node.config.models import ArgumentConfig, CommandConfig
    from edge_node.protocols import Embedder
    from edge_node.understand.framing import Worked
    from edge_node.understand.vocabulary import Mark, Sentence, Vocabulary

ORDER_WORDS = word_set(
    """turn switch put set make bring up down now right every each all any both single whole entire across over
    around everywhere house home building room area place device thing one"""
)
# Verbs of operating machines that say the same as plainer ones.
_PLAINER = {
    **dict.fromkeys(("activate", "enable", "deactivate", "disable", "kill", "switch"), "turn"),
    "shut": "close",
    "halt": "stop",
    "launch": "start",
}
_WITH = {
    **dict.fromkeys(("activate", "enable"), "on"),
    **dict.fromkeys(("deactivate", "disable", "kill"), "off"),
}
_HERE = word_set("here")
_EVERYWHERE = word_set("everywhere house home building flat apartment every all")
_MOST = word_set("max maximum full fully highest brightest most completely")
_LEAST = word_set("min minimum lowest least dimmest darkest")
_DETERMINERS = word_set("the a an my our your this that these those some")
_HERE_PRIOR = 0.35
_SAID_PRIOR = 0.4
_OTHER_COMMAND = 0.5
_BESIDE = 0.05
_LONGER = 2
_LEFT_OVER = 0.3
_TRIED = 3
_MANNER = 0.6
_NONE_NEEDS = 0.2
_CALIBRATED_BY = 20
_PLAIN = {DEVICE: "device", "area": "room", "floor": "floor"}


@dataclass(frozen=True, slots=True)
class Guess:
    """What a sentence seems to order.

    Attributes:
        command: Name of the command; empty where none seems meant.
        arguments: Argument name to value.
        score: How much the examples speak for the command, about 0 to 1.
        margin: How much less they speak for the next one.
        alike: Likeness of the most alike example of the command, 0 to 1.
        unknown: Words with a meaning that no example of the command has and no argument took.
        left: What was said and is in no argument.
        weakest: The least certain decision on an argument, about 0 to 1.
        confidence: Share of examples with such a score whose command was found without them, 0 to 1.
    """

    command: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    score: float = 0.0
    margin: float = 0.0
    alike: float = 0.0
    unknown: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    weakest: float = 1.0
    runner_up: str = ""
    confidence: float = 0.0


class _Argument:
    """What the examples of all commands that have an argument teach of it."""

    def __init__(self, name: str, worked: Sequence[tuple[int, Worked]], among: NDArray[np.float32]) -> None:
        self.rows = np.array([row for row, _ in worked], dtype=np.intp)
        self.worked = [one for _, one in worked]
        self._commands = np.array([one.example.command for one in self.worked])
        same = np.where(self._commands[:, None] == self._commands[None, :], 1.0, _OTHER_COMMAND)
        inner = among[np.ix_(self.rows, self.rows)] * same.astype(np.float32)
        self.ridge = Ridge(inner, [_hashable(one, name) for one in self.worked])
        self.values = _values(self.worked, name)
        self.texts = [one.texts[name] for one in self.worked if name in one.texts]
        self.numeric = any(_is_number(one.example.arguments.get(name)) for one in self.worked)

    def alike(self, alike: NDArray[np.float32], command: str) -> NDArray[np.float32]:
        """Return how alike a sentence with one command is to each example."""
        own = np.where(self._commands == command, 1.0, _OTHER_COMMAND).astype(np.float32)
        weighed: NDArray[np.float32] = alike[self.rows] * own
        return weighed


class _Command:
    """What the examples of one command teach."""

    def __init__(
        self,
        name: str,
        spec: CommandConfig,
        *,
        rows: NDArray[np.intp],
        worked: Sequence[Worked],
        arguments: Mapping[str, _Argument],
    ) -> None:
        self.name = name
        self.spec = spec
        self.rows = rows
        self.arguments = {argument: arguments[argument] for argument in spec.args}
        told = words_of(f"{spec.description} {_spaced(name)}")
        self.words = {stem(token.key) for one in worked for token in one.sentence.tokens} | {
            stem(key_of(word)) for word in told
        }
        asking = sum(is_question(one.example.utterance) for one in worked)
        self.asking = (asking + 0.5) / (len(worked) + 1)
        self.placeless = {
            label
            for one in worked
            for label in one.example.context
            if label not in one.sources
            and not any(mark.kind in {DEVICE, *PLACES} for mark in one.sentence.marks)
        }


class LearnedOrders:
    """The examples of one node, learned.

    Args:
        node: The node.
        vocabulary: What may be named now.
        embedder: Sentences to vectors.
        others: Sentences that order nothing, wherever they are said.
    """

    def __init__(
        self, node: Node, *, vocabulary: Vocabulary, embedder: Embedder, others: Sequence[str]
    ) -> None:
        self._node = node
        self._vocabulary = vocabulary
        self._embedder = embedder
        commands = node.spec.commands
        examples = [one for one in node.examples if not one.command or one.command in commands]
        self.worked = [
            work_out(one, command=commands.get(one.command), vocabulary=vocabulary) for one in examples
        ]
        told = [
            (name, text)
            for name, spec in commands.items()
            for text in (spec.description, _spaced(name))
            if name in {one.command for one in examples}
        ]
        beside = [*((text, name) for name, text in told), *((text, "") for text in others)]
        sentences = [one.sentence for one in self.worked] + [vocabulary.read(text) for text, _ in beside]
        contexts = [one.example.context for one in self.worked] + [{} for _ in beside]
        classes = [one.example.command for one in self.worked] + [name for _, name in beside]
        meanings = embedder.embed([self._plain(sentence) for sentence in sentences])
        words = [
            self._terms(sentence, context) for sentence, context in zip(sentences, contexts, strict=True)
        ]
        for row in range(len(self.worked), len(sentences)):
            kinds = {
                str(cue.values[0]).replace("_", " ")
                for cue in sentences[row].cues
                if cue.kind in {"domain", "kind"}
            }
            words[row] += [f"<device:{kind}>" for kind in sorted(kinds)]
        self._likeness = Likeness(meanings, words)
        self._ridge = Ridge(self._likeness.among, classes)
        self._classes = np.array(classes)
        alone = self._ridge.left_out[: len(self.worked)]
        self._left_out = alone.max(axis=1, initial=0.0)
        found = np.array([self._ridge.classes[at] for at in alone.argmax(axis=1)])
        self._was_right = found == self._classes[: len(self.worked)]
        arguments = {
            argument: _Argument(
                argument,
                [
                    (row, one)
                    for row, one in enumerate(self.worked)
                    if one.example.command and argument in commands[one.example.command].args
                ],
                self._likeness.among,
            )
            for argument in {
                key
                for one in self.worked
                if one.example.command
                for key in commands[one.example.command].args
            }
        }
        self._commands = {}
        for name in dict.fromkeys(one.example.command for one in self.worked):
            if name:
                rows = np.flatnonzero(self._classes[: len(self.worked)] == name)
                worked = [self.worked[row] for row in rows]
                self._commands[name] = _Command(
                    name, commands[name], rows=rows, worked=worked, arguments=arguments
                )

    def guess(self, text: str, *, context: Mapping[str, str]) -> Guess:
        """Return what a sentence seems to order."""
        sentence = self._vocabulary.read(text)
        alike = self._likeness.to(
            self._embedder.embed([self._plain(sentence)])[0], self._terms(sentence, context)
        )
        scores = self._ridge.scores(alike)
        asks = is_question(text)
        tried = []
        for at in np.argsort(-scores, kind="stable")[:_TRIED]:
            name, score = str(self._ridge.classes[at]), float(scores[at])
            if name:
                command = self._commands[name]
                filling = _Filling(command, sentence, alike, context, self._vocabulary)
                like = command.asking if asks else 1 - command.asking
                score += _MANNER * (min(like, 0.5) - 0.5) - _LEFT_OVER * len(filling.left())
                tried.append((score, name, filling))
            else:
                tried.append((score - _NONE_NEEDS, name, None))
        tried.sort(key=lambda one: -one[0])
        score, best, filling = tried[0]
        margin, runner_up = (score - tried[1][0], tried[1][1]) if len(tried) > 1 else (score, "")
        if filling is None:
            return Guess("", score=score, margin=margin, runner_up=runner_up)
        return Guess(
            best,
            filling.arguments,
            score=score,
            margin=margin,
            alike=float(alike[self._commands[best].rows].max()),
            unknown=filling.unknown(),
            confidence=self._confidence(score),
            left=filling.left(),
            weakest=filling.weakest,
            runner_up=runner_up,
        )

    def _confidence(self, score: float) -> float:
        """Return how often a score like this was right where an example was left out."""
        nearest = np.argsort(np.abs(self._left_out - score))[:_CALIBRATED_BY]
        return float((self._was_right[nearest].sum() + 1) / (len(nearest) + 2))

    def _plain(self, sentence: Sentence) -> str:
        """Return the sentence with devices and places said by what they are."""
        written, position = [], 0
        starts = {mark.first: mark for mark in sentence.marks if mark.kind != NUMBER}
        while position < len(sentence.tokens):
            mark = starts.get(position)
            if mark is None:
                written.append(sentence.tokens[position].text.casefold())
                position += 1
            else:
                written.append(self._kind(mark) or _PLAIN[mark.kind])
                position = mark.last
        return " ".join(written)

    def _kind(self, mark: Mark) -> str:
        labels = self._vocabulary.labels.get(mark.values[0], {}) if mark.kind == DEVICE else {}
        return (labels.get("kind") or labels.get("domain") or "").replace("_", " ")

    def _terms(self, sentence: Sentence, context: Mapping[str, str]) -> list[str]:
        terms = masked(sentence)
        for mark in sentence.marks:
            if kind := self._kind(mark):
                terms.append(f"<{mark.kind}:{kind}>")
        return [*terms, *(f"<here:{label}>" for label in sorted(context))]


def masked(sentence: Sentence) -> list[str]:
    """Return the words of a sentence as they are compared, with what is named said by its kind."""
    terms, position = [], 0
    starts = {mark.first: mark for mark in sentence.marks}
    while position < len(sentence.tokens):
        mark = starts.get(position)
        key = sentence.tokens[position].key
        terms.append(f"<{mark.kind}>" if mark else stem(_PLAINER.get(key, key)))
        if not mark and key in _WITH:
            terms.append(_WITH[key])
        position = mark.last if mark else position + 1
    return terms


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _spaced(name: str) -> str:
    """Return the name of a command as words: 'setSpeed' and 'set_speed' are 'set speed'."""
    return " ".join(re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", name)).casefold()


def _hashable(one: Worked, argument: str) -> Source:
    """Return where an argument came from, with its value where a value tells more than the place."""
    source = one.sources.get(argument, NOWHERE)
    if source.origin not in {From.IMPLIED, From.LABEL, From.CUE}:
        return source
    value = one.example.arguments[argument]
    value = value[0] if isinstance(value, list) and value else value
    return Source(source.origin, value if not isinstance(value, list | dict) else str(value))


def _values(worked: Sequence[Worked], argument: str) -> dict[tuple[str, ...], Any]:
    """Return the values that examples took from the words as they are."""
    found: dict[tuple[str, ...], Any] = {}
    for one in worked:
        source = one.sources.get(argument)
        if source is not None and source.origin in {From.TEXT, From.IMPLIED}:
            value = one.example.arguments[argument]
            value = value[-1] if isinstance(value, list) else value
            if isinstance(value, str):
                found.setdefault(keys_of(value), value)
    return found


class _Filling:
    """The arguments of one command, found in one sentence."""

    def __init__(
        self,
        command: _Command,
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
        self.weakest = 1.0
        self.missing: list[str] = []
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
            if index not in self._used and not set(range(mark.first, mark.last)) <= self._covered
        )

    def unknown(self) -> tuple[str, ...]:
        """Return the words with a meaning that nothing explains."""
        named = {at for mark in self._sentence.marks for at in range(mark.first, mark.last)} | self._covered
        units = {
            mark.last for mark in self._sentence.marks if mark.kind == NUMBER and unit_words(mark.unit)[1:]
        }
        return tuple(
            token.text
            for at, token in enumerate(self._sentence.tokens)
            if at not in named | units
            and token.key not in ORDER_WORDS
            and stem(_PLAINER.get(token.key, token.key)) not in self._command.words
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
        taught = self._command.arguments[name]
        scores = self._scores(name)
        general = {origin: 0.0 for origin in From}
        for source, score in scores.items():
            general[source.origin] += float(score)
        speaks: dict[Any, float] = {None: general[From.NOWHERE]}
        places: dict[Any, tuple[int, int]] = {}
        for value in self._cues(name):
            said = _SAID_PRIOR if self._command.spec.args[name].enum else 0.0
            speaks[value] = speaks.get(value, 0.0) + general[From.CUE] + general[From.NAME] + said
        for value in self._labels(name):
            speaks[value] = speaks.get(value, 0.0) + general[From.LABEL] * (value == self._labels(name)[0])
        if name in self._context:
            value = self._context[name]
            speaks[value] = speaks.get(value, 0.0) + general[From.CONTEXT] + self._prior(name)
        if general[From.TEXT] > 0 and (place := self._text(name)):
            text = self._sentence.words(*place)
            value = taught.values.get(keys_of(text), text)
            places[value] = place
            speaks[value] = speaks.get(value, 0.0) + general[From.TEXT]
        labels = self._labels(name)
        for source, score in scores.items():
            if source.origin is From.IMPLIED and (not labels or source.value in labels):
                speaks[source.value] = speaks.get(source.value, 0.0) + float(score)
            elif source.origin in {From.LABEL, From.CUE} and source.value in speaks:
                speaks[source.value] += float(score)
            elif source.origin in {From.LABEL, From.CUE} and not labels and not self._cues(name):
                speaks[source.value] = speaks.get(source.value, 0.0) + float(score)
        ranked = sorted(speaks.items(), key=lambda pair: -pair[1])
        value, score = ranked[0]
        self.weakest = min(self.weakest, score - (ranked[1][1] if len(ranked) > 1 else 0.0))
        if value is None:
            return
        self.arguments[name] = value
        if value in places:
            self._covered |= set(range(*places[value]))
        for mark in self._sentence.cues:
            if mark.kind == name and mark.values[0] == value:
                self._covered |= set(range(mark.first, mark.last))

    def _scores(self, name: str) -> dict[Source, float]:
        taught = self._command.arguments[name]
        scores = taught.ridge.scores(taught.alike(self._alike, self._command.name))
        return {source: float(score) for source, score in zip(taught.ridge.classes, scores, strict=True)}

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

        return max(mark.values, key=told)

    def _text(self, name: str) -> tuple[int, int] | None:
        """Return where the words stand that an argument takes as they are."""
        taught = self._command.arguments[name]
        keys = [token.key for token in self._sentence.tokens]
        for value in sorted(taught.values, key=len, reverse=True):
            for first in range(len(keys) - len(value) + 1):
                place = range(first, first + len(value))
                if (
                    value
                    and tuple(keys[first : first + len(value)]) == value
                    and not self._covered & set(place)
                ):
                    return first, first + len(value)
        best: tuple[float, tuple[int, int]] | None = None
        longest = max((last - first for first, last in taught.texts), default=0)
        longest += _LONGER if longest > 1 else 0
        alike = taught.alike(self._alike, self._command.name)
        for row, one in enumerate(taught.worked):
            if name not in one.texts:
                continue
            for place, matched in _aligned(one, one.texts[name], self._sentence):
                inner = self._trimmed(place)
                if inner and inner[1] - inner[0] <= longest:
                    score = float(alike[row]) + _BESIDE * matched
                    if best is None or score > best[0]:
                        best = (score, inner)
        return best[1] if best else None

    def _trimmed(self, place: tuple[int, int]) -> tuple[int, int] | None:
        """Return the longest part of a place that has no other meaning, without an article before it."""
        pieces, start = [], place[0]
        for at in range(place[0], place[1] + 1):
            if at == place[1] or at in self._covered:
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
                pairs.append((score + fits, name, index, mark))
        for score, name, index, mark in sorted(pairs, key=lambda pair: -pair[0]):
            if name not in self.arguments and index not in self._used and score > 0:
                self.arguments[name] = mark.values[0]
                self._used.add(index)
                self._covered |= set(range(mark.first, mark.last))


def _akin(one: str, other: str) -> bool:
    """Return whether two stems are of one family: 'connectivit' and 'connect'."""
    short = min(len(one), len(other))
    return one == other or (short >= 4 and one[:short] == other[:short])


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
