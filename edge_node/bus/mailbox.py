"""Work that other threads leave for a thread which sleeps in `poll`.

Knows threads and sockets; knows nothing of what the work is.
"""

from __future__ import annotations

import socket
import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Mailbox:
    """Jobs in the order they came, and a file number that becomes readable when there is one."""

    def __init__(self) -> None:
        self._jobs: deque[Callable[[], object]] = deque()
        self._lock = threading.Lock()
        self._open = True
        self._ear, self._bell = socket.socketpair()
        self._ear.settimeout(0)
        self._bell.settimeout(0)

    def fileno(self) -> int:
        """Return what to poll."""
        return self._ear.fileno()

    def put(self, job: Callable[[], object]) -> bool:
        """Leave a job; return False where nobody will do it any more."""
        with self._lock:
            if self._open:
                if not self._jobs:
                    # One ring is enough for all jobs that are there when the thread comes.
                    self._bell.send(b"\0")
                self._jobs.append(job)
            return self._open

    def run_all(self) -> None:
        """Do the jobs that are there; on the thread that polls."""
        with self._lock:
            if not self._jobs:
                return
            jobs, self._jobs = self._jobs, deque()
            self._ear.recv(1)
        for job in jobs:
            job()

    def close(self) -> None:
        """Take no more jobs and forget those that are there."""
        with self._lock:
            self._open = False
            self._jobs.clear()
            self._ear.close()
            self._bell.close()
