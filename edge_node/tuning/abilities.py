"""What can be done in invented worlds, read from the list beside it.

Knows that list; knows nothing of chance, of worlds or of models.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_node.tuning.phrases import word_lists

if TYPE_CHECKING:
    from collections.abc import Sequence

_ABILITIES = "abilities.yaml"


@dataclass(frozen=True, slots=True)
class Slot:
    """What one argument of an ability takes.

    Attributes:
        kind: device, int, num, one, text, bool, or flag: true where its words are said.
        of: Kind of device or of text; the choices of `one`; the wordings of a flag.
        low: Least number.
        high: Greatest number.
        unit: Unit of a number.
        optional: Whether it may be left out.
    """

    kind: str
    of: str = ""
    low: float = 0.0
    high: float = 0.0
    unit: str = ""
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Ability:
    """What can be done somewhere.

    Attributes:
        group: Those that belong together.
        names: How it may be called.
        does: How it may be described.
        slots: Its arguments.
        says: Patterns of orders.
    """

    group: str
    names: tuple[str, ...]
    does: tuple[str, ...]
    slots: dict[str, Slot]
    says: tuple[str, ...]


def abilities() -> tuple[Ability, ...]:
    """Return all abilities of the list."""
    return tuple(
        Ability(
            group,
            tuple(map(str, each["name"])),
            tuple(each["does"]),
            {name: slot_of(text) for name, text in each["slots"].items()},
            tuple(each["says"]),
        )
        for group, ones in word_lists(_ABILITIES).items()
        for each in ones
    )


def do_the_same(ability: Ability, others: Sequence[Ability]) -> bool:
    """Return whether one of some abilities takes the same kinds of things: an order may mean both."""
    wants = {(slot.kind, slot.of) for slot in ability.slots.values()}
    return any(
        set(ability.says) & set(other.says)
        or (
            wants == {(slot.kind, slot.of) for slot in other.slots.values()}
            and _verbs(ability) & _verbs(other)
        )
        for other in others
    )


def _verbs(ability: Ability) -> set[str]:
    return {word for name in ability.names for word in name.replace(".", "_").split("_")}


def slot_of(text: str) -> Slot:
    """Return what a line such as `int 0 100 percent maybe` says of an argument."""
    *parts, last = text.split()
    optional = last == "maybe"
    kind, *rest = parts if optional else [*parts, last]
    if kind in {"int", "num"}:
        return Slot(kind, low=float(rest[0]), high=float(rest[1]), unit=" ".join(rest[2:]), optional=optional)
    return Slot(kind, of=" ".join(rest), optional=optional)
