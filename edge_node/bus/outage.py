"""What is said about a broker that cannot be reached: once, and again each minute.

Knows the log; knows nothing of connections.
"""

from __future__ import annotations

import time

import structlog

_AGAIN_S = 60.0

_log = structlog.get_logger(__name__)


class Outage:
    """The time without a connection, told without flooding the log.

    Attributes:
        address: Host and port of the broker.
        reason: Why the last attempt failed; empty while there is a connection.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.reason = ""
        self._began_s = time.monotonic()
        self._said_s: float | None = None
        self._attempts = 0

    def failed(self, reason: str, *, lost: bool) -> None:
        """Take up a failed attempt, or with `lost` the end of a connection."""
        now_s = time.monotonic()
        self.reason = reason
        if lost:
            self._began_s, self._said_s, self._attempts = now_s, None, 0
        self._attempts += 1
        if self._said_s is None or now_s - self._said_s >= _AGAIN_S:
            self._said_s = now_s
            _log.warning(
                "broker_lost" if lost else "broker_unreachable",
                broker=self.address,
                reason=reason,
                attempts=self._attempts,
                outage_s=round(now_s - self._began_s, 1),
            )

    def over(self, *, session_present: bool, protocol: str) -> None:
        """Take up that there is a connection."""
        self.reason = ""
        _log.info(
            "broker_connected",
            broker=self.address,
            protocol=protocol,
            session_present=session_present,
            outage_s=round(time.monotonic() - self._began_s, 1),
        )
        self._said_s = None
