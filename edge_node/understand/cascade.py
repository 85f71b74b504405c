"""The cheap tiers of understanding: rules, sentence templates, nearest examples.

Knows node files, the devices of the twin and an embedding model; knows nothing of the language model
and of the gate. Each tier settles a request or hands it on; what none settles is left open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_node.messages import NothingDraft, Open, RequestKind, TaskDraft
from edge_node.understand.calls import call_text
from edge_node.understand.doubts import LONGEST_ORDER
from edge_node.understand.exemplary import ExampleOrders
from edge_node.understand.nearest import NearestExamples
from edge_node.understand.offers import Offers
from edge_node.understand.ordered import TemplateOrders, no_order
from edge_node.understand.rules import Rules
from edge_node.understand.several import SeveralOrders
from edge_node.understand.speech import is_question, is_statement, only_asks, reservation
from edge_node.understand.talk import Talk
from edge_node.understand.words import clean, is_readable, words_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_node.config.loaded import Node
    from edge_node.messages import CommandDraft, Proposal, Request
    from edge_node.protocols import Embedder, Twin
    from edge_node.understand.nearest import Example

# Below this cosine no example is near: chat and statements stay under it, paraphrased orders above.
_NEAR = 0.45
_NEAR_TOLD = 0.3
# Of 240 orders, 97 in 100 mean a command that is not further behind the nearest one.
_CLOSE = 0.12
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
            return self._by_inquiry(request, names) or Open(request.node, question=True)
        return self._by_nearest(request, names)

    def _settled(
        self, request: Request, names: tuple[str, ...]
    ) -> CommandDraft | TaskDraft | NothingDraft | None:
        if len(words_of(request.text)) > LONGEST_ORDER:
            return self._refusal(request, names) or no_order(request)
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

    def _by_inquiry(self, request: Request, names: tuple[str, ...]) -> Open | None:
        """Return the commands that a question may mean: those that only ask, where no manual answers."""
        unread = [name for name in names if not self._nodes[name].spec.knowledge]
        near = [
            (example, likeness)
            for example, likeness in (self._nearest.find(request.text, nodes=unread) if unread else ())
            if self._answers(example.node, example.command)
        ]
        if not near or near[0][1] < self._near_enough(near[0][0]):
            return None
        node = near[0][0].node
        return Open(node, question=False, commands=_closest(near, node=node))

    def _answers(self, node: str, name: str) -> bool:
        """Return whether a command asks by itself; where one has templates, these say how it is asked."""
        command = self._nodes[node].spec.commands[name]
        return (
            not command.examples
            and not self._wants_device(node, name)
            and only_asks(name, command.description)
        )

    def _near_enough(self, example: Example) -> float:
        """Return how near an example must be: a bare description is further from what people say."""
        return _NEAR if self._nodes[example.node].spec.commands[example.command].examples else _NEAR_TOLD

    def _by_nearest(self, request: Request, names: tuple[str, ...]) -> NothingDraft | Open:
        near = self._nearest.find(request.text, nodes=names)
        if not near or near[0][1] < self._near_enough(near[0][0]):
            return Open(request.node, question=True)
        node = near[0][0].node
        doubt = reservation(request.text)
        if doubt:
            reason = f"with {doubt!r} in it this is no plain order; say only what is to be done now"
            return NothingDraft(node, reason, code="ask_back")
        own = [example for example, _ in near if example.node == node]
        taught = self._examples.nearest(request, node=node, limit=_TAUGHT_SHOWN)
        named = [*(example.command for example in taught), *_closest(near, node=node)]
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


def _closest(near: Sequence[tuple[Example, float]], *, node: str) -> tuple[str, ...]:
    """Return the commands of a node that come close to the nearest one, best first."""
    own = [(example.command, likeness) for example, likeness in near if example.node == node]
    close = [command for command, likeness in own if likeness >= own[0][1] - _CLOSE]
    return tuple(dict.fromkeys(close))[:_COMMANDS_SHOWN]
