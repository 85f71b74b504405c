"""A mosquitto of its own for a measurement, on a free port of loopback.

Knows how mosquitto is found, started and ended; knows nothing of what is published.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Self

from edge_node.errors import BrokerUnreachable, Unavailable

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

HOST = "127.0.0.1"
_PLACES = "/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin"
_START_S = 15.0
# The broker must not be the limit: nothing on its disk, no acknowledgement that waits for another, and no
# message dropped: what is under way is limited by who publishes.
_CONFIGURATION = """\
listener {port} {host}
allow_anonymous true
persistence false
set_tcp_nodelay true
max_queued_messages 0
"""


class Mosquitto:
    """A running mosquitto that keeps nothing; use it in a `with` block.

    Args:
        folder: Where its configuration and its log are written.

    Attributes:
        port: TCP port on loopback.
        version: What it says of itself, such as `mosquitto version 2.0.18`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = 0
        self.version = ""

    def __enter__(self) -> Self:
        """Start it.

        Raises:
            Unavailable: mosquitto is not installed.
            BrokerUnreachable: It does not come up.
        """
        binary = shutil.which("mosquitto") or shutil.which("mosquitto", path=_PLACES)
        if binary is None:
            raise Unavailable("mosquitto", hint="apt install mosquitto")
        said = subprocess.run([binary, "-h"], capture_output=True, text=True, check=False)  # noqa: S603
        self.version = next(iter(said.stdout.splitlines()), "")
        self.port = _free_port()
        file = self._folder / "mosquitto.conf"
        file.write_text(_CONFIGURATION.format(port=self.port, host=HOST), encoding="utf-8")
        with (self._folder / "mosquitto.log").open("wb") as log:
            self._process = subprocess.Popen([binary, "-c", str(file)], stdout=log, stderr=log)  # noqa: S603
        self._wait_until_it_accepts()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait()

    def _wait_until_it_accepts(self) -> None:
        until_s = time.monotonic() + _START_S
        while time.monotonic() < until_s and self._process.poll() is None:
            try:
                socket.create_connection((HOST, self.port), timeout=1.0).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        self._process.kill()
        self._process.wait()
        raise BrokerUnreachable(
            f"{HOST}:{self.port}", reason=f"mosquitto did not come up, see {self._folder / 'mosquitto.log'}"
        )


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        return int(sock.getsockname()[1])
