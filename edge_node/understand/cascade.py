"""The cheap tiers of understanding: rules, sentence templates, nearest examples.

Knows node files, the devices of the twin and an embedding model; knows nothing of the language model
and of the gate. Each tier settles a request or hands it on; what none settles is left open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_node.messages import NothingDraft, Open, RequestKind, TaskDraft
from edge_node.understand.calls import call_text
from edge_node.understand.exemplary import ExampleOrders
from edge_node.understand.nearest import NearestExamples
from edge_node.understand.offers import Offers
from edge_node.understand.ordered import TemplateOrders, no_order
from edge_node.understand.rules import Rules
from edge_node.understand.several import SeveralOrders
from edge_node.understand.speech import is_question, is_statement, reservation
from edge_node.understand.talk import Talk
from edge_node.understand.words import clean, is_readable, words_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_node.config.loaded import Node
    from edge_node.messages import CommandDraft, Proposal, Request
    from edge_node.protocols import Embedder, Twin

# Below this cosine no example is near: chat and statements stay under it, paraphrased orders above.
_NEAR = 0.45
_COMMANDS_SHOWN = 3
_EXAMPLES_SHOWN = 4
_TAUGHT_SHOWN = 3


class Cascade:
    """What is understood without the language model.

    Args:
        nodes: All nodes of this edge.
        twin: Devices and their states.
        embedder: Sentences to vectors.

    Raises:
        ConfigurationInvalid: A sentence template cannot be parsed.
    """

    def __init__(self, nodes: Sequence[Node], *, twin: Twin, embedder: Embedder) -> None:
        asked = [node for node in nodes if node.spec.ask]
        self._nodes = {node.name: node for node in nodes}
        self._asked = tuple(node.name for node in asked)
        self._twin = twin
        self._rules = Rules(nodes, twin=twin)
        self._orders = TemplateOrders(asked, twin=twin)
        self._talk = Talk(asked, twin=twin, orders=self._orders)
        self._offers = Offers()
        self._nearest = NearestExamples(asked, embedder=embedder)
        self._examples = ExampleOrders(asked, twin=twin, embedder=embedder)
        self._examples.prepare()
        self._several = SeveralOrders(nodes, twin=twin, orders=self._orders, examples=self._examples)

    def prepare(self) -> None:
        """Reckon now what the first order would else wait for."""
        self._nearest.prepare()

    def draft(self, request: Request) -> Proposal | Open:
        """Return a draft, or what is still open for the model."""
        if request.kind is RequestKind.ALARM:
            return self._rules.draft(request)
        if request.kind is RequestKind.ALERT:
            return NothingDraft(request.node, "an alert only tells", code="alert")
        names = (request.node,) if request.node else self._asked
        settled = self._settled(request, names)
        if not isinstance(settled, TaskDraft):
            self._offers.keep(request, settled)
            self._talk.remember(request, settled, nodes=names)
        if settled is not None:
            return settled
        telling = is_statement(request.text) or self._orders.is_report(request, nodes=names)
        if is_question(request.text) or telling:
            return Open(request.node, question=True)
        return self._by_nearest(request, names)

    def _settled(
        self, request: Request, names: tuple[str, ...]
    ) -> CommandDraft | TaskDraft | NothingDraft | None:
        said = clean(request.text)
        return (
            self._refusal(request, names)
            or self._offers.chosen(request)
            or self._orders.draft(request, said, nodes=names)
            or self._several.draft(request, nodes=names)
            or self._talk.draft(request, nodes=names)
            or self._orders.draft(request, said, nodes=names, able=False)
            or self._orders.doubt(request, nodes=names)
            or self._examples.draft(request, nodes=names)
            or no_order(request)
        )

    def _refusal(self, request: Request, names: tuple[str, ...]) -> NothingDraft | None:
        if not names:
            return NothingDraft("", "no node here takes questions or orders")
        if request.node and request.node not in self._nodes:
            return NothingDraft(
                request.node, f"there is no node {request.node}; there are {', '.join(self._asked)}"
            )
        if request.node and request.node not in self._asked:
            return NothingDraft(request.node, f"{request.node} takes no questions and no orders")
        if not words_of(request.text) or not is_readable(request.text):
            return NothingDraft(request.node, "nothing was said in words", code="not_understood")
        return None

    def _wants_device(self, node: str, command: str) -> bool:
        arguments = self._nodes[node].spec.commands[command].args.values()
        return any(argument.device for argument in arguments)

    def _by_nearest(self, request: Request, names: tuple[str, ...]) -> NothingDraft | Open:
        near = self._nearest.find(request.text, nodes=names)
        if not near or near[0][1] < _NEAR:
            return Open(request.node, question=True)
        node = near[0][0].node
        doubt = reservation(request.text)
        if doubt:
            reason = f"with {doubt!r} in it this is no plain order; say only what is to be done now"
            return NothingDraft(node, reason, code="ask_back")
        own = [example for example, _ in near if example.node == node]
        taught = self._examples.nearest(request, node=node, limit=_TAUGHT_SHOWN)
        named = [*(example.command for example in taught), *(example.command for example in own)]
        commands = tuple(dict.fromkeys(filter(None, named)))[:_COMMANDS_SHOWN]
        device = next(iter(self._twin.devices(node)), "")
        if not device and all(self._wants_device(node, command) for command in commands):
            reason = f"{node} has not heard from any device yet; say it again once one has reported"
            return NothingDraft(node, reason, code="no_device")
        shown = [example for example in own if example.arguments and example.command in commands]
        return Open(
            node,
            question=False,
            commands=commands,
            examples=tuple(
                [
                    *(
                        (example.utterance, call_text(example.command, example.arguments))
                        for example in taught
                    ),
                    *(example.with_device(device) for example in shown),
                ][:_EXAMPLES_SHOWN]
            ),
        )
