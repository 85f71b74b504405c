"""What each person was last understood to have ordered, for a while.

Knows drafts and who asked; knows nothing of words. Bounded in time and in people; nobody's order is ever
told to another.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_node.messages import CommandDraft, Request

LASTS_S = 120.0
"""How long after an order words such as 'it' may still mean what it was about."""
_MOST_PEOPLE = 256


@dataclass(frozen=True, slots=True)
class Exchange:
    """What a person ordered last.

    Attributes:
        request: Identifier of the request.
        draft: The last command that it led to.
        devices: All devices that its commands are for.
        at: When, seconds since the epoch.
    """

    request: str
    draft: CommandDraft
    devices: tuple[str, ...]
    at: float


class Recent:
    """The last exchange with each person."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Exchange] = OrderedDict()

    def last(self, request: Request) -> Exchange | None:
        """Return what who asks ordered last, if that is not too long ago."""
        with self._lock:
            kept = self._kept.get(request.user) if request.user else None
        if kept is None or not 0 <= request.created_at - kept.at <= LASTS_S:
            return None
        return None if request.node and request.node != kept.draft.node else kept

    def keep(self, request: Request, draft: CommandDraft, devices: tuple[str, ...]) -> None:
        """Remember what a request was understood as; of several orders in one sentence, all devices."""
        if not request.user:
            return
        now = Exchange(request.message_id or request.id, draft, devices, request.created_at)
        with self._lock:
            before = self._kept.pop(request.user, None)
            if before is not None and before.request == now.request:
                now = replace(now, devices=tuple(dict.fromkeys((*before.devices, *devices))))
            self._kept[request.user] = now
            while len(self._kept) > _MOST_PEOPLE:
                self._kept.popitem(last=False)

    def forget(self, request: Request) -> None:
        """Forget what who asks ordered, as when something else was spoken of since."""
        with self._lock:
            self._kept.pop(request.user, None)
