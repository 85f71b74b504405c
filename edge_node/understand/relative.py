"""Orders that start from how things are: 'a bit slower', '10 percent more', 'half of that'.

Knows nodes, what people may name, and the last state of devices; knows nothing of templates. Every word of
such an order has to be accounted for, as by a template.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge_node.messages import CommandDraft, NothingDraft, Origin
from edge_node.understand.asking import ask_for_argument
from edge_node.understand.forms import DEVICE
from edge_node.understand.habits import plain
from edge_node.understand.measures import in_numbers, in_units
from edge_node.understand.offers import which_of
from edge_node.understand.values import digits, read_number, unit_words
from edge_node.understand.words import word_set

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_node.config.loaded import Node
    from edge_node.config.models import ArgumentConfig, CommandConfig
    from edge_node.protocols import Twin
    from edge_node.understand.phrases import Phrase, Phrases

_MORE = word_set("up more higher increase raise further upwards")
_LESS = word_set("down less lower decrease reduce downwards")
# Words of one quantity, by what stands in the name, the field, the unit or the description of an argument.
_QUANTITIES = (
    ("speed rpm m/s", word_set("faster quicker quick"), word_set("slower slow")),
    (
        "temperature degrees celsius fahrenheit",
        word_set("warmer hotter warm heat"),
        word_set("cooler colder cool"),
    ),
    ("brightness light", word_set("brighter brighten"), word_set("dimmer darker dim")),
    ("volume loudness", word_set("louder"), word_set("quieter softer")),
)
_SMALL = word_set("bit little slightly touch tad notch somewhat smidge step")
_LARGE = word_set("lot much way considerably")
_HALF = re.compile(
    r"\b(?:(?:to |at )?half (?:of )?(?:that|it|this|the speed|as (?:fast|much|high|bright|warm)(?: as now)?)"
    r"|halve|by half)\b"
)
_DOUBLE = re.compile(
    r"\b(?:(?:to |at )?(?:twice|double) (?:that|it|as (?:fast|much|high|bright)(?: as now)?)|double)\b"
)
_CARRIERS = word_set(
    """make turn run go set get let bring put take give move drive keep have change adjust please the a an by
    on for of at in to than now again once and be it its that still then some speed"""
)
_STRONG = 2
_TOKEN = re.compile(r"-?\d+(?:\.\d+)?|[^\W\d_]+(?:/[^\W\d_]+)?|%|°[a-z]?")


@dataclass(frozen=True, slots=True)
class Followed:
    """An argument that follows what a device reports.

    Attributes:
        node: The node.
        command: Name of the command.
        spec: The command.
        argument: Name of the argument.
        device: Name of the argument that takes the device; empty where the command has none.
    """

    node: str
    command: str
    spec: CommandConfig
    argument: str
    device: str

    @property
    def field(self) -> str:
        """The field that is followed."""
        return self.spec.followed(self.argument)

    @property
    def config(self) -> ArgumentConfig:
        """The argument."""
        return self.spec.args[self.argument]


@dataclass(frozen=True, slots=True)
class Wish:
    """What is wanted of a value.

    Attributes:
        direction: 1 for more, -1 for less; 0 where `factor` says it.
        amount: How much, in the unit that was said; None where it is left to the step.
        unit: The unit that was said, or empty.
        steps: Steps to go where no amount was said.
        factor: What the value is to be multiplied by; 1 where it is not.
    """

    direction: int
    amount: float | None = None
    unit: str = ""
    steps: int = 1
    factor: float = 1.0


class RelativeOrders:
    """Orders from how things are, for some nodes.

    Args:
        nodes: The nodes whose commands may be ordered.
        twin: How things are.
    """

    def __init__(self, nodes: Sequence[Node], *, twin: Twin) -> None:
        self._twin = twin
        self._followed = {node.name: tuple(_followed(node)) for node in nodes}

    def draft(
        self,
        text: str,
        *,
        phrases: Mapping[str, Phrases],
        last: tuple[str, str] = ("", ""),
    ) -> CommandDraft | NothingDraft | None:
        """Return the command, what to ask back, or None where the words are no such order.

        Args:
            text: What was said.
            phrases: What may be named, by the nodes that are asked.
            last: Node and device of which was spoken last, for words that name none.
        """
        found: list[CommandDraft | NothingDraft] = []
        for node, names in phrases.items():
            found += self._of_node(node, text, names, last[1] if last[0] == node else "")
        if not found:
            return None
        drafts = [draft for draft in found if isinstance(draft, CommandDraft)]
        if len(drafts) > 1 and len(drafts) == len(found):
            return which_of(drafts)
        return next(draft for draft in found if len(found) == 1 or isinstance(draft, NothingDraft))

    def _of_node(self, node: str, text: str, names: Phrases, last: str) -> list[CommandDraft | NothingDraft]:
        units = frozenset(
            unit_words(each.config.unit)[0] for each in self._followed[node] if each.config.unit
        )
        said = in_units(in_numbers(digits(plain(text))), units=units).casefold()
        devices = [phrase for phrase in names.find(said) if phrase.kind == DEVICE]
        if len(devices) > 1:
            return []
        rest = said if not devices else f"{said[: devices[0].start]} {said[devices[0].end :]}"
        wished = [(each, wish) for each in self._followed[node] if (wish := _wish(rest, each)) is not None]
        drafts: list[CommandDraft | NothingDraft] = []
        for each, wish in wished:
            meant = self._meant(each, devices[0] if devices else None, names, last)
            if meant is None:
                continue
            if len(meant) > 1:
                question = ask_for_argument(each.device, each.spec.args[each.device], devices=meant)
                drafts.append(NothingDraft(node, question, code="ask_back"))
            else:
                drafts.append(self._reckoned(each, wish, meant[0]))
        return drafts

    def _meant(
        self, each: Followed, phrase: Phrase | None, names: Phrases, last: str
    ) -> tuple[str, ...] | None:
        """Return the devices that may be meant, or None where this command is not for what is named."""
        if phrase is None:
            given = (last,) if last else names.devices
        else:
            given = names.fitting(each.device, phrase.values)
        known = tuple(device for device in given if self._was_told(each, device))
        if known or not given:
            return known or None
        return given if phrase is not None and names.fits(each.device, given[0]) else None

    def _was_told(self, each: Followed, device: str) -> bool:
        # A value that was told and is too old still tells that the device has one.
        return each.field in self._twin.times(each.node, device)

    def _reckoned(self, each: Followed, wish: Wish, device: str) -> CommandDraft | NothingDraft:
        state = self._twin.state(each.node, device)
        now = state.fields.get(each.field) if state is not None and state.online else None
        label = each.argument.replace("_", " ")
        if isinstance(now, bool) or not isinstance(now, int | float):
            reason = (
                f"{each.field} of {device} is not known now, so nothing can be reckoned from it; "
                f"say the {label} itself"
            )
            return NothingDraft(each.node, reason, code="ask_back")
        value = _target(now, wish, each.config)
        if value == now:
            unit = f" {each.config.unit}" if each.config.unit else ""
            return NothingDraft(
                each.node, f"{device} is at {now:g}{unit} already; that is as far as it goes", code="ask_back"
            )
        arguments: dict[str, Any] = {
            name: argument.default
            for name, argument in each.spec.args.items()
            if argument.default is not None
        }
        arguments |= {each.device: device, each.argument: value}
        return CommandDraft(each.node, each.command, arguments, Origin.TEMPLATE)


def _followed(node: Node) -> list[Followed]:
    found = []
    for name, spec in node.spec.commands.items():
        devices = [key for key, argument in spec.args.items() if argument.device]
        for key, argument in spec.args.items():
            others = [
                other
                for other, config in spec.args.items()
                if other != key and not config.device and config.default is None and not config.optional
            ]
            if (
                argument.type in {"integer", "number"}
                and spec.followed(key)
                and len(devices) == 1
                and not others
            ):
                found.append(Followed(node.name, name, spec, key, devices[0]))
    return found


def _words(each: Followed) -> tuple[frozenset[str], frozenset[str]]:
    """Return the words that ask for more and for less of an argument."""
    config = each.config
    told = (
        " ".join((each.argument, each.field, config.unit or "", config.description))
        .replace("_", " ")
        .casefold()
    )
    more, less = _MORE, _LESS
    for known, up, down in _QUANTITIES:
        if any(word in told for word in known.split()):
            more, less = more | up, less | down
    own = config.relative
    if own is not None:
        more, less = more | frozenset(own.up), less | frozenset(own.down)
    return more, less


def _wish(text: str, each: Followed) -> Wish | None:
    """Return what is wanted of an argument, or None where the words are no wish or say more than one."""
    more, less = _words(each)
    for pattern, factor, beside in ((_HALF, 0.5, less), (_DOUBLE, 2.0, more)):
        if pattern.search(text):
            rest = _TOKEN.findall(pattern.sub(" ", text))
            return Wish(0, factor=factor) if all(word in _CARRIERS | beside for word in rest) else None
    words = _TOKEN.findall(text)
    numbers = [word for word in words if read_number(word) is not None]
    directions = {1 if word in more else -1 for word in words if word in more | less}
    if len(directions) != 1 or len(numbers) > 1:
        return None
    units = _units_in(text, each.config)
    labels = word_set(f"{each.argument} {each.field}".replace("_", " "))
    known = more | less | _SMALL | _LARGE | _CARRIERS | units | labels | set(numbers)
    if not all(word in known for word in words):
        return None
    steps = _STRONG if _LARGE & set(words) else 1
    amount = float(numbers[0]) if numbers else None
    if amount is not None and (amount <= 0 or ("to" in words and "by" not in words)):
        return None
    unit = "percent" if units & {"percent", "%"} else ""
    return Wish(directions.pop(), amount=amount, unit=unit, steps=steps)


def _units_in(text: str, config: ArgumentConfig) -> frozenset[str]:
    """Return the words of a unit that stand in a text, the argument's own or percent."""
    said = {*unit_words(config.unit or ""), *unit_words("percent")}
    found = [unit for unit in said if re.search(rf"(?<!\w){re.escape(unit)}(?!\w)", text)]
    return frozenset(word for unit in found for word in _TOKEN.findall(unit))


def _target(now: float, wish: Wish, config: ArgumentConfig) -> int | float:
    """Return the value that is wanted; a step ends at the bounds, a number that was said does not."""
    if wish.factor != 1.0:
        value = now * wish.factor
    elif wish.amount is None:
        value = now + wish.direction * wish.steps * _step(config)
        if config.minimum is not None:
            value = max(value, min(config.minimum, now))
        if config.maximum is not None:
            value = min(value, max(config.maximum, now))
    elif wish.unit and "percent" not in unit_words(config.unit or ""):
        value = now * (1 + wish.direction * wish.amount / 100)
    else:
        value = now + wish.direction * wish.amount
    return round(value) if config.type == "integer" else round(value, 3)


def _step(config: ArgumentConfig) -> float:
    if config.relative is not None and config.relative.step is not None:
        return config.relative.step
    if config.minimum is not None and config.maximum is not None:
        return (config.maximum - config.minimum) / 10
    return 1.0
