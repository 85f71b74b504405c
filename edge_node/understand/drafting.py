"""What the language model proposes: a command, or quotations.

Knows the model, node files and the twin; knows nothing of the gate and sends nothing. A command that the
model writes is traced back to what was said before it counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_node.errors import ContextExceeded
from edge_node.messages import CommandDraft, NothingDraft, Origin, RequestKind
from edge_node.understand.answering import Answering
from edge_node.understand.calls import NONE, call_grammar, fits, read_call
from edge_node.understand.grounding import doubt, ground_of
from edge_node.understand.phrases import Phrases
from edge_node.understand.prompts import MOST_DEVICES, MOST_FIELDS, command_turns
from edge_node.understand.record import record_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edge_node.config.loaded import Node
    from edge_node.messages import Draft, Generation, Grammar, Open, Passage, Request, Turn
    from edge_node.protocols import Attention, Embedder, LanguageModel, Twin
    from edge_node.understand.grounding import Ground

_MOST_TOKENS = 128


@dataclass(frozen=True, slots=True)
class Laid:
    """What is put before the model for one request.

    Attributes:
        node: The node whose commands come into question.
        names: Names of those commands.
        ground: What was said to stand on.
        turns: The prompt.
        grammar: What the answer must be a sentence of.
        left_out: How much of what did not fit the context.
    """

    node: Node
    names: tuple[str, ...]
    ground: Ground
    turns: tuple[Turn, ...]
    grammar: Grammar
    left_out: Mapping[str, int]


class ModelDrafting:
    """The language model, asked for a command or for quotations.

    Args:
        nodes: All nodes of this edge.
        twin: Devices and their states.
        embedder: Sentences to vectors, for the evidence of an answer.
        model: The language model.
        adapted: The language model for commands of nodes that have an adapter, by the nodes' names.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        *,
        twin: Twin,
        embedder: Embedder,
        model: LanguageModel,
        adapted: Mapping[str, LanguageModel] | None = None,
    ) -> None:
        self._nodes = {node.name: node for node in nodes}
        self._twin = twin
        self._model = model
        self._adapted = dict(adapted or {})
        self._phrases: dict[str, Phrases] = {}
        self._answering = Answering(embedder=embedder, model=model)

    def draft(
        self,
        request: Request,
        matter: Open,
        passages: Sequence[Passage],
        *,
        attention: Attention | None = None,
    ) -> tuple[Draft, Mapping[str, object]]:
        """Return a draft and what the model read and wrote; raises as `Drafting.draft` does."""
        if matter.question:
            return self._answering.draft(request, matter, passages, attention=attention)
        laid = self.lay(request, matter)
        if laid is None:
            return NothingDraft(matter.node, "no command comes into question"), {}
        model = self._adapted.get(matter.node, self._model)
        check = attention.check if attention else None
        generation = model.generate(laid.turns, grammar=laid.grammar, max_tokens=_MOST_TOKENS, check=check)
        record = record_of(laid.turns, generation) | ({"left_out": laid.left_out} if laid.left_out else {})
        return self._read(generation, laid), record

    def lay(self, request: Request, matter: Open) -> Laid | None:
        """Return what is put before the model for a command, or None where no command comes into question.

        Training goes through here too, so that a model learns to answer the very prompts it will get.

        Raises:
            ContextExceeded: Not even one device fits.
        """
        node = self._nodes.get(matter.node)
        names = [name for name in matter.commands if node is not None and name in node.spec.commands]
        if node is None or not names:
            return None
        ground = self._ground(request, node)
        # Only a device that was named can be meant; where none was, all are shown, and the answer asks back.
        devices = sorted(ground.named) or list(ground.devices)
        turns, left_out = self._prompt(
            request, matter, node=node, devices=devices, named=sorted(ground.named)
        )
        commands = {name: node.spec.commands[name] for name in names}
        # An alarm names the values of its device, which need not be words that stand together.
        text = "" if ground.kind is RequestKind.ALARM else ground.text
        grammar = call_grammar(commands, devices=devices, numbers=ground.numbers, text=text)
        return Laid(node, tuple(names), ground, tuple(turns), grammar, left_out)

    def _prompt(
        self, request: Request, matter: Open, *, node: Node, devices: Sequence[str], named: Sequence[str]
    ) -> tuple[list[Turn], dict[str, int]]:
        """Return the prompt with what fits the model's context, and how much of what it leaves out.

        Examples are given up first, the nearest last, then devices that nobody named.

        Raises:
            ContextExceeded: Not even one device fits.
        """
        states = {name: state for name in named if (state := self._twin.state(node.name, name))}
        shown = devices if named else devices[:MOST_DEVICES]
        tokens, room = 0, self._model.context - _MOST_TOKENS
        for examples, count in _portions(len(matter.examples), len(shown), fewest=len(named) or 1):
            turns = command_turns(
                request,
                node=node,
                examples=matter.examples[:examples],
                devices=shown[:count],
                states=states,
                unnamed=len(devices) - count,
            )
            tokens = self._model.count(turns)
            if tokens <= room:
                left_out = {
                    "examples": len(matter.examples) - examples,
                    "devices": len(devices) - count,
                    "fields": sum(max(0, len(state.fields) - MOST_FIELDS) for state in states.values()),
                }
                return turns, {what: number for what, number in left_out.items() if number}
        raise ContextExceeded(tokens=tokens, limit=max(0, room))

    def _ground(self, request: Request, node: Node) -> Ground:
        state = self._twin.state(node.name, request.device) if request.device else None
        fields = state.fields if state is not None else {}
        devices = self._twin.devices(node.name)
        phrases = self._phrases.get(node.name)
        if phrases is None or phrases.devices != devices:
            phrases = self._phrases[node.name] = Phrases(node, devices=devices)
        return ground_of(request, devices=devices, fields=fields, phrases=phrases)

    def _read(self, generation: Generation, laid: Laid) -> Draft:
        node, names, ground = laid.node, laid.names, laid.ground
        call = read_call(generation.text) if generation.complete else None
        if call is None or (call[0] != NONE and call[0] not in names):
            return NothingDraft(
                node.name, "the model's answer is no call of a command", code="not_understood"
            )
        name, arguments = call
        if name == NONE:
            return NothingDraft(node.name, "no command fits what was said")
        command = node.spec.commands[name]
        if not fits(arguments, command):
            reason = f"the model's arguments are none of {name}"
            return NothingDraft(node.name, reason, code="not_understood")
        question = doubt(ground, name=name, command=command, arguments=arguments)
        if question:
            code = "none_fits" if ground.kind is RequestKind.ALARM else "ask_back"
            return NothingDraft(node.name, question, code=code)
        defaults = {
            key: argument.default for key, argument in command.args.items() if argument.default is not None
        }
        confidence = min(1.0, math.exp(generation.log_probability))
        return CommandDraft(node.name, name, {**defaults, **arguments}, Origin.MODEL, confidence)


def _portions(examples: int, devices: int, *, fewest: int) -> Iterator[tuple[int, int]]:
    """Yield how many examples and devices to show, more first; the devices are halved down to the fewest."""
    yield from ((shown, devices) for shown in range(examples, -1, -1))
    while devices > fewest:
        devices = max(fewest, devices // 2)
        yield 0, devices
