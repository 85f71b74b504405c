"""What a number depends on: the machine that it was measured on.

Knows the operating system; knows nothing of what is measured.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from pathlib import Path
from typing import Any

_SYNCS = 50
_PAGE_BYTES = 4096
_KIB = 1024


def machine(folder: Path) -> dict[str, Any]:
    """Return cores, processor architecture, version of Python, and how long the disk under `folder` takes."""
    return {
        "cores": os.cpu_count() or 1,
        "machine": platform.machine(),
        "python": platform.python_version(),
        "disk_sync_ms": round(_sync_ms(folder), 2),
    }


def peak_rss_mb() -> float:
    """Return the most memory that this process has had, in MB.

    Source: proc(5), VmHWM. What `getrusage` tells goes on from the process that started this one.
    """
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * _KIB / 1e6


def _sync_ms(folder: Path) -> float:
    """Return the median time until a written page is on the disk."""
    spent_ms = []
    file = folder / "sync"
    with file.open("wb", buffering=0) as out:
        for _ in range(_SYNCS):
            out.write(bytes(_PAGE_BYTES))
            began_s = time.perf_counter()
            os.fsync(out.fileno())
            spent_ms.append((time.perf_counter() - began_s) * 1000)
    file.unlink()
    return statistics.median(spent_ms)
