"""One service for one state folder.

Knows a file and the kernel's lock on it; knows nothing of what else lies in the folder. The kernel gives
the lock back when the process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from edge_node.errors import ConfigurationError, StateInUse

if TYPE_CHECKING:
    from pathlib import Path

_NAME = "lock"


def in_use(folder: Path) -> bool:
    """Return whether a service runs on a state folder now, as far as this user may know."""
    try:
        descriptor = os.open(folder / _NAME, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


class StateLock:
    """The right to use a state folder, held until `release` or the end of the process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, folder: Path) -> StateLock:
        """Return the lock of a folder, which is made where it is missing.

        Raises:
            StateInUse: Another service has it; its process is named.
            ConfigurationError: The folder cannot be made or written.
        """
        path = folder / _NAME
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as problem:
            raise ConfigurationError(
                f"state: expected a folder that can be written, came {problem}",
                hint="name another one with `state`, or let this user write there",
                field="state",
            ) from problem
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as problem:
            holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise StateInUse(folder, holder=f"process {holder}" if holder else "another process") from problem
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return cls(descriptor)

    def release(self) -> None:
        """Let another service use the folder."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
