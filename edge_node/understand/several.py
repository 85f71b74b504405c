"""Sentences that lead to several commands, where each of them is understood without a language model.

Knows the tiers that are sure of an order, and whom a phrase means: all of a kind, perhaps those of a place.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from edge_node.messages import CommandDraft
from edge_node.understand.compound import CompoundOrders, Group, Mention, plural_groups
from edge_node.understand.contradiction import contradiction
from edge_node.understand.forms import DEVICE
from edge_node.understand.kinds import kinds_of
from edge_node.understand.speech import is_question
from edge_node.understand.words import clean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_node.config.loaded import Node
    from edge_node.messages import NothingDraft, Request, TaskDraft
    from edge_node.protocols import Twin
    from edge_node.understand.exemplary import ExampleOrders
    from edge_node.understand.ordered import TemplateOrders
    from edge_node.understand.phrases import Phrases

_BOTH = 2


class SeveralOrders:
    """Orders of several things in one sentence.

    Args:
        nodes: All nodes of this edge.
        twin: Devices and their states.
        orders: What templates account for.
        examples: What examples that the owner gave account for.
    """

    def __init__(
        self, nodes: Sequence[Node], *, twin: Twin, orders: TemplateOrders, examples: ExampleOrders
    ) -> None:
        self._nodes = {node.name: node for node in nodes}
        self._twin = twin
        self._orders = orders
        self._examples = examples

    def draft(
        self, request: Request, *, nodes: Sequence[str]
    ) -> CommandDraft | TaskDraft | NothingDraft | None:
        """Return the commands of a sentence, what to ask back, or None where it holds not several orders."""
        commands = {
            (node, name): spec for node in nodes for name, spec in self._nodes[node].spec.commands.items()
        }
        kinds = kinds_of([self._nodes[name] for name in nodes], devices=self._twin.devices)
        phrases = self._orders.phrases(nodes)
        compound = CompoundOrders(
            mentions=partial(_mentions, phrases=tuple(phrases.values())),
            groups=partial(_groups, kinds=kinds, phrases=tuple(phrases.values())),
            conflict=partial(contradiction, commands=commands),
        )
        return compound.draft(request.text, sure=partial(self._sure, request=request, nodes=nodes))

    def _sure(self, text: str, *, request: Request, nodes: Sequence[str]) -> CommandDraft | None:
        part = replace(request, text=text)
        found = self._orders.draft(part, clean(text), nodes=nodes)
        if found is None and not is_question(text):
            found = self._examples.draft(part, nodes=nodes)
        return found if isinstance(found, CommandDraft) else None


def _mentions(text: str, *, phrases: Sequence[Phrases]) -> list[Mention]:
    """Return the devices that a text names one by one; of a name that may mean several, where it stands."""
    places: dict[tuple[int, int], str] = {}
    for phrase in (phrase for each in phrases for phrase in each.find(text)):
        if phrase.kind == DEVICE and phrase.values:
            device = phrase.values[0] if len(phrase.values) == 1 else ""
            places.setdefault((phrase.start, phrase.end), device)
    return [(device, start, end) for (start, end), device in sorted(places.items())]


def _groups(
    text: str, *, kinds: Mapping[str, tuple[str, ...]], phrases: Sequence[Phrases]
) -> Sequence[Group]:
    """Return where a text means several devices: all of a kind, or those of it that are in a place."""
    groups = plural_groups(text, kinds=kinds)
    for phrase in (phrase for each in phrases for phrase in each.groups(text)):
        first = text[phrase.start : phrase.end].split(maxsplit=1)[0].casefold()
        beside = [group for group in groups if group.start < phrase.end and phrase.start < group.end]
        longer = all(phrase.end - phrase.start > group.end - group.start for group in beside)
        # "Any" leaves the choice to who carries it out: that is not all of them.
        if first == "any" or not longer:
            continue
        doubt = ""
        if first == "both" and len(phrase.values) != _BOTH:
            said, named = text[phrase.start : phrase.end], ", ".join(phrase.values)
            doubt = f"which do you mean by {said!r}? there is {named}"
        groups = [group for group in groups if group not in beside]
        groups.append(Group(phrase.start, phrase.end, phrase.values, doubt))
    return sorted(groups, key=lambda group: group.start)
