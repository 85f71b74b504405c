"""Words of a sentence, cleaned and cut to their stems for comparing.

Pure functions over English text; knows nothing of commands, devices or manuals.
"""

from __future__ import annotations

import re
import unicodedata

_WORD = re.compile(r"[^\W_]+(?:['.][^\W_]+)*")
_COMPOUND = re.compile(r"[^\W_]+(?:[-_][^\W_]+)+")


def word_set(text: str) -> frozenset[str]:
    """Return the words of `text`, parted by white space, as a set."""
    return frozenset(text.split())


# The longest ending comes first: "ations" must go before "s" does.
_SUFFIXES = (
    *("ational", "ization", "fulness", "ations", "ation", "ments", "ment", "ings", "ing"),
    *("edly", "ied", "ies", "ers", "ed", "er", "es", "ly", "s", "e", "y", "ion", "or"),
)
_SHORTEST_STEM = 3
_EMPTY_WORDS = word_set(
    """a about after all also am an and any are as at be been before being but by can could did do does doing
    for from get gets give given had has have having he her here his how i if in into is it its itself just
    let like make makes many may me might more most much must my need needs no not of on one only or other
    our out over own please same shall she should so some such tell than that the their them then there
    these they this those through to too under up us use used using very was way we were what when where
    which while who whom whose why will with would you your happen happens mean means"""
)


def clean(text: str) -> str:
    """Return `text` in one Unicode form, with plain quotes and single spaces, without end marks."""
    plain = unicodedata.normalize("NFKC", text).replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    return " ".join(plain.split()).strip(" .!?;,:")


def is_readable(text: str) -> bool:
    """Return whether `text` is whole Unicode; JSON can bring half a surrogate pair, which no model reads."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def words_of(text: str) -> list[str]:
    """Return the words of `text` in lower case, in order; marks and underscores part them."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def stem(word: str) -> str:
    """Return `word` without its inflection, so that 'shaking' and 'shakes' compare equal."""
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= _SHORTEST_STEM:
            return word[: -len(suffix)]
    return word


def content_stems(text: str) -> set[str]:
    """Return the stems of the words in `text` that carry meaning."""
    return {stem(word) for word in words_of(text) if word not in _EMPTY_WORDS}


def telling_stems(text: str) -> set[str]:
    """Return the stems of the words that carry meaning, and words joined by dashes as they stand.

    So 'drive-end' is in 'the drive-end bearing' and not in 'the non-drive-end bearing'.
    """
    joined = _COMPOUND.findall(unicodedata.normalize("NFKC", text).casefold())
    return content_stems(text) | set(joined)
