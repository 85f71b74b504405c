"""Slips of typing and of speech recognition in single words.

Pure functions over words; knows nothing of devices, commands or sentences.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

HOMOPHONES = {"won": "1", "too": "2", "tree": "3", "ate": "8"}
"""Words that sound like a number; only behind a noun that is counted do they mean one."""
_SHORTEST = 4
_SHORTEST_SLIP = 3


def one_slip(one: str, other: str) -> bool:
    """Return whether two words differ by one letter: wrong, missing, too many or swapped with the next."""
    if abs(len(one) - len(other)) > 1:
        return False
    start = 0
    while start < min(len(one), len(other)) and one[start] == other[start]:
        start += 1
    one, other = one[start:], other[start:]
    return (
        one == other
        or one[1:] == other[1:]
        or one[1:] == other
        or one == other[1:]
        or (one[1::-1] == other[:2] and one[2:] == other[2:])
    )


def corrected(word: str, known: Iterable[str]) -> str:
    """Return the one known word that `word` is a slip of, or `word` itself where there is none or several.

    The first letter has to be right: so 'jump' is no slip of 'pump', and 'pomp' is one.
    """
    if len(word) < _SHORTEST_SLIP or not word.isalpha():
        return word
    near = {
        each
        for each in known
        if len(each) >= _SHORTEST and each[0] == word[0] and each.isalpha() and one_slip(word, each)
    }
    return near.pop() if len(near) == 1 else word
