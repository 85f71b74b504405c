"""Sentences drawn from patterns, and the noise of fingers and voices.

Pure functions over text and chance; knows nothing of commands. In a pattern, (a|b) is a choice, [a] may be
left out, and {slot} stays for the caller to fill.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_node.config.source import read_yaml
from edge_node.understand.speech import is_question
from edge_node.understand.values import digits, numbers_in

if TYPE_CHECKING:
    import random

_CHOICE = re.compile(r"\(([^()\[\]]*)\)")
_OPTION = re.compile(r"\[([^()\[\]]*)\]")
_SLOT = re.compile(r"\{(\w+)\}")
_BELOW_TWENTY = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven"),
    *("twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_NEIGHBOURS = {
    "a": "sq", "b": "vn", "c": "xv", "d": "sf", "e": "wr", "f": "dg", "g": "fh", "h": "gj", "i": "uo",
    "j": "hk", "k": "jl", "l": "k", "m": "n", "n": "bm", "o": "ip", "p": "o", "r": "et", "s": "ad",
    "t": "ry", "u": "yi", "v": "cb", "w": "qe", "y": "tu",
}  # fmt: skip
_LONG_ENOUGH = 5
_ARTICLE = re.compile(r"\b(?:the|a|an) ", re.IGNORECASE)
_ALONE = re.compile(r"(?<![\w.,-])\d+(?:\.\d+)?(?![\w.,/:-])")
_HUNDRED, _THOUSAND = 100, 1000
_SET_ABOUT = 0.1
_MOST_TRIES = 8


@lru_cache(maxsize=8)
def word_lists(name: str) -> dict[str, Any]:
    """Return the lists of a file beside this module."""
    found: dict[str, Any] = read_yaml(Path(__file__).parent / name)
    return found


def drawn(pattern: str, chance: random.Random) -> str:
    """Return one sentence of a pattern, its slots still open."""
    text = pattern
    while True:
        if (found := _CHOICE.search(text)) is not None:
            put = chance.choice(found[1].split("|"))
        elif (found := _OPTION.search(text)) is not None:
            # An option in which something may be said is taken more often: it is what there is to learn.
            likely = 0.6 if "{" in found[1] else 0.4
            put = chance.choice(found[1].split("|")) if chance.random() < likely else ""
        else:
            return " ".join(text.split())
        text = text[: found.start()] + put + text[found.end() :]


def slots_of(text: str) -> list[str]:
    """Return the names of the slots of a sentence, in order."""
    return _SLOT.findall(text)


def filled(text: str, values: dict[str, str]) -> str:
    """Return a sentence with values in its slots."""
    return _SLOT.sub(lambda found: values[found[1]], text)


def in_words(number: float) -> str:
    """Return a number as it is spoken."""
    if number < 0:
        return f"minus {in_words(-number)}"
    if not float(number).is_integer():
        whole, _, decimals = f"{number:g}".partition(".")
        return f"{in_words(int(whole))} point {' '.join(_BELOW_TWENTY[int(digit)] for digit in decimals)}"
    whole_number = int(number)
    if whole_number < len(_BELOW_TWENTY):
        return _BELOW_TWENTY[whole_number]
    if whole_number < _HUNDRED:
        tens, ones = divmod(whole_number, 10)
        return _TENS[tens - 2] + (f"-{_BELOW_TWENTY[ones]}" if ones else "")
    if whole_number < _THOUSAND:
        hundreds, rest = divmod(whole_number, _HUNDRED)
        return f"{_BELOW_TWENTY[hundreds]} hundred" + (f" and {in_words(rest)}" if rest else "")
    thousands, rest = divmod(whole_number, _THOUSAND)
    return f"{in_words(thousands)} thousand" + (f" {in_words(rest)}" if rest else "")


def spoken_numbers(text: str) -> str:
    """Return a text with its numbers in words, where they are read back as the same numbers."""
    said = _ALONE.sub(lambda found: in_words(float(found[0])), text)
    return said if numbers_in(said) == numbers_in(digits(text)) else text


def noisy(text: str, chance: random.Random, *, strength: float = 1.0, keep: tuple[str, ...] = ()) -> str:
    """Return a sentence as somebody might have said or typed it.

    Args:
        text: The sentence.
        chance: Where chance comes from.
        strength: 0 leaves it as it is; 1 changes about two in three sentences.
        keep: Words that no typing slip may touch.
    """
    words = word_lists("words.yaml")
    if chance.random() < 0.25 * strength:
        text = spoken_numbers(text)
    if chance.random() < 0.15 * strength:
        text = " ".join(_ARTICLE.sub("", text).split()) or text
    if chance.random() < 0.15 * strength and not is_question(text):
        text = f"{chance.choice(words['polite'])} {text}"
    elif chance.random() < 0.1 * strength:
        text = f"{chance.choice(words['fillers'])}{chance.choice([',', ''])} {text}"
    if chance.random() < 0.12 * strength:
        text = f"{text}{chance.choice([',', ''])} {chance.choice(words['endings'])}"
    if chance.random() < 0.12 * strength:
        text = _slip(text, chance, keep=keep)
    return _cased(text, chance)


def set_about(text: str, chance: random.Random) -> str:
    """Return a sentence, one in five times between others that are no orders and change nothing."""
    words = word_lists("words.yaml")
    if chance.random() < _SET_ABOUT:
        text = f"{drawn(chance.choice(words['before']), chance)} {text}"
    if chance.random() < _SET_ABOUT:
        text = f"{text.rstrip('.')}. {drawn(chance.choice(words['after']), chance)}"
    return text


def _cased(text: str, chance: random.Random) -> str:
    draw = chance.random()
    if draw < 0.5:  # noqa: PLR2004 - shares of ways to write
        text = text[:1].upper() + text[1:]
    elif draw < 0.6:  # noqa: PLR2004
        text = text.lower()
    return text + chance.choice(["", "", ".", "", "!"])


def _slip(text: str, chance: random.Random, *, keep: tuple[str, ...]) -> str:
    """Return a text with one slip of the fingers, never within `keep` or a short word."""
    words = text.split(" ")
    kept = {part.casefold() for word in keep for part in word.split()}
    for _ in range(_MOST_TRIES):
        at = chance.randrange(len(words))
        word = words[at]
        if len(word) < _LONG_ENOUGH or not word.isalpha() or word.casefold() in kept:
            continue
        place = chance.randrange(1, len(word) - 1)
        letter = word[place]
        words[at] = chance.choice(
            [
                word[:place] + word[place + 1 :],
                word[:place] + letter + word[place:],
                word[:place] + word[place + 1] + letter + word[place + 2 :],
                word[:place] + chance.choice(_NEIGHBOURS.get(letter, letter)) + word[place + 1 :],
            ]
        )
        break
    return " ".join(words)
