"""Invented worlds with devices and commands, and what people say in them: what the default adapter learns on.

Knows the lists of abilities and words beside it and chance with a seed; knows nothing of models. The same
seed gives the same worlds.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_node.config.loaded import Node, SpokenExample
from edge_node.config.models import ArgumentConfig, CommandConfig, DeviceConfig, NodeConfig, PublishConfig
from edge_node.tuning.abilities import abilities, do_the_same, slot_of
from edge_node.tuning.phrases import drawn, filled, noisy, set_about, slots_of, word_lists

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edge_node.tuning.abilities import Ability, Slot

_WORDS = "words.yaml"
_SIZES = (1, 1, 1, 1, 2, 2, 2, 3, 3, 4, 4, 5, 5, 6, 7, 8, 9, 9, 12, 18)
"""Commands that a world may have; sizes that stand here twice come twice as often."""
_ONE_GROUP = 9
_MOST_DEVICES = 8
_ORDERS = 0.56
_SIBLINGS = 0.5
_SHOWN = 0.3
_REPORTING = 0.3
_UNSAID = (0, 0, 0, 1, 1, 2, 3)
"""Arguments of a command that nobody speaks of."""
_INVENTED = 0.35
_UNSAID_SLOTS = ("text topic maybe", "one low|medium|high maybe", "int 1 100 maybe", "bool maybe")
_STYLES = ("plain", "plain", "dotted", "camel", "prefixed", "upper")


@dataclass(frozen=True, slots=True)
class World:
    """A node that nobody has, and what is said to it.

    Attributes:
        node: The node; its devices stand in its file.
        cases: Sentences, each with the command that is right or none.
        shown: Further orders that stand in the prompt as examples.
        states: Device to what it reports.
    """

    node: Node
    cases: tuple[SpokenExample, ...]
    shown: tuple[SpokenExample, ...]
    states: dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class _Offered:
    """An ability as a world has it: its command, and how its slots are called there."""

    ability: Ability
    command: str
    keys: dict[str, str]


def worlds(count: int, *, seed: int, cases: int = 8) -> Iterator[World]:
    """Yield invented worlds.

    Args:
        count: How many.
        seed: What all chance starts from.
        cases: Sentences in each.
    """
    known = abilities()
    for index in range(count):
        # A generator of its own for each world: more worlds leave the first ones as they were.
        yield _Making(known, random.Random(f"{seed} {index}"), number=index).world(cases)  # noqa: S311 - no secret


class _Making:
    """One world in the making."""

    def __init__(self, known: Sequence[Ability], chance: random.Random, *, number: int) -> None:
        self._known = known
        self._chance = chance
        self._words = word_lists(_WORDS)
        self._number = number
        self._style = chance.choice(_STYLES)
        self._devices: dict[str, DeviceConfig] = {}
        self._of_kind: dict[str, list[str]] = {}
        self._offered: list[_Offered] = []
        self._commands: dict[str, CommandConfig] = {}

    def world(self, count: int) -> World:
        """Return the world with so many sentences."""
        for ability in self._chosen():
            self._offer(ability)
        name = self._chance.choice(["plant", "home", "site", "desk", "lab", "eval", "farm", "hall"])
        description = self._chance.choice(
            ["", "", "Controls devices and answers.", "Does what people order.", "Helps with daily work."]
        )
        spec = NodeConfig.model_construct(
            edge_node=1,
            name=name,
            description=description,
            ask=True,
            commands=self._commands,
            devices=dict(self._devices),
        )
        cases: dict[str, SpokenExample] = {}
        while len(cases) < count:
            case = self._case()
            cases.setdefault(case.utterance, case)
        shown = self._shown(known=cases) if self._chance.random() < _SHOWN else ()
        states = self._states() if self._chance.random() < _REPORTING else {}
        return World(Node(spec, Path(f"world-{self._number}")), tuple(cases.values()), shown, states)

    def _shown(self, *, known: dict[str, SpokenExample]) -> tuple[SpokenExample, ...]:
        orders = [
            self._order(self._chance.choice(self._offered)) for _ in range(self._chance.choice([1, 2, 3]))
        ]
        return tuple(order for order in orders if order.utterance not in known)

    def _states(self) -> dict[str, dict[str, Any]]:
        fields = self._chance.sample(self._words["fields"], k=self._chance.choice([1, 2, 3]))
        return {
            device: {
                field: self._chance.choice(["on", "off", "idle", self._chance.randrange(100)])
                for field in fields
            }
            for device in self._devices
        }

    def _chosen(self) -> list[Ability]:
        """Return abilities of one to five groups, each kept or left out by chance; never all of them."""
        groups = sorted({ability.group for ability in self._known})
        wanted = self._chance.choice(_SIZES)
        several = (
            self._chance.choice([1, 1, 2, 3]) if wanted <= _ONE_GROUP else self._chance.choice([3, 4, 5])
        )
        taken = self._chance.sample(groups, k=several)
        pool = [ability for ability in self._known if ability.group in taken]
        return self._chance.sample(pool, k=min(wanted, len(pool) - 1))

    def _offer(self, ability: Ability) -> None:
        plain = self._chance.choice(ability.names)
        name = _styled(plain, self._style, group=ability.group)
        if name in self._commands:
            return
        keys: dict[str, str] = {}
        args: dict[str, ArgumentConfig] = {}
        for slot_name, slot in ability.slots.items():
            if slot.kind == "device":
                self._stock(slot.of)
            key = self._key(slot_name, slot)
            key = slot_name if key in args else key
            keys[slot_name] = key
            args[key] = self._argument(slot_name, slot)
        for unsaid in self._chance.sample(self._words["unsaid"], k=self._chance.choice(_UNSAID)):
            args.setdefault(unsaid, self._argument(unsaid, slot_of(self._chance.choice(_UNSAID_SLOTS))))
        self._commands[name] = CommandConfig.model_construct(
            description=self._chance.choice(ability.does),
            examples=[],
            args=args,
            publish=PublishConfig(topic="world", payload={}),
        )
        self._offered.append(_Offered(ability, name, keys))

    def _key(self, name: str, slot: Slot) -> str:
        groups = self._words["keys"]
        known = groups.get(slot.of) if slot.kind == "text" else groups.get(slot.kind)
        return self._chance.choice(known) if known and self._chance.random() < 0.5 else name  # noqa: PLR2004

    def _argument(self, name: str, slot: Slot) -> ArgumentConfig:
        meanings = self._words["meanings"]
        own = meanings.get(slot.of) if slot.kind == "text" else meanings.get(slot.kind)
        plain = [f"The {name.replace('_', ' ')}.", "", name.replace("_", " ")]
        description = self._chance.choice([*(own or ()), *plain])
        told: dict[str, Any] = {"description": description, "optional": slot.optional}
        if slot.kind == "device":
            return ArgumentConfig.model_construct(device=True, **told)
        if slot.kind == "one":
            return ArgumentConfig.model_construct(type="string", enum=slot.of.split("|"), **told)
        if slot.kind == "text":
            return ArgumentConfig.model_construct(type="string", **told)
        if slot.kind in {"bool", "flag"}:
            return ArgumentConfig.model_construct(type="boolean", **told)
        bounded = self._chance.random() < 0.5  # noqa: PLR2004
        return ArgumentConfig.model_construct(
            type="integer" if slot.kind == "int" else "number",
            minimum=slot.low if bounded else None,
            maximum=slot.high if bounded else None,
            unit=slot.unit or None,
            **told,
        )

    def _stock(self, kind: str) -> None:
        """Let there be one to four devices of a kind."""
        if kind in self._of_kind or len(self._devices) >= _MOST_DEVICES:
            return
        nouns = self._chance.sample(self._words["kinds"][kind], k=1 + (self._chance.random() < 0.4))  # noqa: PLR2004
        made = []
        for number in range(1, self._chance.choice([1, 2, 3, 4]) + 1):
            noun = self._chance.choice(nouns)
            device, aliases = self._device(noun, number, kind=kind)
            if device not in self._devices:
                self._devices[device] = DeviceConfig(aliases=aliases)
                made.append(device)
        self._of_kind[kind] = made

    def _device(self, noun: str, number: int, *, kind: str) -> tuple[str, list[str]]:
        plain = noun.replace(" ", "_")
        if self._style in {"plain", "upper"} and self._chance.random() < 0.6:  # noqa: PLR2004
            return f"{plain}-{number}", []
        place = self._chance.choice(self._words["places"])
        if self._chance.random() < 0.2:  # noqa: PLR2004
            place = f"{self._chance.choice(self._words['adjectives'])} {place}"
        spoken = f"{place} {noun}"
        key = spoken.replace(" ", "_").replace("'", "").replace("-", "_").lower()
        if self._style == "dotted":
            return f"{kind}.{key}", [spoken.title() if self._chance.random() < 0.5 else spoken]  # noqa: PLR2004
        return key, [] if "'" not in spoken else [spoken]

    def _case(self) -> SpokenExample:
        draw = self._chance.random()
        if draw < _ORDERS:
            return self._order(self._chance.choice(self._offered))
        if draw < _ORDERS + (1 - _ORDERS) * _SIBLINGS:
            return self._foreign()
        return SpokenExample(set_about(self._talk(), self._chance))

    def _order(self, offered: _Offered) -> SpokenExample:
        pattern = drawn(self._chance.choice(offered.ability.says), self._chance)
        said: dict[str, str] = {}
        values: dict[str, Any] = {}
        for name in slots_of(pattern):
            said[name], values[offered.keys[name]] = self._value(offered.ability.slots[name])
        text = noisy(filled(pattern, said), self._chance, keep=tuple(said.values()))
        text = set_about(text, self._chance)
        for name in slots_of(pattern):
            if offered.ability.slots[name].kind == "text":
                values[offered.keys[name]] = _as_written(said[name], text)
        return SpokenExample(text, offered.command, values)

    def _foreign(self) -> SpokenExample:
        """Return an order that people give elsewhere: no command here fits it."""
        offered = {id(each.ability) for each in self._offered}
        groups = {each.ability.group for each in self._offered}
        near = [one for one in self._known if id(one) not in offered and one.group in groups]
        far = [one for one in self._known if one.group not in groups]
        ability = self._chance.choice(near if near and self._chance.random() < 0.6 else far)  # noqa: PLR2004
        if do_the_same(ability, [each.ability for each in self._offered]):
            return SpokenExample(self._talk())
        pattern = drawn(self._chance.choice(ability.says), self._chance)
        said = {name: self._value(ability.slots[name], foreign=True)[0] for name in slots_of(pattern)}
        return SpokenExample(set_about(noisy(filled(pattern, said), self._chance), self._chance))

    def _talk(self) -> str:
        devices = [device for ones in self._of_kind.values() for device in ones]
        if devices and self._chance.random() < 0.6:  # noqa: PLR2004
            thing = self._spoken(self._chance.choice(devices))
            pattern = drawn(self._chance.choice(self._words["about"]), self._chance)
            return noisy(filled(pattern, {"thing": thing}), self._chance, strength=0.5)
        return noisy(
            drawn(self._chance.choice(self._words["chat"]), self._chance), self._chance, strength=0.5
        )

    def _value(self, slot: Slot, *, foreign: bool = False) -> tuple[str, Any]:
        """Return how a value is said, and the value."""
        if slot.kind == "device":
            own = self._of_kind.get(slot.of) or [one for ones in self._of_kind.values() for one in ones]
            if own and (not foreign or self._chance.random() < 0.7):  # noqa: PLR2004
                device = self._chance.choice(own)
                return self._spoken(device), device
            return self._device(self._chance.choice(self._words["kinds"][slot.of]), 1, kind=slot.of)[
                0
            ].replace("_", " "), ""
        if slot.kind == "one":
            value = self._chance.choice(slot.of.split("|"))
            return value.replace("_", " "), value
        if slot.kind == "flag":
            return self._chance.choice(slot.of.split("|")), True
        if slot.kind == "text":
            value = self._text(slot.of)
            return value, value
        number = self._number_between(slot)
        return f"{number:g}" if isinstance(number, float) else str(number), number

    def _text(self, kind: str) -> str:
        """Return a text of the list, or one that nobody would guess: it is to be taken as said."""
        if kind not in self._words["invented"] or self._chance.random() >= _INVENTED:
            return str(self._chance.choice(self._words["texts"][kind]))
        nouns = [noun for nouns in self._words["kinds"].values() for noun in nouns]
        parts = self._chance.sample([*self._words["places"], *self._words["adjectives"], *nouns], k=3)
        text = " ".join(parts[: self._chance.choice([1, 2, 2, 3])])
        return text.title() if self._chance.random() < 0.4 else text  # noqa: PLR2004

    def _number_between(self, slot: Slot) -> int | float:
        if slot.kind == "int":
            step = 5 if slot.high - slot.low > 50 and self._chance.random() < 0.5 else 1  # noqa: PLR2004
            return self._chance.randrange(int(slot.low), int(slot.high) + 1, step)
        value = round(self._chance.uniform(slot.low, slot.high), 1)
        return int(value) if value.is_integer() else value

    def _spoken(self, device: str) -> str:
        aliases = self._devices[device].aliases
        if aliases:
            return aliases[0].lower() if self._chance.random() < 0.5 else aliases[0]  # noqa: PLR2004
        return device.replace("_", " ").replace("-", " ")


def _as_written(value: str, text: str) -> str:
    """Return a value with the letters that it has in a text."""
    at = text.casefold().find(value.casefold())
    return text[at : at + len(value)] if at >= 0 else value


def _styled(name: str, style: str, *, group: str) -> str:
    words = name.replace(".", "_").split("_")
    if style == "dotted":
        return name if "." in name else f"{group}.{name}"
    if style == "camel":
        return words[0] + "".join(word.title() for word in words[1:])
    if style == "prefixed":
        return f"{group.title()}_{len(words)}_{''.join(word.title() for word in words)}"
    return name.replace(".", "_").upper() if style == "upper" and len(words) == 1 else name.replace(".", "_")
