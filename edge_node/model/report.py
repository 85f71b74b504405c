"""What a build is worth: size, memory, speed, and how much was lost against float32.

Knows how a build is measured and how a report is kept; knows nothing of how weights were made small.
"""

from __future__ import annotations

import math
import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from edge_node.config.shipped import shipped_folder
from edge_node.errors import ModelCorrupt, ModelError
from edge_node.model.manifest import GRAPH_FILE, read_manifest
from edge_node.model.scheme import FLOAT
from edge_node.model.tokens import TOKENIZER_FILE, load_tokenizer

if TYPE_CHECKING:
    from collections.abc import Sequence

REPORT_FILE = "report.json"
_TOKENS = 512
_AT_ONCE = 32
_WRITTEN = 32
_KIB = 1024


class BuildReport(BaseModel):
    """What was measured of one build.

    Attributes:
        model: Hash over everything that the build is, in hexadecimal.
        bits: What was asked for; None for the default, which is 8.
        size_bytes: Graph, weights and tokenizer on disk.
        rss_bytes: Most memory that a process had that loaded it and read the text.
        tokens_per_s: Tokens written in a second, one after the other.
        read_per_s: Tokens of the text read in a second.
        perplexity: Over the text; lower is better.
        float_perplexity: The same with all weights in float32.
        agreement: Share of the text's positions where the likeliest token is that of float32.
        tokens: Tokens of the text.
        threads: Threads that it ran on.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    bits: int | None
    size_bytes: int
    rss_bytes: int
    tokens_per_s: float
    read_per_s: float
    perplexity: float
    float_perplexity: float
    agreement: float
    tokens: int
    threads: int


class _Reading(BaseModel):
    """What one process found out about one build.

    Attributes:
        loss: Mean negative logarithm of the probability of the token that follows.
        likeliest: Token that each position foretells.
        read_s: Time that reading took.
        written_s: Time that writing took.
        rss_bytes: Most memory that the process had.
    """

    loss: float
    likeliest: list[int]
    read_s: float
    written_s: float
    rss_bytes: int


def measure_build(folder: Path, *, gguf: Path, threads: int) -> BuildReport:
    """Measure a build against float32 over the manuals that come along, and keep the report in its folder.

    Each of both runs in a process of its own. The weights in float32 lie on disk meanwhile.

    Args:
        folder: The build.
        gguf: What it was built from.
        threads: Threads for one run.

    Raises:
        ModelError: It cannot be run.
    """
    manifest = read_manifest(folder)
    text = "\n".join(
        path.read_text(encoding="utf-8") for path in sorted(shipped_folder("nodes").rglob("*.md"))
    )
    tokens = load_tokenizer(folder / TOKENIZER_FILE).encode(text, add_special_tokens=False).ids
    limit = _TOKENS if manifest.decoder is None else min(_TOKENS, manifest.decoder.context - _WRITTEN)
    tokens = tokens[:limit]
    built = _apart(folder, tokens=tokens, threads=threads)
    with tempfile.TemporaryDirectory(prefix=".float-", dir=folder.parent) as scratch:
        _write_float(gguf, Path(scratch))
        exact = _apart(Path(scratch), tokens=tokens, threads=threads)
    report = BuildReport(
        model=manifest.digest,
        bits=manifest.decoder.bits if manifest.decoder else None,
        size_bytes=sum(file.size for file in manifest.files.values()),
        rss_bytes=built.rss_bytes,
        tokens_per_s=round(_WRITTEN / built.written_s, 1),
        read_per_s=round(len(tokens) / built.read_s, 1),
        perplexity=round(math.exp(built.loss), 4),
        float_perplexity=round(math.exp(exact.loss), 4),
        agreement=round(float(np.mean(np.equal(built.likeliest, exact.likeliest))), 4),
        tokens=len(tokens),
        threads=threads,
    )
    (folder / REPORT_FILE).write_text(report.model_dump_json(indent=2), encoding="utf-8")
    return report


def read_report(folder: Path) -> BuildReport | None:
    """Return the report of the build in a folder; None where it was not measured, or built anew since.

    Raises:
        ModelCorrupt: The report cannot be read.
    """
    path = folder / REPORT_FILE
    if not path.is_file():
        return None
    try:
        report = BuildReport.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ModelCorrupt(path, expected="a report", came=error.errors()[0]["msg"]) from error
    return report if report.model == read_manifest(folder).digest else None


def _write_float(gguf: Path, folder: Path) -> None:
    # As in build.py: the libraries that build are not wanted where only a report is read.
    from edge_node.model.gguf_file import GgufFile  # noqa: PLC0415
    from edge_node.model.graph import build_graph  # noqa: PLC0415

    build_graph(GgufFile.open(gguf), folder, scheme=FLOAT, progress=lambda _done, _total: None)


def _apart(folder: Path, *, tokens: Sequence[int], threads: int) -> _Reading:
    """Read the text in a fresh process, whose memory is that of the model alone."""
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=fresh) as pool:
        try:
            return pool.submit(_read, folder / GRAPH_FILE, list(tokens), threads).result()
        except BrokenProcessPool as error:
            raise ModelError(
                f"model {folder}: expected to be measured, came the end of the process; is memory short?"
            ) from error


def _read(path: Path, tokens: list[int], threads: int) -> _Reading:
    # Whoever only reads a report does without what runs models.
    from edge_node.model.session import open_kv_session  # noqa: PLC0415

    session = open_kv_session(path, threads=threads, length=len(tokens) + _WRITTEN)
    given = np.array(tokens, np.int64)
    loss, likeliest = 0.0, []
    started = time.perf_counter()
    token = int(session.run(given, position=0)[-1].argmax())
    read_s = time.perf_counter() - started
    started = time.perf_counter()
    for place in range(_WRITTEN):
        token = int(session.run(np.array([token]), position=len(given) + place)[-1].argmax())
    written_s = time.perf_counter() - started
    rss_bytes = _most_memory()
    for start in range(0, len(given), _AT_ONCE):
        piece = given[start : start + _AT_ONCE]
        logits = session.run(piece, position=start, last=len(piece)).astype(np.float64)
        likeliest += logits.argmax(axis=1).tolist()
        following = given[start + 1 : start + 1 + len(piece)]
        highest = logits.max(axis=1)
        sums = np.log(np.exp(logits - highest[:, np.newaxis]).sum(axis=1)) + highest
        count = len(following)  # nothing follows the last token
        loss += float((sums[:count] - logits[np.arange(count), following]).sum())
    loss /= len(given) - 1
    return _Reading(loss=loss, likeliest=likeliest, read_s=read_s, written_s=written_s, rss_bytes=rss_bytes)


def _most_memory() -> int:
    """Return the most memory that this process has had, in bytes.

    Source: proc(5), VmHWM. What `getrusage` tells goes on from the process that started this one.
    """
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * _KIB
