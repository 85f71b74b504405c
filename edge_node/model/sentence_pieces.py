"""Vocabularies of SentencePiece: which pieces merge before which, and what they spell.

Knows the texts and scores of pieces; knows nothing of files or of the library that cuts text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

SPACE = "\u2581"
"""What stands for a space in a piece."""
_BYTE = re.compile("<0x([0-9A-F]{2})>")


def byte_piece(byte: int) -> str:
    """Return the piece that stands for a byte."""
    return f"<0x{byte:02X}>"


def bytes_of_piece(piece: str) -> bytes:
    """Return what a piece spells."""
    found = _BYTE.fullmatch(piece)
    return bytes.fromhex(found[1]) if found else piece.replace(SPACE, " ").encode()


def merges_of(
    tokens: Sequence[str], *, scores: Sequence[float], special: Collection[int]
) -> list[tuple[str, str]]:
    """Return which pieces merge, best first.

    Args:
        tokens: Pieces by identifier.
        scores: How early each is put together, the highest first.
        special: Identifiers of pieces that never come from text.

    Source: Kudo and Richardson, SentencePiece (2018), section 3: of all neighbours, those merge first whose
    piece has the highest score.
    """
    places = {
        token: place
        for place, token in enumerate(tokens)
        if place not in special and not _BYTE.fullmatch(token)
    }
    found = [
        (-scores[place], places[token[:cut]], places[token[cut:]])
        for token, place in places.items()
        for cut in range(1, len(token))
        if token[:cut] in places and token[cut:] in places
    ]
    return [(tokens[left], tokens[right]) for _, left, right in sorted(found)]
