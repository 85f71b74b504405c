"""What was read of prompts' beginnings, kept in memory and on the disk.

Knows tokens, arrays and files; knows nothing of models, chats or what an array means. A file is written
aside, synchronised and renamed, and is believed only where its checksum holds; it is mapped, not read.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import tempfile
import threading
import zlib
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import structlog

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_log = structlog.get_logger(__name__)

_SUFFIX = ".prefix"
_IN_MEMORY_BYTES = 64 * 1024 * 1024  # without a disk, or until it is written
_HEADER_BYTES = 64 * 1024  # a multiple of every page size, so that what follows can be mapped


@dataclass(frozen=True, slots=True)
class Prefix:
    """What was read of one beginning.

    Attributes:
        tokens: The beginning.
        state: What the model keeps of it, any shape and type.
        proof: Hash of what the model made of it when it was read; to be compared after a restart.
        mapped: The file that holds `state`; None where memory does.
    """

    tokens: tuple[int, ...]
    state: NDArray[Any]
    proof: str
    mapped: mmap.mmap | None = None

    def forget_pages(self) -> None:
        """Let the system take back the memory that looking at a mapped state has filled."""
        if self.mapped is not None:
            self.mapped.madvise(mmap.MADV_DONTNEED)


class PrefixCache:
    """Beginnings of prompts by their tokens; the ones not used for longest make room.

    Args:
        folder: Where to keep them over restarts; None keeps them in memory alone.
        identity: What a state depends on besides its tokens: model, runtime and layout.
        limit_bytes: Bytes that all states may take, in memory and again on the disk.
    """

    def __init__(self, folder: Path | None, *, identity: str, limit_bytes: int) -> None:
        self._folder = folder
        self._identity = identity
        self._limit_bytes = limit_bytes
        self._kept: OrderedDict[tuple[int, ...], Prefix] = OrderedDict()
        self._lock = threading.Lock()
        self._writers: list[threading.Thread] = []

    def longest(self, tokens: Sequence[int]) -> tuple[Prefix | None, int]:
        """Return the kept beginning that shares most with a text, and how many tokens they share."""
        with self._lock:
            lengths = {key: shared(key, tokens) for key in self._kept}
            best = max(lengths, key=lengths.__getitem__, default=None)
            if best is None or not lengths[best]:
                return None, 0
            self._kept.move_to_end(best)
            return self._kept[best], lengths[best]

    def load(self, tokens: Sequence[int]) -> Prefix | None:
        """Return a beginning from the disk, or None; a file that is not whole is removed and told."""
        if self._folder is None:
            return None
        path = self._path(self._folder, tokens)
        try:
            prefix = _read(path, tokens=tuple(tokens), identity=self._identity)
        except FileNotFoundError:
            return None
        except (OSError, TypeError, ValueError) as error:  # a header may hold anything
            _log.warning("prefix_dropped", file=str(path), reason=str(error))
            _remove(path)
            return None
        with suppress(OSError):
            os.utime(path)
        self._put(prefix)
        return prefix

    def keep(self, prefix: Prefix) -> None:
        """Keep a beginning, and write it to the disk on a thread of its own."""
        if prefix.state.nbytes > self._limit_bytes:
            return
        self._put(prefix)
        if self._folder is None:
            return
        self._writers = [writer for writer in self._writers if writer.is_alive()]
        writer = threading.Thread(target=self._save, args=(prefix, self._folder), name="prefix-writer")
        self._writers.append(writer)
        writer.start()

    def drop(self, tokens: Sequence[int]) -> None:
        """Forget a beginning, on the disk as well."""
        with self._lock:
            self._kept.pop(tuple(tokens), None)
        if self._folder is not None:
            _remove(self._path(self._folder, tokens))

    def settle(self) -> None:
        """Return once everything is written."""
        for writer in self._writers:
            writer.join()

    def _put(self, prefix: Prefix) -> None:
        with self._lock:
            self._kept[prefix.tokens] = prefix
            self._kept.move_to_end(prefix.tokens)
            self._evict(list(self._kept.values()), limit_bytes=self._limit_bytes)
            in_memory = [kept for kept in self._kept.values() if kept.mapped is None]
            self._evict(in_memory, limit_bytes=_IN_MEMORY_BYTES)

    def _evict(self, oldest_first: Sequence[Prefix], *, limit_bytes: int) -> None:
        taken = sum(prefix.state.nbytes for prefix in oldest_first)
        for prefix in oldest_first:
            if taken <= limit_bytes:
                break
            del self._kept[prefix.tokens]
            taken -= prefix.state.nbytes

    def _save(self, prefix: Prefix, folder: Path) -> None:
        path = self._path(folder, prefix.tokens)
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._make_room(folder, size=prefix.state.nbytes + _HEADER_BYTES)
            _write(path, prefix, identity=self._identity)
            mapped = _read(path, tokens=prefix.tokens, identity=self._identity)
        except (OSError, ValueError) as error:
            _log.warning("prefix_not_saved", file=str(path), reason=str(error))
            return
        with self._lock:
            if prefix.tokens in self._kept:
                # The disk's own cache holds it from here on; the process does not.
                self._kept[prefix.tokens] = mapped

    def _make_room(self, folder: Path, *, size: int) -> None:
        """Remove the files that were not used for longest, those of other models and torn ones too."""
        files = sorted((file.stat().st_mtime, file.stat().st_size, file) for file in folder.iterdir())
        taken = sum(length for _, length, _ in files)
        for _, length, file in files:
            if taken + size <= self._limit_bytes + _HEADER_BYTES:
                break
            file.unlink(missing_ok=True)
            taken -= length

    def _path(self, folder: Path, tokens: Sequence[int]) -> Path:
        text = f"{self._identity}\n{','.join(map(str, tokens))}"
        return folder / f"{hashlib.sha256(text.encode()).hexdigest()[:40]}{_SUFFIX}"


def shared(left: Sequence[int], right: Sequence[int]) -> int:
    """Return how many tokens both begin with."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(left, right, strict=False)))


