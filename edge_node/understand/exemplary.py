"""The tier of examples: what the sentences that a node was given say that an order means.

Knows nodes with examples and the names of devices now; decides when examples are sure enough to act on.
Knows nothing of the language model and of the gate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edge_node.messages import CommandDraft, NothingDraft, Origin
from edge_node.understand.asking import ask_for_argument, call_in_words
from edge_node.understand.chatter import CHATTER
from edge_node.understand.learned import LearnedOrders
from edge_node.understand.offers import which_of
from edge_node.understand.speech import reservation
from edge_node.understand.vocabulary import Vocabulary
from edge_node.understand.words import words_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edge_node.config.loaded import Node, SpokenExample
    from edge_node.messages import Request
    from edge_node.protocols import Embedder, Twin
    from edge_node.understand.learned import Guess

# Chosen so that of 1200 sentences of public sets that want nothing, 4 get a command: a wrong deed costs more
# than a question. A word that no example explains asks for more likeness. Two commands that are nearly as
# well spoken for are in doubt, however well each is.
_SURE_SCORE = 0.15
_SURE_MARGIN = 0.015
_SURE_CONFIDENCE = 0.5
_ALIKE = 0.12
_SURE_SCORE_BUT_A_WORD = 0.4
_ALIKE_BUT_A_WORD = 0.42
# Under this it is not even worth a question.
_ASK_SCORE = 0.45
_MOST_WORDS = 60
# Less alike examples would only lead a small model astray.
_WORTH_SHOWING = 0.25


class ExampleOrders:
    """The examples of some nodes, learned again whenever a node's devices have changed.

    Args:
        nodes: The nodes; those without examples have no part in it.
        twin: The devices.
        embedder: Sentences to vectors.
    """

    def __init__(self, nodes: Sequence[Node], *, twin: Twin, embedder: Embedder) -> None:
        self._nodes = {node.name: node for node in nodes if node.examples}
        self._twin = twin
        self._embedder = _Remembering(embedder)
        self._learned: dict[str, tuple[tuple[str, ...], LearnedOrders]] = {}

    def prepare(self) -> None:
        """Learn now what the first order would else wait for."""
        for name in self._nodes:
            self._of(name)

    def draft(self, request: Request, *, nodes: Sequence[str]) -> CommandDraft | NothingDraft | None:
        """Return the command that the examples are sure of, what to ask back, or None where they are not."""
        if not 0 < len(words_of(request.text)) <= _MOST_WORDS:
            return None
        guesses = [
            (name, self._of(name).guess(request.text, context=request.context))
            for name in nodes
            if name in self._nodes
        ]
        if not guesses:
            return None
        name, guess = max(guesses, key=lambda pair: pair[1].score)
        if not guess.command or reservation(request.text):
            return None
        return self._settled(name, guess)

    def nearest(self, request: Request, *, node: str, limit: int) -> list[SpokenExample]:
        """Return the node's own examples that are most alike what was said, best first, without far ones."""
        if node not in self._nodes or not 0 < len(words_of(request.text)) <= _MOST_WORDS:
            return []
        near = self._of(node).nearest(request.text, context=request.context, limit=limit)
        return [example for example, alike in near if alike >= _WORTH_SHOWING]

    def _settled(self, node: str, guess: Guess) -> CommandDraft | NothingDraft | None:
        command = self._nodes[node].spec.commands[guess.command]
        arguments: dict[str, Any] = {}
        sure = is_sure(guess)
        for name, argument in command.args.items():
            value = guess.arguments.get(name, argument.default)
            if value is not None:
                arguments[name] = value
            elif not argument.optional and sure:
                question = ask_for_argument(name, argument, devices=self._twin.devices(node))
                return NothingDraft(node, question, code="ask_back")
            elif not argument.optional:
                return None
        if sure:
            return CommandDraft(node, guess.command, arguments, Origin.NEAREST, guess.confidence)
        if guess.left and not guess.unknown and guess.score >= _ASK_SCORE:
            question = f"what about {', '.join(guess.left)}? did you mean "
            return NothingDraft(
                node, f"{question}{call_in_words(guess.command, arguments)}?", code="ask_back"
            )
        return self._either(node, guess)

    def _either(self, node: str, guess: Guess) -> NothingDraft | None:
        """Return the question which of two commands is meant that are nearly as well spoken for."""
        close = guess.margin < _SURE_MARGIN and guess.score >= _SURE_SCORE_BUT_A_WORD
        if not close or not guess.runner_up or guess.left or guess.unknown or guess.ambiguous:
            return None
        drafts = []
        for name, given in ((guess.command, guess.arguments), (guess.runner_up, guess.runner_up_arguments)):
            args = self._nodes[node].spec.commands[name].args
            arguments = {key: given.get(key, argument.default) for key, argument in args.items()}
            whole = {key: value for key, value in arguments.items() if value is not None}
            if any(key not in whole and not argument.optional for key, argument in args.items()):
                return None
            drafts.append(CommandDraft(node, name, whole, Origin.NEAREST, guess.confidence))
        return which_of(drafts)

    def _of(self, name: str) -> LearnedOrders:
        devices = self._twin.devices(name)
        known = self._learned.get(name)
        if known is None or known[0] != devices:
            node = self._nodes[name]
            vocabulary = Vocabulary(node, devices=devices)
            learned = LearnedOrders(node, vocabulary=vocabulary, embedder=self._embedder, others=CHATTER)
            known = self._learned[name] = (devices, learned)
        return known[1]


def is_sure(guess: Guess) -> bool:
    """Return whether a command may be proposed without a question."""
    if guess.left or guess.ambiguous or guess.score < _SURE_SCORE or guess.margin < _SURE_MARGIN:
        return False
    if guess.confidence < _SURE_CONFIDENCE or len(guess.unknown) > 1:
        return False
    if guess.unknown:
        return guess.score >= _SURE_SCORE_BUT_A_WORD and guess.alike >= _ALIKE_BUT_A_WORD
    return guess.alike >= _ALIKE


class _Remembering:
    """An embedder that keeps the vectors of examples, so that a new device costs no model run."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._kept: Mapping[str, NDArray[np.float32]] = {}

    @property
    def name(self) -> str:
        """Name of the embedder behind it."""
        return self._embedder.name

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return unit vectors, shape (len(texts), dimension), float32."""
        if len(texts) == 1:
            return self._embedder.embed(texts)
        missing = [text for text in dict.fromkeys(texts) if text not in self._kept]
        fresh = dict(zip(missing, self._embedder.embed(missing), strict=True)) if missing else {}
        known = {**self._kept, **fresh}
        self._kept = {text: known[text] for text in texts}
        return np.stack([known[text] for text in texts])
