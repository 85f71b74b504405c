"""Pieces of answers as they come, to whom asked for them.

Knows envelopes and how one is published; knows nothing of how an answer is made. A piece is not kept: who is
not there misses it, and the reply that follows says all of it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from edge_node.errors import BusError

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_node.announcing import Announcing
    from edge_node.messages import Outgoing, Quotation, Request


class Streams:
    """The way of pieces to people.

    Args:
        announcing: Envelopes.
        publish: Hands a message to the broker.
    """

    def __init__(self, announcing: Announcing, *, publish: Callable[[Outgoing], None]) -> None:
        self._announcing = announcing
        self._publish = publish

    def tell(self, request: Request, quotation: Quotation, *, number: int) -> None:
        """Send a quotation to who asked, where that is wanted; without a connection it is missed."""
        if request.stream:
            with suppress(BusError):
                self._publish(self._announcing.piece(request, quotation, number=number))
