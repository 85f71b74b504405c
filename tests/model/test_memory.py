"""Memory that is taken only where it is used, and given back."""

from __future__ import annotations

import mmap
from pathlib import Path
from sys import platform

import numpy as np
import pytest

from edge_node.model.memory import forget, mapped_ranges, trim_heap, zeros

linux = pytest.mark.skipif(not platform.startswith("linux"), reason="reads /proc")


def resident_bytes(of: str = "VmRSS") -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(of)) * 1024


@linux
def test_zeros_take_memory_where_they_are_written_only() -> None:
    before = resident_bytes()
    array = zeros((64, 1024, 1024), np.float16)
    array[:, 0, 0] = 1
    assert resident_bytes() - before < 16 * 2**20
    assert float(array.sum(dtype=np.float64)) == 64.0


def test_zeros_have_the_shape_and_type_asked_for() -> None:
    assert (zeros((2, 0, 3), np.int8).shape, zeros((2, 3), np.float32).dtype) == ((2, 0, 3), np.float32)


@linux
def test_pages_of_a_mapped_file_are_given_back_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(bytes(range(256)) * (64 * 2**12))
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    values = np.frombuffer(mapped, np.uint8)
    total = int(values.sum(dtype=np.int64))
    full = resident_bytes("RssFile")
    forget(mapped_ranges(path))
    assert full - resident_bytes("RssFile") > values.nbytes // 2
    assert int(values.sum(dtype=np.int64)) == total


@linux
def test_what_was_written_to_a_private_mapping_stays(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(bytes(2**16))
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    mapped[5:9] = b"kept"
    forget(mapped_ranges(path))
    assert mapped[5:9] == b"kept"


def test_trimming_twice_does_no_harm() -> None:
    trim_heap()
    trim_heap()
