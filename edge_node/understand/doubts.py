"""What makes an order doubtful though its words are plain: quotation marks, a question mark, its length.

Pure functions over text; knows nothing of commands or devices.
"""

from __future__ import annotations

import re

from edge_node.understand.habits import base
from edge_node.understand.speech import without_courtesy
from edge_node.understand.words import word_set, words_of

_OPENING = '"\N{LEFT DOUBLE QUOTATION MARK}\N{DOUBLE LOW-9 QUOTATION MARK}'
_OPENING += "\N{LEFT-POINTING DOUBLE ANGLE QUOTATION MARK}"
_CLOSING = '"\N{LEFT DOUBLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}'
_CLOSING += "\N{RIGHT-POINTING DOUBLE ANGLE QUOTATION MARK}"
_SINGLE = "'`\N{LEFT SINGLE QUOTATION MARK}\N{RIGHT SINGLE QUOTATION MARK}"
_QUOTED = re.compile(
    rf"(?<!\w)[{_OPENING}]([^{_CLOSING}]+)|(?<!\w)[{_SINGLE}]([^{_SINGLE}]+)[{_SINGLE}](?!\w)"
)
_POLITE = re.compile(r"\b(?:can|could|would|will) you\b|\bplease\b|\bmind\b|\bok(?:ay)?\?", re.IGNORECASE)
_LONGEST_NUMBER = 15
_IMPOSSIBLE = re.compile(
    rf"(?<![\w.])-?(?:\d{{{_LONGEST_NUMBER + 1},}}(?:\.\d+)?|\d+(?:\.\d+)?e[+-]?\d+)(?!\w)", re.IGNORECASE
)
_CLAUSE = re.compile(r"[:;.!?]+(?:\s+|$)")
_OPPOSITES = tuple(
    frozenset(pair.split())
    for pair in (
        *("open close", "open shut", "start stop", "on off", "up down", "raise lower", "increase decrease"),
        *("increase reduce", "lock unlock", "left right", "faster slower", "pause resume", "forward back"),
    )
)
_JOINED = word_set("and or then but")
_TELLERS = word_set("i we he she they someone somebody nobody everyone everybody")
_BETWEEN = word_set("could can may might should have had has just already only always never often also both")
_WISHING = word_set("want need wish would like")
_SHOWN = 8
LONGEST_ORDER = 60
"""Words that an order has at most."""


def quoted(text: str) -> tuple[str, ...]:
    """Return what stands in quotation marks."""
    return tuple((found[1] or found[2]).strip(" .!,") for found in _QUOTED.finditer(text))


def is_asked(text: str) -> bool:
    """Return whether a sentence ends as a question does without asking politely for a deed."""
    return text.rstrip().endswith(("?", "\N{FULLWIDTH QUESTION MARK}")) and not (
        _POLITE.search(text) or without_courtesy(text) != text
    )


def impossible_number(text: str) -> str:
    """Return the first number in `text` that no setting can have, shortened, or ''."""
    found = _IMPOSSIBLE.search(text)
    return f"{found[0][:8]}{'...' if len(found[0]) > _SHOWN else ''}" if found else ""


def clauses(text: str) -> tuple[str, ...]:
    """Return the parts of a text that marks between them part, where there are several."""
    parts = tuple(part.strip() for part in _CLAUSE.split(text) if part.strip())
    return parts if len(parts) > 1 else ()


def contradiction(text: str) -> str:
    """Return two opposite words that a text joins, as 'open and close', or ''."""
    words = words_of(text)
    if _JOINED.isdisjoint(words):
        return ""
    pair = next((pair for pair in _OPPOSITES if pair <= set(words)), None)
    return " and ".join(word for word in dict.fromkeys(words) if word in pair) if pair else ""


def is_report(text: str, *, verbs: frozenset[str]) -> bool:
    """Return whether a text tells what somebody does or did: 'they closed it', or 'runs at 40' of a device.

    Args:
        text: The text; of a device that it begins with, only what stands behind.
        verbs: Words that orders begin with.
    """
    words = words_of(text)
    teller = bool(words) and words[0] in _TELLERS
    rest = words[1:] if teller else words
    while teller and rest and rest[0] in _BETWEEN:
        rest = rest[1:]
    if not rest or rest[0] in _WISHING:
        return False
    plain = teller and rest[0] in verbs
    endings = (ending for ending in ("s", "ed", "ing") if rest[0].endswith(ending))
    return plain or (
        (rest[0] not in verbs or rest[0].endswith("ing"))
        and any(base(rest[0].removesuffix(ending), verbs) for ending in endings)
    )
