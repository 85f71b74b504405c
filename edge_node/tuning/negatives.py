"""Sentences that order nothing at one node: chat, questions, talk about its devices, orders for others.

Knows the node's commands and devices and the lists of words; knows nothing of models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_node.tuning.phrases import drawn, filled, noisy, word_lists
from edge_node.tuning.worlds import worlds
from edge_node.understand.words import content_stems

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Sequence

    from edge_node.config.loaded import Node, SpokenExample
    from edge_node.understand.templates import Templates

_WORLDS = 40
_TRIES = 12


class Negatives:
    """What means no command of a node.

    Args:
        node: The node, with its devices in its file.
        chance: Where chance comes from.
        templates: Its templates; what one of them reads is an order.
    """

    def __init__(self, node: Node, chance: random.Random, *, templates: Templates) -> None:
        self._node = node
        self._chance = chance
        self._templates = templates
        self._devices = tuple(node.spec.devices)
        texts = [f"{name} {command.description}" for name, command in node.spec.commands.items()]
        self._own = content_stems(" ".join(texts).replace("_", " "))
        self._foreign = [
            case.utterance
            for world in worlds(_WORLDS, seed=chance.randrange(2**31))
            for case in world.cases
            if case.command
        ]

    def sentences(self, count: int, *, orders: Sequence[SpokenExample]) -> Iterator[str]:
        """Yield at most so many different sentences.

        Args:
            count: How many.
            orders: Orders of the node, to be told of rather than given.
        """
        seen: set[str] = set()
        for _ in range(count * _TRIES):
            if len(seen) >= count:
                return
            text = self._sentence(orders)
            if text and text not in seen and not self._is_order(text):
                seen.add(text)
                yield text

    def _sentence(self, orders: Sequence[SpokenExample]) -> str:
        words = word_lists("words.yaml")
        draw = self._chance.randrange(4)
        if draw == 0:
            text = drawn(self._chance.choice(words["chat"]), self._chance)
        elif draw == 1 and self._devices:
            thing = self._chance.choice(self._devices).replace("-", " ").replace("_", " ")
            text = filled(drawn(self._chance.choice(words["about"]), self._chance), {"thing": thing})
        elif draw == 2 and orders:  # noqa: PLR2004 - one of four kinds
            told = self._chance.choice(orders).utterance.rstrip(".!?")
            text = drawn(self._chance.choice(words["told"]), self._chance).replace("...", told)
        else:
            text = self._chance.choice(self._foreign)
            # What shares a word with a command may well be meant for it.
            return "" if content_stems(text) & self._own else text
        return noisy(text, self._chance, strength=0.4)

    def _is_order(self, text: str) -> bool:
        return bool(self._templates.matches(text, devices={self._node.name: self._devices}))
