"""What makes an order doubtful though its words are plain: quotation marks, a question mark, its length.

Pure functions over text; knows nothing of commands or devices.
"""

from __future__ import annotations

import re

from edge_node.understand.speech import without_courtesy

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
_LONG_NUMBER = re.compile(rf"(?<![\w.])-?\d{{{_LONGEST_NUMBER + 1},}}(?:\.\d+)?(?!\w)")
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
    """Return the first number in `text` that is too long for a setting, shortened, or ''."""
    found = _LONG_NUMBER.search(text)
    return f"{found[0][:8]}..." if found else ""
