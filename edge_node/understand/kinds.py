"""What devices are called when all of a kind are meant; knows node files and names, pure functions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edge_node.topics import TopicPattern

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edge_node.config.loaded import Node

_WORD = re.compile(r"[^\W\d_]+")


def kinds_of(
    nodes: Sequence[Node], *, devices: Callable[[str], tuple[str, ...]]
) -> Mapping[str, tuple[str, ...]]:
    """Return noun in the singular to the devices that it names.

    A noun is what a node's topics call its devices, as `pump` in `plant/{pump}/telemetry`, or a word that
    stands in the devices' own names, as in `hall_lamp` and `cellar_lamp`.
    """
    kinds: dict[str, dict[str, None]] = {}
    for node in nodes:
        known = devices(node.name)
        for listen in node.spec.listen:
            for noun in TopicPattern.parse(listen.topic).names[:1]:
                kinds.setdefault(noun.casefold(), {}).update(dict.fromkeys(known))
        for device in known:
            for word in _WORD.findall(device.casefold()):
                kinds.setdefault(word, {})[device] = None
    return {noun: tuple(found) for noun, found in kinds.items() if found}
