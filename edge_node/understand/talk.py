"""Orders that need more than their own words: what the same person ordered before, or how things are now.

Knows templates' orders, follow-ups and relative orders; knows nothing of embedding or language models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_node.messages import CommandDraft, NothingDraft
from edge_node.understand.doubts import LONGEST_ORDER
from edge_node.understand.following import FollowUps
from edge_node.understand.forms import DEVICE
from edge_node.understand.habits import plain
from edge_node.understand.ordered import asked_back
from edge_node.understand.recent import Recent
from edge_node.understand.relative import RelativeOrders
from edge_node.understand.speech import is_question, reservation, without_courtesy
from edge_node.understand.values import digits
from edge_node.understand.words import clean, words_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_node.config.loaded import Node
    from edge_node.messages import Request
    from edge_node.protocols import Twin
    from edge_node.understand.ordered import TemplateOrders
    from edge_node.understand.recent import Exchange

_MOST_SEARCHED = 500


class Talk:
    """What was ordered lately, and orders that rest on it or on how things are.

    Args:
        nodes: The nodes whose commands may be ordered.
        twin: Devices and their states.
        orders: Orders whose words a template accounts for.
    """

    def __init__(self, nodes: Sequence[Node], *, twin: Twin, orders: TemplateOrders) -> None:
        self._nodes = {node.name: node for node in nodes}
        self._twin = twin
        self._orders = orders
        self._follow_ups = FollowUps(self._nodes)
        self._relative = RelativeOrders(nodes, twin=twin)
        self._recent = Recent()

    def draft(self, request: Request, *, nodes: Sequence[str]) -> CommandDraft | NothingDraft | None:
        """Return what rests on the last order or on how things are, what to ask back, or None."""
        text = clean(request.text)
        if len(words_of(text)) > LONGEST_ORDER or is_question(without_courtesy(text)) or reservation(text):
            return None
        last = self._recent.last(request)
        if last is not None and last.draft.node not in nodes:
            last = None
        repeated = self._follow_ups.repeated(text, last=last, phrases=self._orders.phrases(nodes))
        return asked_back(request, repeated or self._named(request, plain(text), last, nodes))

    def remember(
        self, request: Request, settled: CommandDraft | NothingDraft | None, *, nodes: Sequence[str]
    ) -> None:
        """Keep what was ordered for what is said next, and forget it where another device is spoken of."""
        if isinstance(settled, CommandDraft):
            args = self._nodes[settled.node].spec.commands[settled.name].args
            given = (settled.arguments.get(name) for name, argument in args.items() if argument.device)
            self._recent.keep(request, settled, tuple(device for device in given if isinstance(device, str)))
            return
        last = self._recent.last(request)
        if last is not None and last.draft.node in nodes and len(request.text) <= _MOST_SEARCHED:
            names = self._orders.phrases((last.draft.node,))[last.draft.node]
            found = [phrase for phrase in names.find(digits(request.text)) if phrase.kind == DEVICE]
            if {device for phrase in found for device in phrase.values} - set(last.devices):
                self._recent.forget(request)

    def _named(
        self, request: Request, text: str, last: Exchange | None, nodes: Sequence[str]
    ) -> CommandDraft | NothingDraft | None:
        """Return the order of a text in which 'it' or 'the other one' stands for a device."""
        phrases = self._orders.phrases(nodes)
        named = self._follow_ups.named(text, last=last, phrases=phrases)
        if isinstance(named, NothingDraft):
            return named if self._is_order(text, nodes) else None
        settled = self._orders.draft(request, named, nodes=nodes) if named else None
        about = (last.draft.node, last.devices[0]) if last and len(last.devices) == 1 else ("", "")
        settled = settled or self._relative.draft(named or text, phrases=phrases, last=about)
        if settled is None and last is None and self._is_order(text, nodes):
            return NothingDraft(request.node, "which device do you mean? say its name", code="ask_back")
        return settled

    def _is_order(self, text: str, nodes: Sequence[str]) -> bool:
        """Return whether a text would be an order if 'it' or 'the other one' were a device."""
        for name in nodes:
            devices = self._twin.devices(name)
            said = self._follow_ups.with_any(text, devices[0]) if devices else text
            if said != text and self._orders.fits(said, node=name):
                return True
        return False
