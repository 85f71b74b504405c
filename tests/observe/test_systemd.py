from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from edge_node.identifiers import new_id
from edge_node.observe.systemd import notify, watchdog_interval_s

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["file", "abstract"])
def listener(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    """Give the socket on which systemd would listen, in the file system or in the abstract namespace."""
    address = str(tmp_path / "notify") if request.param == "file" else f"@edge-node-{new_id()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(address.replace("@", "\0", 1) if request.param == "abstract" else address)
        made.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        yield made


def test_each_state_is_one_datagram(listener: socket.socket) -> None:
    assert notify("READY=1\nSTATUS=läuft")
    assert notify("WATCHDOG=1")

    assert [listener.recv(1024) for _ in range(2)] == ["READY=1\nSTATUS=läuft".encode(), b"WATCHDOG=1"]


def test_nobody_is_told_where_systemd_did_not_start_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)

    assert not notify("READY=1")


def test_a_socket_that_nobody_listens_on_does_not_end_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))

    with capture_logs() as lines:
        assert not notify("READY=1")

    assert [line["event"] for line in lines] == ["systemd_not_told"]


@pytest.mark.parametrize(
    ("allowed_us", "pid", "interval_s"),
    [
        ("30000000", None, 15.0),
        ("30000000", str(os.getpid()), 15.0),
        ("30000000", "1", None),
        ("soon", None, None),
        (None, None, None),
    ],
)
def test_the_watchdog_is_fed_at_half_of_what_systemd_allows(
    monkeypatch: pytest.MonkeyPatch, allowed_us: str | None, pid: str | None, interval_s: float | None
) -> None:
    for name, value in (("WATCHDOG_USEC", allowed_us), ("WATCHDOG_PID", pid)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)

    assert watchdog_interval_s() == interval_s
