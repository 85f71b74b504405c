"""A process that receives and reports, started for a measurement.

Knows processes and their reports; does not know what they receive.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Self

from edge_node.bench.reports import Report
from edge_node.errors import SiteNotReady

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

_END_S = 20.0
_LOG_LINES = 3


class Receiver:
    """A process of this package that tells how far it is; use it in a `with` block.

    Args:
        module: Name of the module that is run.
        arguments: What it gets on the command line.
        log_file: Where its standard error goes.
    """

    def __init__(self, module: str, *, arguments: Sequence[str], log_file: Path) -> None:
        self._command = [sys.executable, "-m", module, *arguments]
        self._log_file = log_file
        self._last = Report(0.0, 0, 0)
        self._changed = threading.Condition()

    def __enter__(self) -> Self:
        with self._log_file.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - this program itself
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
            )
        self._reader = threading.Thread(target=self._read, name="reports", daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        if self._process.stdout:
            self._process.stdout.close()

    def next_report(self, *, timeout_s: float) -> Report:
        """Return the next report.

        Raises:
            SiteNotReady: The process has ended, or says nothing.
        """
        with self._changed:
            seen = self._last
            if not self._changed.wait_for(lambda: self._last is not seen, timeout_s):
                raise SiteNotReady(self._log_file, last_words=self._last_words())
            return self._last

    @property
    def written_bytes(self) -> int:
        """Bytes that the process has had written to a disk.

        Source: proc(5), write_bytes of /proc/PID/io: pages made dirty, so a file in memory counts nothing.
        """
        return int(dict(line.split(": ") for line in self._proc("io").splitlines())["write_bytes"])

    @property
    def cpu_s(self) -> float:
        """Processor time of the process so far, in seconds.

        Source: proc(5), utime and stime of /proc/PID/stat.
        """
        behind_the_name = self._proc("stat").rpartition(")")[2].split()
        return sum(int(ticks) for ticks in behind_the_name[11:13]) / os.sysconf("SC_CLK_TCK")

    def _proc(self, name: str) -> str:
        return Path(f"/proc/{self._process.pid}/{name}").read_text(encoding="ascii")

    def _read(self) -> None:
        for line in self._process.stdout or ():
            with self._changed:
                self._last = Report.of(line)
                self._changed.notify_all()

    def _last_words(self) -> str:
        lines = self._log_file.read_text(encoding="utf-8", errors="replace").splitlines()
        return " | ".join(lines[-_LOG_LINES:])
