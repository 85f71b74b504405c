"""How fast this machine reads memory, which no decoder that reads all its weights for each token gets past.

Knows arrays and threads; knows nothing of models.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

_BYTES = 512 * 1024 * 1024  # far more than any cache holds
_READS = 3


class MemoryReading:
    """A large array, read by as many threads as a model runs on.

    Args:
        threads: Threads that read, each its own part.
    """

    def __init__(self, *, threads: int) -> None:
        # Of what NumPy does, the largest of whole numbers waits least for anything but memory.
        self._parts = np.array_split(np.ones(_BYTES // 8, np.int64), threads)
        self._threads = threads

    def bytes_per_s(self) -> float:
        """Return the best of a few reads, in bytes per second."""
        best_s = float("inf")
        with ThreadPoolExecutor(max_workers=self._threads) as pool:
            for _ in range(_READS):
                began_s = time.perf_counter()
                list(pool.map(np.max, self._parts))
                best_s = min(best_s, time.perf_counter() - began_s)
        return _BYTES / best_s
