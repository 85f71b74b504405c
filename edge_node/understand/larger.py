"""The larger model that a user may name: asked for an order that the tiers before did not understand.

Knows two ways of drafting and when the second may be tried; knows nothing of addresses or of HTTP. What it
writes passes the same reading and the same grounding as what the small model writes.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import structlog

from edge_node.errors import ContextExceeded, LargerModelFailed
from edge_node.messages import CommandDraft, NothingDraft, RequestKind

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from edge_node.messages import Open, Passage, Proposal, Request
    from edge_node.protocols import Attention, Drafting

log = structlog.get_logger(__name__)

# What is in doubt for these reasons, a model that reads better may still understand.
_WORTH_TRYING = {"none_fits", "ask_back", "not_understood"}
_FIRST_REST_S = 5.0
_LONGEST_REST_S = 300.0


class CircuitBreaker:
    """Keeps from asking for a while what has just failed, longer each time it fails again.

    Args:
        clock: Seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._rests_until = 0.0
        self._trouble = ""

    @property
    def trouble(self) -> str:
        """Why it failed last, or nothing where it works or was never tried."""
        with self._lock:
            return self._trouble

    @property
    def closed(self) -> bool:
        """Whether it may be tried now."""
        with self._lock:
            return self._clock() >= self._rests_until

    def failed(self, trouble: str) -> None:
        """Rest, twice as long as after the failure before."""
        with self._lock:
            rest_s = min(_LONGEST_REST_S, _FIRST_REST_S * 2.0 ** min(self._failures, 16))
            self._failures += 1
            self._rests_until = self._clock() + rest_s
            self._trouble = trouble

    def succeeded(self) -> None:
        """Go on without rest."""
        with self._lock:
            self._failures, self._rests_until, self._trouble = 0, 0.0, ""


class LargerDrafting:
    """The small model first; the larger one where the small one is in doubt. Implements `Drafting`.

    Args:
        small: Drafts with the model on this machine.
        larger: Drafts with the larger one.
        name: Which model that is and where, for the explanation.
        nodes: Nodes whose orders may go there.
        breaker: Keeps from asking while it is down.
    """

    def __init__(
        self,
        small: Drafting,
        *,
        larger: Drafting,
        name: str,
        nodes: Collection[str],
        breaker: CircuitBreaker,
    ) -> None:
        self._small = small
        self._larger = larger
        self._name = name
        self._allowed = frozenset(nodes)
        self._breaker = breaker

    @property
    def trouble(self) -> str:
        """Why the larger model cannot be had, or nothing."""
        return self._breaker.trouble

    def draft(
        self,
        request: Request,
        matter: Open,
        passages: Sequence[Passage],
        *,
        attention: Attention | None = None,
    ) -> tuple[Proposal, Mapping[str, object]]:
        """Return a draft and what the models read and wrote; raises as `Drafting.draft` does."""
        draft, record = self._small.draft(request, matter, passages, attention=attention)
        if matter.question or request.kind is not RequestKind.ASK or matter.node not in self._allowed:
            return draft, record
        if not isinstance(draft, NothingDraft) or draft.code not in _WORTH_TRYING:
            return draft, record
        if not self._breaker.closed:
            return draft, {**record, "larger_model": {"model": self._name, "skipped": self._breaker.trouble}}
        return self._second(request, matter, attention=attention, first=(draft, record))

    def _second(
        self,
        request: Request,
        matter: Open,
        *,
        attention: Attention | None,
        first: tuple[Proposal, Mapping[str, object]],
    ) -> tuple[Proposal, Mapping[str, object]]:
        draft, record = first
        try:
            second, told = self._larger.draft(request, matter, (), attention=attention)
        except LargerModelFailed as error:
            self._breaker.failed(str(error))
            log.warning("larger_model_failed", request=request.id, reason=str(error))
            return draft, {**record, "larger_model": {"model": self._name, "failed": str(error)}}
        except ContextExceeded as error:
            return draft, {**record, "larger_model": {"model": self._name, "failed": str(error)}}
        self._breaker.succeeded()
        record = {**record, "larger_model": {"model": self._name, **told}}
        # A second doubt is no better than the first: a person is asked what the small model would ask.
        return (second if isinstance(second, CommandDraft) else draft), record
