"""Progress of long work as log lines, for a service that nobody watches."""

from __future__ import annotations

import structlog

log = structlog.get_logger(__name__)


class LoggedProgress:
    """A log line when a piece of work begins, and one when it ends."""

    def __init__(self) -> None:
        self._label = ""
        self._total = 0
        self._done = 0

    def start(self, label: str, total: int) -> None:
        """Log that work of `total` bytes or steps begins."""
        self._label, self._total, self._done = label, total, 0
        log.info("work_begins", work=label, total=total)

    def advance(self, done: int) -> None:
        """Remember how far it is."""
        self._done = done

    def finish(self) -> None:
        """Log how far it came."""
        log.info("work_ends", work=self._label, done=self._done, total=self._total)

    def note(self, text: str) -> None:
        """Log what a person should know."""
        log.warning("work", note=text)
