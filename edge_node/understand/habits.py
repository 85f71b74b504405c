"""What people say around an order: courtesies, fillers, repetitions, frames such as 'let it go'.

Pure functions over English text; knows nothing of commands or devices. Every word that is taken away here is
one that does not change what is ordered; a word that does must be left for a template to account for.
"""

from __future__ import annotations

import re

from edge_node.understand.speech import without_courtesy

_FILLERS = re.compile(
    r"(?<![\w'-])(?:u+h+m*|u+m+|e+r+m*|h+m+|a+h+|you know|i guess|like(?=,))(?![\w'-])[,.]?", re.IGNORECASE
)
_LIKE = re.compile(r",\s*like\s*,", re.IGNORECASE)
_LEADING = re.compile(
    r"(?:(?:hey|hi|hello|ok|okay|now|so|well|right(?=,)|alright|whoa|quick|quickly|emergency|attention|"
    r"and|then|also|yes|yeah|thanks|please|kindly|just|go ahead and|let's|we need to|"
    r"you can|you may(?: now)?|i(?:'d| would) like(?: you)? to|i (?:want|need)(?: you)? to|"
    r"(?:can|could|would|will) you(?: please| kindly| just)?|"
    r"be so kind(?: as)? (?:to|and)|make sure (?:to|you)|try to)(?![\w'])[,!.:]*\s+)+",
    re.IGNORECASE,
)
_TRAILING = re.compile(
    r"(?:[,!.]*\s+(?:please|thanks|thank you|thx|cheers|now|right now|right away|at once|immediately|asap|"
    r"straight away|for me|for us|would you|will you|could you|can you|"
    r"if you (?:can|could|would|please|will)|"
    r"ok|okay|then|too|as well|also|(?:in |over )?here|in this room))+$",
    re.IGNORECASE,
)
_MIND = re.compile(r"\b(?:would|do) you mind (?:please )?(\w+)ing(?![\w'])", re.IGNORECASE)
_POSSESSIVE = re.compile(
    r"(?<=\w)(?<!\blet)(?<!\bit)(?<!\bthat)(?<!\bwhat)(?<!\bhe)(?<!\bshe)'s(?!\w)", re.IGNORECASE
)
_REPEATED = re.compile(r"(?<![\w'-])([a-z]{3,})(?:[,!.]*\s+\1(?![\w'-]))+", re.IGNORECASE)
_WISHED = re.compile(
    r"^(?:i(?:'d| would) like|i (?:want|need)|get|have) (?P<what>.+) (?P<verb>[a-z]+?)ed$", re.IGNORECASE
)
_WISH = re.compile(
    r"^(?:i(?:'d| would) like(?: to have)?|we (?:want|need)|i wanna have|i need to have|"
    r"(?:can|could|may) (?:i|we) (?:have|get))(?! to)(?![\w'])",
    re.IGNORECASE,
)
_PLEASE = re.compile(r"(?<!\w)(?:please|kindly)(?!\w)", re.IGNORECASE)
_COULD = re.compile(r"^(?:can|could|would|will) (?!you |i |we |it )", re.IGNORECASE)
_OWNERS = re.compile(r"(?<![\w'-])(?:its|your|their|my|our)\s+", re.IGNORECASE)
_IN_BETWEEN = re.compile(
    r"^(.*?\w) (on|off|out|up|down|open|closed) in ((?:the )?\w+(?: \w+)?)$", re.IGNORECASE
)
_COMMA = re.compile(r"[,;](?!\d)|(?<=\s)=(?=\s)|[!]+")


def plain(text: str) -> str:
    """Return `text` without courtesies, fillers, repetitions and marks between its words.

    A sentence of nothing else is left as it is.
    """
    said = _LIKE.sub(" ", text)
    said = _REPEATED.sub(r"\1", _FILLERS.sub(" ", said))
    said = " ".join(said.split()).strip(" ,.!;:")
    before = ""
    while before != said:
        before = said
        said = _kept(_LEADING.sub("", said, count=1) if _LEADING.match(said) else said, said)
        said = _kept(_TRAILING.sub("", said), said)
        said = _kept(without_courtesy(said), said)
    said = _OWNERS.sub("", _WISH.sub("I want", said))
    return " ".join(_COMMA.sub(" ", _POSSESSIVE.sub("", said)).split())


def _kept(shorter: str, said: str) -> str:
    return shorter if shorter.strip(" ,.!") else said


def imperatives(text: str, *, verbs: frozenset[str]) -> list[str]:
    """Return `text` with a verb in another form put as an order says it.

    'would you mind setting it' is 'set it'; 'I need it stopped' is 'stop it', 'the light on in the hall' is
    'the light in the hall on'. Only `verbs` are made.
    """
    mind = _MIND.search(text)
    if mind:
        verb = base(mind[1].casefold(), verbs)
        return [plain(f"{verb}{text[mind.end() :]}")] if verb else []
    said = plain(text)
    # "Could it please stop" asks for it; "could it stop" may ask whether it is able to.
    if _PLEASE.search(text) and _COULD.match(said):
        return [plain(_PLEASE.sub(" ", _COULD.sub("", said)))]
    wished = _WISHED.match(text.strip(" .!,")) or _WISHED.match(said)
    if wished:
        verb = base(wished["verb"].casefold(), verbs)
        return [plain(f"{verb} {wished['what']}")] if verb else []
    between = _IN_BETWEEN.match(said)
    if between:
        return [f"{between[1]} in {between[3]} {between[2]}"]
    return []


def base(stem: str, verbs: frozenset[str]) -> str:
    """Return the verb that has lost its '-ing' or '-ed': 'sett' is 'set', 'clos' is 'close'; or ''."""
    forms = [stem, f"{stem}e"]
    if len(stem) > 2 and stem[-1] == stem[-2]:  # noqa: PLR2004 - a doubled letter and one before it
        forms.append(stem[:-1])
    return next((form for form in forms if form in verbs), "")
