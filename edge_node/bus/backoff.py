"""How long to wait before the next attempt; knows nothing of what is attempted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(slots=True)
class Backoff:
    """Exponential back-off with full jitter, so that many edges do not come back at the same moment.

    Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.

    Attributes:
        random: Gives numbers from 0 up to 1.
        first_s: Longest wait after the first failure.
        longest_s: Longest wait at all.
        failures: Failures in a row.
    """

    random: Callable[[], float]
    first_s: float = 0.5
    longest_s: float = 30.0
    failures: int = 0

    def failed(self) -> float:
        """Return how many seconds to wait after one more failure."""
        # The exponent is bounded because a broker may be away for weeks.
        longest_s = min(self.longest_s, self.first_s * 2.0 ** min(self.failures, 32))
        self.failures += 1
        return self.random() * longest_s

    def succeeded(self) -> None:
        """Start again with short waits."""
        self.failures = 0
