"""Passages that say the same, made into one.

Pure functions over passages; knows nothing of how they were found.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_node.messages import Passage


def merged(passages: Iterable[Passage], *, limit: int) -> tuple[Passage, ...]:
    """Return the first `limit` passages, best first, none of which says again what another says.

    Of passages with the same words only the best stays; passages of one file that share lines become one
    that spans both and keeps the better place.
    """
    kept: list[Passage] = []
    for passage in passages:
        if any(passage.text == other.text for other in kept):
            continue
        index = next((index for index, other in enumerate(kept) if _overlap(other, passage)), None)
        if index is not None:
            kept[index] = _union(kept[index], passage)
        elif len(kept) < limit:
            kept.append(passage)
    return tuple(kept)


def _overlap(one: Passage, other: Passage) -> bool:
    same = (one.node, one.file, one.page) == (other.node, other.file, other.page)
    whole = all(
        passage.text.count("\n") == passage.last_line - passage.first_line for passage in (one, other)
    )
    # Parts of one long line share its number, not its words.
    return (
        same
        and whole
        and one.first_line <= other.last_line
        and other.first_line <= one.last_line
        and max(one.last_line - one.first_line, other.last_line - other.first_line) > 0
    )


def _union(better: Passage, other: Passage) -> Passage:
    lines = dict(enumerate(other.text.split("\n"), start=other.first_line))
    lines.update(enumerate(better.text.split("\n"), start=better.first_line))
    return replace(
        better,
        first_line=min(lines),
        last_line=max(lines),
        text="\n".join(lines[number] for number in sorted(lines)),
        similarity=max(better.similarity, other.similarity),
    )
