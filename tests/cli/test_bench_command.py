from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from click.testing import CliRunner

from edge_node.cli import edge_node
from edge_node.errors import Unavailable
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