def _write(path: Path, prefix: Prefix, *, identity: str) -> None:
    """Write a file that appears whole or not at all."""
    values = np.ascontiguousarray(prefix.state)
    header = {
        "identity": identity,
        "tokens": prefix.tokens,
        "proof": prefix.proof,
        "type": values.dtype.str,
        "shape": values.shape,
        "crc32": zlib.crc32(values.data),
    }
    line = json.dumps(header).encode()
    if len(line) > _HEADER_BYTES:
        raise ValueError(f"expected a header of {_HEADER_BYTES} bytes at most, came {len(line)}")
    handle, aside = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(line.ljust(_HEADER_BYTES))
            file.write(values.data)
            file.flush()
            os.fsync(file.fileno())
        Path(aside).rename(path)
    except OSError:
        _remove(Path(aside))
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _read(path: Path, *, tokens: tuple[int, ...], identity: str) -> Prefix:
    """Return what a file holds, mapped.

    Raises:
        OSError: It cannot be read.
        ValueError: It is not whole, or holds something else.
    """
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    header = _header(mapped[:_HEADER_BYTES])
    if (header["identity"], tuple(header["tokens"])) != (identity, tokens):
        raise ValueError("expected the beginning it is named after, came another")
    kind, shape = np.dtype(header["type"]), tuple(header["shape"])
    if len(mapped) != _HEADER_BYTES + kind.itemsize * int(np.prod(shape)):
        raise ValueError(f"expected {shape} of {kind}, came {len(mapped) - _HEADER_BYTES} bytes")
    state = np.frombuffer(mapped, kind, offset=_HEADER_BYTES).reshape(shape)
    if zlib.crc32(state.data) != header["crc32"]:
        raise ValueError("expected the checksum it was written with, came another")
    prefix = Prefix(tokens, state, str(header["proof"]), mapped)
    prefix.forget_pages()
    return prefix


def _header(line: bytes) -> dict[str, Any]:
    try:
        header = json.loads(line)
    except ValueError as error:
        raise ValueError("expected a header, came something else") from error
    expected = {"identity", "tokens", "proof", "type", "shape", "crc32"}
    if not isinstance(header, dict) or header.keys() != expected:
        raise ValueError("expected a header, came something else")
    return header


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)
