"""What a person was asked back with, so that the next words may choose: 'the first', '2', 'yes', 'no'.

Knows drafts and who asked; knows nothing of how a doubt arose. Bounded in time and in people, and an offer is
good for one choice of the person it was made to. Kept by this process only: after a restart it is asked anew.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_node.messages import NothingDraft
from edge_node.understand.asking import call_in_words
from edge_node.understand.values import digits
from edge_node.understand.vocabulary import keys_of
from edge_node.understand.words import clean, word_set

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_node.messages import CommandDraft, Draft, Open, Request

LASTS_S = 60.0
"""How long an offer may be taken up."""
_MOST_PEOPLE = 256
_MOST_OFFERS = 8
_LONGEST_CHOICE = 80
_PLACES = {"first": 0, "second": 1, "third": 2, "fourth": 3, "fifth": 4, "last": -1}
_YES = word_set("yes yeah yep ok okay sure right correct exactly")
_YES_PHRASES = {
    "do it",
    "go ahead",
    "yes please",
    "that one",
    "yes do it",
    "i did",
    "yes i did",
    "that's right",
}
_NO = word_set("no nope neither none cancel")
_NO_PHRASES = {"never mind", "no thanks", "none of them", "neither of them", "leave it", "forget it"}
_PLACE = re.compile(rf"(?:the )?(?P<place>{'|'.join(_PLACES)})(?: one| option)?(?: please)?")
_NUMBER = re.compile(r"(?:the )?(?:number |option |no\. ?|# ?|\()?(?P<number>[1-9])\)?(?: please)?")


@dataclass(frozen=True, slots=True)
class _Offered:
    """What one person may choose from.

    Attributes:
        drafts: The commands, in the order in which they were told.
        at: When they were told, seconds since the epoch.
    """

    drafts: tuple[CommandDraft, ...]
    at: float


class Offers:
    """The last offers to each person."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, _Offered] = OrderedDict()

    def keep(self, request: Request, draft: Draft | Open | None) -> None:
        """Remember what a reply offers; any other reply ends what was offered before."""
        if not request.user:
            return
        drafts = draft.offers[:_MOST_OFFERS] if isinstance(draft, NothingDraft) else ()
        with self._lock:
            self._kept.pop(request.user, None)
            if drafts:
                self._kept[request.user] = _Offered(drafts, request.created_at)
            while len(self._kept) > _MOST_PEOPLE:
                self._kept.popitem(last=False)

    def chosen(self, request: Request) -> CommandDraft | NothingDraft | None:
        """Return the command that the words choose, what to say where they choose none, or None.

        None where nothing was offered to who asks lately, or the words are no choice.
        """
        offered = self._open(request)
        if offered is None or len(request.text) > _LONGEST_CHOICE or "?" in request.text:
            return None
        said = clean(request.text).casefold()
        if said in _NO or said in _NO_PHRASES:
            return NothingDraft(offered[0].node, "nothing was done, as you say")
        if said in _YES or said in _YES_PHRASES:
            return offered[0] if len(offered) == 1 else which_of(offered)
        return _by_place(said, offered) or _by_value(said, offered)

    def _open(self, request: Request) -> tuple[CommandDraft, ...] | None:
        with self._lock:
            kept = self._kept.get(request.user) if request.user else None
        if kept is None or not 0 <= request.created_at - kept.at <= LASTS_S:
            return None
        own = tuple(draft for draft in kept.drafts if request.node in {"", draft.node})
        return own or None


def which_of(drafts: Sequence[CommandDraft], *, node: str | None = None, more: str = "") -> NothingDraft:
    """Return the question which of some commands is meant, which may be answered with a number or a yes.

    Args:
        drafts: The commands; at least one.
        node: Who asks; the node of the first command where left out.
        more: What is said behind the question.
    """
    calls = [call_in_words(draft.name, draft.arguments) for draft in drafts]
    numbered = (
        [f"({number}) {call}" for number, call in enumerate(calls, start=1)] if len(calls) > 1 else calls
    )
    reason = f"did you mean {' or '.join(numbered)}?{more and ' '}{more}"
    where = drafts[0].node if node is None else node
    return NothingDraft(where, reason, code="ask_back", offers=tuple(drafts))


def _by_place(said: str, offered: Sequence[CommandDraft]) -> CommandDraft | NothingDraft | None:
    place, number = _PLACE.fullmatch(said), _NUMBER.fullmatch(digits(said))
    if place is None and number is None:
        return None
    at = _PLACES[place["place"]] if place else int(number["number"]) - 1 if number else 0
    return offered[at] if at < len(offered) else which_of(offered)


def _by_value(said: str, offered: Sequence[CommandDraft]) -> CommandDraft | None:
    """Return the only command that has what was said for an argument or a name."""
    keys = keys_of(said.removeprefix("the "))
    found = [
        draft
        for draft in offered
        if keys and keys in {keys_of(str(value)) for value in (draft.name, *draft.arguments.values())}
    ]
    return found[0] if len(found) == 1 else None
