"""Orders that correct themselves: 'set pump two to forty, no, make that fifty'.

Knows what a text names; knows nothing of commands or templates. What was corrected is taken out, so that a
template sees only what is meant in the end.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edge_node.understand.phrases import Phrase

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_node.understand.phrases import Phrases

NUMBER = "number"
_SECOND_THOUGHT = (
    r"no|nope|sorry|wait|rather|actually|pardon|correction|scratch that|i mean|i meant|i said|"
    r"make (?:that|it)|let's say|better"
)
_TURN = re.compile(
    rf"[\s,;:.!-]+(?:(?:oh|ah|uh|or|but|and)[\s,]+)?(?:{_SECOND_THOUGHT})"
    rf"(?:[\s,.!]+(?:{_SECOND_THOUGHT}))*[\s,.!:]+(?=\S)",
    re.IGNORECASE,
)
_LEADING = re.compile(r"(?:(?:to|at|by|for|the|rather)\s+)+", re.IGNORECASE)
_NUMBER = re.compile(r"(?<![\w.-])-?\d+(?:\.\d+)?(?![\w.]*\d)")


def amended(text: str, *, phrases: Phrases) -> list[str]:
    """Return what `text` (numbers in digits) may be once its last correction is made; nothing if it has none.

    First what stands behind the correction, as an order of its own; then the sentence before it with the last
    thing of the same kind replaced.
    """
    turns = list(_TURN.finditer(text))
    if not turns or turns[-1].start() == 0:
        return []
    before, after = text[: turns[-1].start()], text[turns[-1].end() :]
    inner = amended(before, phrases=phrases)
    before = inner[-1] if inner else before
    lead = _LEADING.match(after)
    bare = after[lead.end() :] if lead else after
    replaced = _replaced(before, bare, phrases)
    return [after, replaced] if replaced else [after]


def _replaced(before: str, after: str, phrases: Phrases) -> str:
    new = next((spot for spot in spots(after, phrases) if spot.start == 0), None)
    if new is None:
        return ""
    old = [spot for spot in spots(before, phrases) if spot.kind == new.kind]
    if not old:
        return ""
    rest = after[new.end :].strip(" ,")
    tail = f" {rest}" if rest else before[old[-1].end :]
    return f"{before[: old[-1].start]}{after[: new.end]}{tail}"


def spots(text: str, phrases: Phrases) -> Sequence[Phrase]:
    """Return what a text names and the numbers in it, in order."""
    found = phrases.find(text)
    for match in _NUMBER.finditer(text):
        if not any(phrase.start < match.end() and match.start() < phrase.end for phrase in found):
            found.append(Phrase(NUMBER, (match[0],), match.start(), match.end()))
    return sorted(found, key=lambda phrase: phrase.start)
