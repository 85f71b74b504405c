"""Work that other threads leave for a thread which sleeps in `poll`.

Knows threads and sockets; knows nothing of what the work is.
"""

from __future__ import annotations

import contextlib
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
                self._jobs.append(job)
                # A full buffer means that the thread is called already.
                with contextlib.suppress(BlockingIOError):
                    self._bell.send(b"\0")
            return self._open

    def run_all(self) -> None:
        """Do the jobs that are there; on the thread that polls."""
        with self._lock:
            jobs, self._jobs = self._jobs, deque()
            with contextlib.suppress(BlockingIOError):
                while self._ear.recv(4096):
                    pass
        for job in jobs:
            job()

    def close(self) -> None:
        """Take no more jobs and forget those that are there."""
        with self._lock:
            self._open = False
            self._jobs.clear()
            self._ear.close()
            self._bell.close()
