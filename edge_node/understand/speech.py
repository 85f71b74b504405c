"""Tells a question from an order, and a plain order from one with a reservation.

Pure functions over English text; knows nothing of commands or devices. In doubt a sentence is a question:
a question can move nothing.
"""

from __future__ import annotations

import re

from edge_node.understand.words import clean, word_set, words_of

_ASKING = word_set(
    """what what's whats why when where which who who's whose whom how how's is are am was were does did has
    had can could would will should shall may might must isn't aren't doesn't didn't"""
)
_ASKING_PHRASES = (
    *(
        "tell me",
        "tell us",
        "explain",
        "describe",
        "show me",
        "let me know",
        "help me understand",
        "i wonder",
    ),
    *("i want to know", "i would like to know", "i'd like to know", "do you", "do we", "do i", "do they"),
    *(
        "have you",
        "have we",
        "don't you",
        "any idea",
        "list the",
        "define",
        "compare",
        "summarise",
        "summarize",
    ),
)
_ASKING_ANYWHERE = re.compile(
    r"\b(?:how (?:to|do|does|can|much|many|often|long)|what (?:if|is|are|does|do)|why)\b"
)
_POLITE = re.compile(
    r"(?:(?:please|kindly|hey|hi|hello|ok|okay|now|so)[,!]?\s+"
    r"|(?:can|could|would|will) you (?:please |kindly )?"
    r"|would you mind |i(?: would|'d) like you to |i (?:want|need) you to )",
    re.IGNORECASE,
)
_POLITE_END = re.compile(r"[,]?\s+(?:please|thanks|thank you|now|for me)$", re.IGNORECASE)
_RESERVED = word_set(
    """not don't dont never no nor without unless if when whenever after before until till once while except
    instead later tomorrow tonight yesterday cannot can't shouldn't mustn't wouldn't won't avoid said says
    suppose imagine pretend maybe perhaps almost told tells reads writes wrote shouted
    quote unquote translate"""
)
_INQUIRING = word_set(
    """get gets find finds search searches lookup look list lists show shows tell tells check checks calculate
    calculates compute computes convert converts determine determines estimate estimates retrieve retrieves
    fetch fetches query queries predict predicts analyze analyse identify identifies translate translates
    define defines compare compares solve solves evaluate evaluates returns provides"""
)
_PART = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
# Who ends a deed does not order it: "stop turning it off".
_ENDING_A_DEED = re.compile(r"(?<!\w)(?:stop|quit|cease|keep from) \w{2,}ing(?!\w)", re.IGNORECASE)
_TELLING = word_set("is are was were isn't aren't it's that's has had been seems looks sounds")


def is_question(text: str) -> bool:
    """Return whether `text` asks for words rather than for a deed; a polite order counts as one too."""
    if "?" in text or "\N{FULLWIDTH QUESTION MARK}" in text or "\N{ARABIC QUESTION MARK}" in text:
        return True
    plain = without_greeting(clean(text).casefold())
    words = plain.split()
    if not words:
        return True
    return (
        words[0].rstrip(",") in _ASKING
        or plain.startswith(_ASKING_PHRASES)
        or _ASKING_ANYWHERE.search(plain) is not None
    )


def is_statement(text: str) -> bool:
    """Return whether `text` tells how something is; orders have no such verb."""
    return not _TELLING.isdisjoint(words_of(text))


def only_asks(name: str, description: str) -> bool:
    """Return whether a command only fetches or reckons something, by its own words."""
    parts = _PART.findall(name)
    return any(part.casefold() in _INQUIRING for part in parts) or (
        next(iter(words_of(description)), "") in _INQUIRING
    )


def without_greeting(text: str) -> str:
    """Return `text` without a leading 'please' or 'hello'; 'could you' stays."""
    return re.sub(
        r"^(?:(?:please|kindly|hey|hi|hello|ok|okay|now|so)[,!]?\s+)+", "", text, flags=re.IGNORECASE
    )


def without_courtesy(text: str) -> str:
    """Return `text` without polite beginnings and endings: 'could you stop it, please' is 'stop it'."""
    while (found := _POLITE.match(text)) is not None and found.end() < len(text):
        text = text[found.end() :]
    while (found := _POLITE_END.search(text)) is not None and found.start() > 0:
        text = text[: found.start()]
    return text


def reservation(text: str) -> str:
    """Return the first word that makes an order less than plain, such as 'not', 'if' or 'later', or ''."""
    ending = _ENDING_A_DEED.search(text)
    return next((word for word in words_of(text) if word in _RESERVED), ending[0] if ending else "")
