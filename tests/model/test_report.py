"""What a report of a build says, and when it counts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from edge_node.errors import ModelCorrupt
from edge_node.model.build import build_language_model
from edge_node.model.report import REPORT_FILE, measure_build, read_report

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def built(tiny_gguf: Path, tmp_path: Path) -> Path:
    build_language_model(tiny_gguf, tmp_path / "onnx", bits=8, progress=lambda _done, _total: None)
    return tmp_path / "onnx"


def test_a_report_sets_a_build_beside_float32(built: Path, tiny_gguf: Path) -> None:
    report = measure_build(built, gguf=tiny_gguf, threads=1)
    assert report.bits == 8
    # Random weights know nothing: about as much doubt as there are tokens, and 8 bits change little.
    assert report.float_perplexity > 200
    assert math.isclose(report.perplexity, report.float_perplexity, rel_tol=0.02)
    assert 0.9 < report.agreement <= 1
    assert report.size_bytes == sum(
        path.stat().st_size for path in built.iterdir() if path.name not in {REPORT_FILE, "manifest.json"}
    )
    assert report.rss_bytes > report.size_bytes
    assert read_report(built) == report
    assert {path.name for path in built.parent.iterdir()} == {"onnx"}, "float32 weights are gone"


def test_a_report_counts_only_for_the_build_it_was_made_of(built: Path, tiny_gguf: Path) -> None:
    assert read_report(built) is None
    measure_build(built, gguf=tiny_gguf, threads=1)
    report = (built / REPORT_FILE).read_bytes()
    build_language_model(tiny_gguf, built, bits=4, progress=lambda _done, _total: None)
    assert read_report(built) is None
    (built / REPORT_FILE).write_bytes(report)
    assert read_report(built) is None


def test_a_report_that_cannot_be_read_is_named(built: Path) -> None:
    (built / REPORT_FILE).write_text("{")
    with pytest.raises(ModelCorrupt, match="a report"):
        read_report(built)
