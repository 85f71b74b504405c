from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Literal

import pytest
import structlog
from structlog.testing import capture_logs

from edge_node.config.models import LogConfig
from edge_node.observe.logs import configure
from edge_node.observe.progress import LoggedProgress

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("form", ["json", "auto"])
def test_without_a_terminal_each_line_is_json_on_standard_error(
    capsys: pytest.CaptureFixture[str], form: Literal["json", "auto"]
) -> None:
    configure(LogConfig(format=form))
    structlog.get_logger("edge_node.bus").info("connected", broker="127.0.0.1:1883", said="ü\nn")

    out, err = capsys.readouterr()
    assert out == ""
    (line,) = lines(err)
    assert (line["event"], line["level"], line["broker"], line["said"]) == (
        "connected",
        "info",
        "127.0.0.1:1883",
        "ü\nn",
    )
    assert line["timestamp"].endswith("Z")


@pytest.mark.parametrize(
    ("level", "heard"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_lines_below_the_level_are_left_out(
    capsys: pytest.CaptureFixture[str],
    level: Literal["debug", "info", "warning", "error"],
    heard: list[str],
) -> None:
    configure(LogConfig(level=level, format="json"))
    log = structlog.get_logger()
    for name in ("debug", "info", "warning", "error"):
        getattr(log, name)("said")

    assert [line["level"] for line in lines(capsys.readouterr().err)] == heard


def test_a_fault_keeps_its_trace_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogConfig(format="json"))
    try:
        1 / 0  # noqa: B018 - the fault
    except ZeroDivisionError:
        structlog.get_logger().exception("message_failed")

    (line,) = lines(capsys.readouterr().err)
    assert "ZeroDivisionError: division by zero" in line["exception"]
    assert line["level"] == "error"


def test_the_console_form_is_no_json(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogConfig(format="console"))
    structlog.get_logger().warning("work", note="fetched again")

    err = capsys.readouterr().err
    assert "fetched again" in err
    assert not err.startswith("{")


def test_a_logger_made_before_the_configuration_follows_it(capsys: pytest.CaptureFixture[str]) -> None:
    log = structlog.get_logger("early")
    configure(LogConfig(level="error", format="json"))
    log.info("unheard")

    assert capsys.readouterr() == ("", "")


def test_importing_edge_node_configures_nothing() -> None:
    script = (
        "import logging, edge_node, structlog\n"
        "import edge_node.runtime.service, edge_node.cli, edge_node.client\n"
        "assert not structlog.is_configured()\n"
        "assert not logging.getLogger().handlers\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_long_work_is_told_when_it_begins_and_when_it_ends() -> None:
    progress = LoggedProgress()
    with capture_logs() as told:
        progress.start("index", 10)
        progress.advance(4)
        progress.advance(7)
        progress.finish()
        progress.note("one file had to be read again")

    begins, ends, note = told
    assert (begins["event"], begins["work"], begins["total"]) == ("work_begins", "index", 10)
    assert (ends["event"], ends["done"], ends["total"]) == ("work_ends", 7, 10)
    assert (note["log_level"], note["note"]) == ("warning", "one file had to be read again")
