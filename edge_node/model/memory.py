"""Giving memory back to the system, and taking it only where it is used.

Knows Linux and the C library; knows nothing of models. Where the system offers no such thing, nothing is
done: it saves memory and changes no result.
"""

from __future__ import annotations

import ctypes
import mmap
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import DTypeLike, NDArray

_MAPPINGS = Path("/proc/self/smaps")
_RANGE = re.compile(r"([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \S+\s*(.*)")


def zeros(shape: tuple[int, ...], kind: DTypeLike) -> NDArray[np.generic]:
    """Return zeros that take memory a small page at a time, once they are written.

    NumPy asks for huge pages, of which a few writes here and there would take all that was reserved.
    """
    dtype, count = np.dtype(kind), int(np.prod(shape))
    buffer = mmap.mmap(-1, max(1, count * dtype.itemsize), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        buffer.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(buffer, dtype, count=count).reshape(shape)


def trim_heap() -> None:
    """Return to the system what was freed; glibc would keep it. Other allocators decide for themselves."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def forget(ranges: Iterable[tuple[int, int]]) -> None:
    """Return the pages of ranges that `mapped_ranges` found to the system; needed ones are mapped again."""
    library = ctypes.CDLL(None)
    for start, end in ranges:
        library.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), mmap.MADV_DONTNEED)


def mapped_ranges(path: Path) -> list[tuple[int, int]]:
    """Return where a file lies in memory, ranges of which something was written left out.

    Source: the manual of proc(5), /proc/pid/smaps.
    """
    return list(_clean_ranges(path))


def _clean_ranges(path: Path) -> Iterator[tuple[int, int]]:
    try:
        lines = _MAPPINGS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    place: tuple[int, int] | None = None
    for line in lines:
        if found := _RANGE.fullmatch(line):
            is_file = found[3] == str(path.resolve())
            place = (int(found[1], 16), int(found[2], 16)) if is_file else None
        elif place and line.split()[:2] == ["Anonymous:", "0"]:
            yield place
