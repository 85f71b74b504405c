"""Beginnings of prompts on the disk: whole, or not at all."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import numpy as np
import pytest
from structlog.testing import capture_logs

from edge_node.model.prefixes import Prefix, PrefixCache, shared

if TYPE_CHECKING:
    from pathlib import Path

ROOM = 10**6


def prefix_of(*tokens: int, size: int = 1000) -> Prefix:
    state = np.random.default_rng(tokens).normal(size=(2, 1, size, 4)).astype(np.float16)
    return Prefix(tokens, state, proof="p" * 64)


def cache_in(folder: Path | None, *, identity: str = "tiny", room: int = ROOM) -> PrefixCache:
    return PrefixCache(folder, identity=identity, limit_bytes=room)


def written(folder: Path, *prefixes: Prefix, room: int = ROOM) -> PrefixCache:
    cache = cache_in(folder, room=room)
    for prefix in prefixes:
        cache.keep(prefix)
        cache.settle()
    return cache


def test_what_was_written_comes_back_mapped(tmp_path: Path) -> None:
    written(tmp_path, prefix_of(1, 2, 3))
    came = cache_in(tmp_path).load([1, 2, 3])
    assert came is not None
    assert came.mapped is not None
    np.testing.assert_array_equal(came.state, prefix_of(1, 2, 3).state)
    assert (came.tokens, came.proof) == ((1, 2, 3), "p" * 64)
    came.forget_pages()
    np.testing.assert_array_equal(came.state, prefix_of(1, 2, 3).state)


def test_once_written_memory_no_longer_holds_it(tmp_path: Path) -> None:
    cache = written(tmp_path, prefix_of(1, 2, 3))
    found, length = cache.longest([1, 2, 3, 4])
    assert found is not None
    assert (found.mapped is not None, length) == (True, 3)


@pytest.mark.parametrize("tokens", [(1, 2), (1, 2, 4), (1, 2, 3, 4)])
def test_other_tokens_find_nothing(tmp_path: Path, tokens: tuple[int, ...]) -> None:
    written(tmp_path, prefix_of(1, 2, 3))
    assert cache_in(tmp_path).load(tokens) is None


def test_another_model_finds_nothing(tmp_path: Path) -> None:
    written(tmp_path, prefix_of(1, 2, 3))
    assert cache_in(tmp_path, identity="other").load([1, 2, 3]) is None


@pytest.mark.parametrize("harm", ["cut", "flipped", "emptied", "header", "longer", "misnamed"])
def test_a_file_that_is_not_whole_is_removed_and_told(tmp_path: Path, harm: str) -> None:
    written(tmp_path, prefix_of(1, 2, 3))
    (file,) = tmp_path.iterdir()
    content = file.read_bytes()
    middle = len(content) // 2 + 20_000
    file.write_bytes(
        {
            "cut": content[:-7],
            "flipped": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
            "emptied": b"",
            "header": b"[1, 2]".ljust(200) + content[200:],
            "longer": content + b"\0",
            "misnamed": content.replace(b"[1, 2, 3]", b"[1, 2, 4]"),
        }[harm]
    )
    with capture_logs() as entries:
        assert cache_in(tmp_path).load([1, 2, 3]) is None
    assert [entry["event"] for entry in entries] == ["prefix_dropped"]
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_no_file_and_the_beginning_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    with capture_logs() as entries:
        cache = written(tmp_path, prefix_of(1, 2, 3))
    assert [entry["event"] for entry in entries] == ["prefix_not_saved"]
    assert list(tmp_path.iterdir()) == []
    assert cache.longest([1, 2, 3])[1] == 3


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with capture_logs() as entries:
        cache = written(tmp_path / "taken", prefix_of(1, 2, 3))
    assert [entry["event"] for entry in entries] == ["prefix_not_saved"]
    assert cache.longest([1, 2, 3])[1] == 3


def test_what_was_not_used_for_longest_makes_room(tmp_path: Path) -> None:
    room = 3 * prefix_of(1).state.nbytes
    cache = written(tmp_path, prefix_of(1, 9), prefix_of(2, 9), prefix_of(3, 9), room=room)
    assert cache.longest([1, 9])[1] == 2
    cache.keep(prefix_of(4, 9))
    cache.settle()
    assert [cache.longest([first, 9])[1] for first in (1, 2, 3, 4)] == [2, 0, 2, 2]


def test_the_folder_stays_within_its_limit(tmp_path: Path) -> None:
    room = 300_000
    written(tmp_path, *(prefix_of(number, size=4000) for number in range(12)), room=room)
    assert 0 < sum(file.stat().st_size for file in tmp_path.iterdir()) <= room + 2 * 64 * 1024


def test_what_is_larger_than_the_limit_is_not_kept(tmp_path: Path) -> None:
    cache = written(tmp_path, prefix_of(1, 2), room=100)
    assert cache.longest([1, 2]) == (None, 0)
    assert list(tmp_path.iterdir()) == []


def test_the_beginning_that_shares_most_is_found(tmp_path: Path) -> None:
    cache = written(tmp_path, prefix_of(1, 2, 3), prefix_of(1, 2, 7, 8))
    found, length = cache.longest([1, 2, 7, 9])
    assert found is not None
    assert (found.tokens, length) == ((1, 2, 7, 8), 3)
    assert cache.longest([5]) == (None, 0)


def test_without_a_folder_memory_holds_it() -> None:
    cache = cache_in(None)
    cache.keep(prefix_of(1, 2))
    cache.settle()
    assert cache.longest([1, 2])[1] == 2
    assert cache.load([1, 2]) is None
    cache.drop([1, 2])
    assert cache.longest([1, 2]) == (None, 0)


def test_shared_counts_up_to_the_first_difference() -> None:
    assert [shared([1, 2, 3], other) for other in ([], [2], [1, 3], [1, 2, 3, 4])] == [0, 0, 1, 3]
