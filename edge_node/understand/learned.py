"""Orders understood by the examples of a node: which command, and where each argument comes from.

Knows examples, what sentences name, and an embedding model; knows nothing of templates, of the twin or of
the language model.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_node.understand.filling import Filling
from edge_node.understand.framing import work_out
from edge_node.understand.likeness import Likeness, Ridge
from edge_node.understand.speech import is_question
from edge_node.understand.taught import Argument, Command, masked, spaced
from edge_node.understand.vocabulary import DEVICE, NUMBER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_node.config.loaded import Node, SpokenExample
    from edge_node.config.models import CommandConfig
    from edge_node.protocols import Embedder
    from edge_node.understand.framing import Worked
    from edge_node.understand.vocabulary import Mark, Sentence, Vocabulary

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
        ambiguous: Whether a name may mean several devices, and nothing said tells which.
        weakest: The least certain decision on an argument, about 0 to 1.
        runner_up: The command that is spoken for next; empty where that is none.
        runner_up_arguments: Its arguments.
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
    ambiguous: bool = False
    runner_up: str = ""
    runner_up_arguments: Mapping[str, Any] = field(default_factory=dict)
    confidence: float = 0.0


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
            for text in (spec.description, spaced(name))
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
        self._commands = self._taught(commands)

    def _taught(self, commands: Mapping[str, CommandConfig]) -> dict[str, Command]:
        """Return what the examples teach of each command that has some."""
        ordering = [(row, one) for row, one in enumerate(self.worked) if one.example.command]
        having: dict[str, list[tuple[int, Worked]]] = {}
        earlier: dict[str, dict[str, None]] = {}
        for row, one in ordering:
            for key in commands[one.example.command].args:
                having.setdefault(key, []).append((row, one))
        for command in commands.values():
            for place, key in enumerate(command.args):
                earlier.setdefault(key, {}).update(dict.fromkeys(list(command.args)[:place]))
        arguments = {
            key: Argument(key, rows, self._likeness.among, before=tuple(earlier[key]))
            for key, rows in having.items()
        }
        taught = {}
        for name in dict.fromkeys(one.example.command for _, one in ordering):
            own = [(row, one) for row, one in ordering if one.example.command == name]
            rows = np.array([row for row, _ in own], dtype=np.intp)
            worked = [one for _, one in own]
            taught[name] = Command(name, commands[name], rows=rows, worked=worked, arguments=arguments)
        return taught

    def guess(self, text: str, *, context: Mapping[str, str]) -> Guess:
        """Return what a sentence seems to order."""
        sentence = self._vocabulary.read(text)
        alike = self._likeness.to(
            self._embedder.embed([self._plain(sentence)])[0], self._terms(sentence, context)
        )
        scores = self._ridge.scores(alike)
        asks = is_question(text)
        tried: list[tuple[float, str, Filling | None]] = []
        for at in np.argsort(-scores, kind="stable")[:_TRIED]:
            name, score = str(self._ridge.classes[at]), float(scores[at])
            if name:
                command = self._commands[name]
                filling = Filling(command, sentence, alike, context, self._vocabulary)
                like = command.asking if asks else 1 - command.asking
                score += _MANNER * (min(like, 0.5) - 0.5) - _LEFT_OVER * len(filling.left())
                tried.append((score, name, filling))
            else:
                tried.append((score - _NONE_NEEDS, name, None))
        tried.sort(key=lambda one: -one[0])
        score, best, filled = tried[0]
        margin, runner_up = (score - tried[1][0], tried[1][1]) if len(tried) > 1 else (score, "")
        if filled is None:
            return Guess("", score=score, margin=margin, runner_up=runner_up)
        return Guess(
            best,
            filled.arguments,
            score=score,
            margin=margin,
            alike=float(alike[self._commands[best].rows].max()),
            unknown=filled.unknown(),
            confidence=self._confidence(score),
            left=filled.left(),
            weakest=filled.weakest,
            ambiguous=filled.ambiguous,
            runner_up=runner_up,
            runner_up_arguments=tried[1][2].arguments if len(tried) > 1 and tried[1][2] else {},
        )

    def nearest(
        self, text: str, *, context: Mapping[str, str], limit: int
    ) -> list[tuple[SpokenExample, float]]:
        """Return the examples that are most alike a sentence, with how alike they are, 0 to 1, best first."""
        sentence = self._vocabulary.read(text)
        meaning = self._embedder.embed([self._plain(sentence)])[0]
        alike = self._likeness.to(meaning, self._terms(sentence, context))[: len(self.worked)]
        order = np.argsort(-alike, kind="stable")[:limit]
        return [(self.worked[row].example, float(alike[row])) for row in order]

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
