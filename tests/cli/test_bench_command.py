from __future__ import annotations

import importlib.util
import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from click.testing import CliRunner

from edge_node.bench.engine import check_installed
from edge_node.bench.engine_process import EngineProcess
from edge_node.cli import edge_node
from edge_node.errors import ModelError, Unavailable
from tests.brokers import require_mosquitto

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.mark.broker
@pytest.mark.models
def test_the_bus_side_is_measured_beside_a_bare_client(tmp_path: Path) -> None:
    require_mosquitto()
    command = ["bench", "bus", "--rounds", "1", "--seconds", "0.5", "--stops", "3", "--json"]

    result = CliRunner().invoke(edge_node, [*command, "--folder", str(tmp_path / "disk")])

    assert result.exit_code == 0, result.output
    measured: dict[str, Any] = json.loads(result.stdout)
    for kind in ("durable", "telemetry"):
        assert 0 < measured[f"{kind}_per_s"] < measured[f"bare_{kind}_per_s"] * 2
        expected = measured[f"{kind}_per_s"] / measured[f"bare_{kind}_per_s"]
        assert measured[f"{kind}_ratio"] == pytest.approx(expected, abs=0.01)
    assert measured["lost"] == 0
    assert measured["disk_bytes_journaled"] > 200
    assert measured["disk_bytes_telemetry"] == 0
    assert 0 < measured["stop_p99_ms"] <= measured["stop_told_p99_ms"] < 10_000
    assert {"cores", "python", "disk_sync_ms"} <= measured.keys()
    assert measured["broker"].startswith("mosquitto version")
    assert list((tmp_path / "disk").iterdir()) == []


def test_without_mosquitto_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)

    with pytest.raises(Unavailable, match="mosquitto is not installed") as caught:
        CliRunner().invoke(edge_node, ["bench", "bus"], catch_exceptions=False)

    assert caught.value.hint == "apt install mosquitto"


@pytest.mark.models
def test_the_index_is_measured_as_it_is_built_changed_and_searched() -> None:
    command = ["bench", "knowledge", "--manuals", "3", "--queries", "4", "--json"]

    result = CliRunner().invoke(edge_node, command)

    assert result.exit_code == 0, result.output
    measured: dict[str, Any] = json.loads(result.stdout)
    assert (measured["files"], measured["passages"]) == (3, 30)
    assert measured["passages_per_s"] == pytest.approx(30 / measured["build_s"], rel=0.2)
    assert 0 < measured["unchanged_ms"] < measured["changed_ms"]
    assert min(measured[name] for name in ("line_ms", "open_ms", "index_mb", "peak_rss_mb")) > 0
    assert 0 < measured["search_ms"]["p50"] <= measured["search_ms"]["p95"]
    assert {"cores", "python", "disk_sync_ms"} <= measured.keys()


@pytest.mark.models
def test_the_engine_is_measured_without_any_other() -> None:
    result = CliRunner().invoke(
        edge_node, ["bench", "engine", "--rounds", "1", "--context", "1024", "--json"]
    )

    assert result.exit_code == 0, result.output
    measured: dict[str, Any] = json.loads(result.stdout)
    own = measured["medians"]["edge-node"]
    for kind in ("prefill", "decode", "command", "quote"):
        assert measured[f"{kind}_ratio"] is None
        assert min(value for key, value in own.items() if key.startswith(kind)) > 0
    assert measured["peer_rss_mb"] is None
    assert measured["peer_reason"] == "no peer was named; --peer llama.cpp"
    assert measured["warm_prefix_ratio"] == pytest.approx(
        own["cold_first_token_s"] / own["warm_first_token_s"], rel=0.05
    )
    assert measured["restored_prefix_ratio"] > 1
    assert measured["rss_mb"] == pytest.approx(own["peak_rss_mb"], abs=0.1)
    assert measured["load_s"] > 0
    assert 0 < measured["bandwidth_share"] < 1
    assert own["command_tokens"] > 15
    assert own["quote_tokens"] > 50


@pytest.mark.parametrize(
    ("peer", "said"),
    [
        ("llama.cpp", r"llama-cpp-python, which runs llama\.cpp, is not"),
        ("onnxruntime-genai", r"^onnxruntime-genai is not installed"),
    ],
)
def test_a_peer_that_is_not_installed_is_named_with_what_brings_it(
    peer: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)

    with pytest.raises(Unavailable, match=said) as caught:
        check_installed(peer)

    assert caught.value.hint == "pip install 'edge-node[peers]'"


def test_an_engine_that_does_not_start_ends_the_measurement(tmp_path: Path) -> None:
    settings = {"folder": str(tmp_path), "threads": 1, "context": 64, "prefixes": str(tmp_path)}

    with pytest.raises(ModelError, match="came the end of its process"):
        EngineProcess("edge_node.bench.engine_own", settings=settings)
