"""Real brokers for tests: started on free loopback ports, accepting when they are given."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from edge_node.bus.embedded import EmbeddedBroker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEADLINE_S = 15.0
MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_until_it_accepts(port: int, *, process: subprocess.Popen[bytes] | None = None) -> None:
    """Return once something accepts connections on a port."""
    until_s = time.monotonic() + DEADLINE_S
    while time.monotonic() < until_s:
        if process is not None and process.poll() is not None:
            raise RuntimeError(f"the broker ended with status {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
        except OSError:
            time.sleep(0.02)  # polling another process: there is no event to wait for
        else:
            return
    raise RuntimeError(f"nothing accepts on port {port} after {DEADLINE_S} s")


def require_mosquitto() -> str:
    """Return the path of mosquitto; without it skip on a desk and fail in CI."""
    if MOSQUITTO is None:
        if os.environ.get("CI"):
            pytest.fail("mosquitto is not installed")
        pytest.skip("mosquitto is not installed")
    return MOSQUITTO


@dataclass
class Mosquitto:
    """A mosquitto that can be stopped, killed and started again on the same port and files."""

    folder: Path
    settings: str = "allow_anonymous true\n"
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and return once it accepts."""
        binary = require_mosquitto()
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / "mosquitto.conf"
        file.write_text(
            f"listener {self.port} 127.0.0.1\npersistence true\npersistence_location {self.folder}/\n"
            # Started by root it would give up the right to write here; anyone else's `user` is ignored.
            f"user root\n{self.settings}"
        )
        with (self.folder / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen([binary, "-c", str(file)], stdout=log, stderr=log)
        wait_until_it_accepts(self.port, process=self._process)

    def stop(self) -> None:
        """End it in order, so that it keeps its sessions."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(DEADLINE_S)
            self._process = None

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(DEADLINE_S)
            self._process = None


@contextmanager
def mosquitto(folder: Path, *, settings: str = "allow_anonymous true\n") -> Iterator[Mosquitto]:
    """Give a running mosquitto."""
    broker = Mosquitto(folder, settings)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


@contextmanager
def embedded() -> Iterator[EmbeddedBroker]:
    """Give a running embedded broker; without iotcore skip on a desk and fail in CI."""
    if not os.environ.get("CI"):
        pytest.importorskip("iotcore")
    with EmbeddedBroker.start() as broker:
        yield broker
