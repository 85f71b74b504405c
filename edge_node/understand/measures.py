"""Lengths, times and speeds said in another unit than the one a node wants.

Pure functions over text with numbers in digits; knows units, and nothing of commands.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edge_node.understand.values import unit_words

if TYPE_CHECKING:
    from collections.abc import Iterator

# Each line is one quantity: a unit and how many of the first one it is.
_QUANTITIES = (
    (("m", 1.0), ("cm", 0.01), ("mm", 0.001), ("km", 1000.0)),
    (("s", 1.0), ("ms", 0.001), ("min", 60.0), ("h", 3600.0)),
    (("m/s", 1.0), ("mm/s", 0.001), ("cm/s", 0.01), ("km/h", 1 / 3.6)),
    (("w", 1.0), ("kw", 1000.0)),
)
_DIGITS = 9
_NAMED = (
    "metres?|meters?|centimetres?|centimeters?|kilometres?|kilometers?|degrees?|hours?|minutes?|seconds?|percent"
    "|m|cm|h|min"
)
_AND_A_HALF = re.compile(r"(?<![\w.-])(\d+) and (?:a half|1/2)(?!\w)", re.IGNORECASE)
_HALF_BEHIND = re.compile(rf"(?<![\w.-])(\d+|an?) ({_NAMED}) and a half(?!\w)", re.IGNORECASE)
_HALF_OF = re.compile(rf"(?<![\w.-])(?:a )?half (?:of )?(?:an? )?({_NAMED})(?!\w)", re.IGNORECASE)
_QUARTER_OF = re.compile(rf"(?<![\w.-])(?:a )?quarter (?:of )?(?:an? )?({_NAMED})(?!\w)", re.IGNORECASE)
_ONE = re.compile(rf"(?<![\w.-])an? ({_NAMED})(?!\w)", re.IGNORECASE)
_SHARES = (
    (
        re.compile(
            r"(?<!\w)half[ -]?(?:way|speed|power|open|closed)(?: (?:open|closed|up|down))?(?!\w)",
            re.IGNORECASE,
        ),
        "50 percent",
    ),
    (
        re.compile(
            r"(?<!\w)(?:at )?(?:flat out|full (?:speed|power|throttle|tilt)"
            r"|(?:maximum|max|top) (?:speed|power)(?= *$))(?!\w)",
            re.IGNORECASE,
        ),
        "100 percent",
    ),
    (re.compile(r"(?<!\w)(?:a )?quarter turn(?: to)?(?: the)?(?!\w)", re.IGNORECASE), "turn 90 degrees"),
    (re.compile(r"(?<!\w)(?:a )?half turn(?: to)?(?: the)?(?!\w)", re.IGNORECASE), "turn 180 degrees"),
)


def in_numbers(text: str) -> str:
    """Return `text` (numbers in digits) with halves, quarters and 'a metre' as numbers of their units."""
    text = _AND_A_HALF.sub(r"\1.5", text)
    text = _HALF_BEHIND.sub(lambda found: f"{found[1] if found[1].isdigit() else 1}.5 {found[2]}", text)
    text = _QUARTER_OF.sub(r"0.25 \1", _HALF_OF.sub(r"0.5 \1", text))
    return _ONE.sub(r"1 \1", text)


def in_shares(text: str) -> str:
    """Return `text` with 'half speed', 'flat out' or 'quarter turn' as a number with its unit."""
    for pattern, share in _SHARES:
        text = pattern.sub(share, text)
    return text


def in_units(text: str, *, units: frozenset[str]) -> str:
    """Return `text` with measures in units that a node does not use put into the one it uses.

    '80 centimetres' is '0.8 m' where the node has metres and no centimetres.
    """
    for quantity in _QUANTITIES:
        own = [(unit, size) for unit, size in quantity if unit in units]
        if len(own) == 1:
            for words, size in _others(quantity, own[0][0]):
                text = _converted(text, words, size / own[0][1], own[0][0])
    return text


def _others(quantity: tuple[tuple[str, float], ...], own: str) -> Iterator[tuple[tuple[str, ...], float]]:
    for unit, size in quantity:
        if unit != own:
            yield unit_words(unit), size


def _converted(text: str, words: tuple[str, ...], factor: float, unit: str) -> str:
    said = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    pattern = re.compile(
        rf"(?<![\w.-])(-?\d{{1,9}}(?:\.\d{{1,9}})?) ?(?:{said})(?![\w/])(?! per\b)", re.IGNORECASE
    )
    return pattern.sub(lambda found: f"{_written(float(found[1]) * factor)} {unit}", text)


def _written(number: float) -> str:
    return f"{number:.{_DIGITS}f}".rstrip("0").rstrip(".")
