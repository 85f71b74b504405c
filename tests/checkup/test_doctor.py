from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from edge_node.checkup import Level, machine
from edge_node.checkup import broker as broker_checks
from edge_node.checkup.broker import check_broker
from edge_node.checkup.edge import check_journal, check_state, check_stop
from edge_node.checkup.machine import check_clock, check_memory, check_packages, check_python
from edge_node.cli import edge_node
from edge_node.config.models import RuntimeConfig
from edge_node.runtime.state_lock import StateLock
from edge_node.stop import StopFile
from edge_node.stop.record import StopRecord
from tests.brokers import Mosquitto, free_port, mosquitto
from tests.runtime.hall import Hall

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    with mosquitto(tmp_path_factory.mktemp("broker")) as made:
        yield made


def runtime(port: int, **more: Any) -> RuntimeConfig:
    return RuntimeConfig.model_validate({"edge_node": 1, "edge": "hall", "broker": {"port": port}, **more})


def levels(port: int) -> dict[str, Level]:
    return {each.name: each.level for each in check_broker(runtime(port))}


@pytest.mark.broker
def test_a_broker_that_lets_in_answers_and_keeps_is_well(
    served: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_checks, "_FOLDER", tmp_path)
    settings = tmp_path / "mosquitto.conf"

    settings.write_text("persistence true\nautosave_on_changes true\nautosave_interval 1\n")
    assert levels(served.port) == {"broker": Level.OK, "sessions": Level.OK, "persistence": Level.OK}
    settings.write_text("persistence true\n# autosave_on_changes true\n")
    found = {each.name: each for each in check_broker(runtime(served.port))}
    assert found["persistence"].level is Level.WARN
    assert "autosave_on_changes true, autosave_interval 1" in found["persistence"].text


@pytest.mark.broker
def test_a_broker_that_gives_this_edge_nothing_to_hear_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_checks, "PATIENCE_S", 2.0)
    access = tmp_path / "access"
    access.write_text("topic write #\n")
    access.chmod(0o600)
    with mosquitto(tmp_path / "broker", settings=f"allow_anonymous true\nacl_file {access}\n") as made:
        (finding,) = check_broker(runtime(made.port))
    assert finding.level is Level.FAIL
    assert "edge/v1/hall/probe/" in finding.text
    assert "access list" in finding.hint


def test_a_broker_that_is_not_there_fails_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker_checks, "PATIENCE_S", 0.5)

    (finding,) = check_broker(runtime(free_port()))

    assert finding.level is Level.FAIL
    assert "is the broker running" in finding.hint


def test_the_journal_is_whole_damaged_or_not_there_yet(tmp_path: Path) -> None:
    assert check_journal(tmp_path)[0].level is Level.OK
    hall = Hall(tmp_path)
    hall.walk(hall.ask("set pump-1 to 40 percent"))
    finding, latest_s = check_journal(tmp_path)
    hall.journal.close()

    assert (finding.level, latest_s) == (Level.OK, 1000.0)
    assert "1 decisions, 0 messages not finished" in finding.text
    (tmp_path / "journal.db").write_bytes(b"this is no database " * 100)
    assert check_journal(tmp_path)[0].level is Level.FAIL


def test_the_state_folder_tells_whether_an_edge_runs_on_it(tmp_path: Path) -> None:
    assert "an edge runs on it" not in check_state(tmp_path / "later").text
    lock = StateLock.take(tmp_path)
    finding = check_state(tmp_path)
    lock.release()
    assert finding.text.endswith("an edge runs on it")
    assert list(tmp_path.iterdir()) == [tmp_path / "lock"]


def test_a_latched_stop_is_told(tmp_path: Path) -> None:
    assert check_stop(tmp_path).level is Level.OK
    StopFile(tmp_path).write(StopRecord("stopped", id="s-1", user="ada", reason="leak"))
    finding = check_stop(tmp_path)
    assert (finding.level, finding.text) == (Level.WARN, "stopped by ada: leak; no command leaves")


def test_a_clock_that_was_set_back_is_told() -> None:
    assert check_clock(latest_s=time.time() + 3600).level is Level.WARN
    assert check_python().level is Level.OK


def test_too_little_memory_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "meminfo"
    monkeypatch.setattr(machine, "_MEMORY", file)
    told = []
    for free_mb in (2000, 300, 100):
        file.write_text(
            f"MemTotal: 4096000 kB\nMemAvailable: {free_mb * 1024} kB\nHugePages_Total:       0\n"
        )
        told.append((check_memory(runs=False).level, check_memory(runs=True).level))
    assert told == [(Level.OK, Level.OK), (Level.WARN, Level.OK), (Level.FAIL, Level.FAIL)]


def test_a_package_that_is_missing_or_old_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = ["numpy>=1.26", "click>=999", "no-such-package>=1.0", 'ruff>=0.9; extra == "dev"']
    monkeypatch.setattr(machine.metadata, "requires", lambda _: needed)

    finding = check_packages()

    assert finding.level is Level.FAIL
    assert [each.split(":")[0] for each in finding.text.split("; ")] == ["click", "no-such-package"]


def test_the_command_ends_with_one_where_something_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_checks, "PATIENCE_S", 0.5)
    monkeypatch.setenv("EDGE_NODE_HOME", str(tmp_path / "empty"))
    config = tmp_path / "edge-node.yaml"
    config.write_text(
        json.dumps({"edge_node": 1, "edge": "hall", "broker": {"port": free_port()}, "nodes": []})
    )

    told = CliRunner().invoke(edge_node, ["doctor", "--config", str(config), "--json"])
    bad = CliRunner().invoke(edge_node, ["doctor", "--config", str(tmp_path / "none.yaml")])

    assert (told.exit_code, bad.exit_code) == (1, 1)
    found = {each["name"]: each for each in json.loads(told.stdout)["findings"]}
    assert found["language model"]["hint"] == "edge-node model pull smollm2-135m-instruct"
    assert found["broker"]["level"] == "fail"
    assert "fail  configuration: " in bad.stdout
