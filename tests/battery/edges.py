"""Processes of the edge: started, killed and stopped from outside."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]
LAUNCHER = Path(__file__).with_name("launcher.py")
END_S = 60.0


@dataclass
class Edge:
    """One run of the edge.

    Attributes:
        pid: Its process.
        ended: Set once it has ended.
        status: How it ended; a signal is negative.
    """

    pid: int
    ended: threading.Event = field(default_factory=threading.Event)
    status: int | None = None

    def kill(self) -> None:
        """End it without giving it a chance to do anything."""
        self._signal(signal.SIGKILL)

    def stop(self) -> int:
        """End it in order and return its status."""
        self._signal(signal.SIGTERM)
        assert self.status is not None
        return self.status

    def rss_mb(self) -> float:
        """Return its resident memory."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def _signal(self, number: signal.Signals) -> None:
        if not self.ended.is_set():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)
        if not self.ended.wait(END_S):
            os.kill(self.pid, signal.SIGKILL)
            raise AssertionError(f"the edge did not end within {END_S:g} s")


class Nursery:
    """A process that has loaded the libraries and forks an edge for each order."""

    def __init__(self, home: Path) -> None:
        self._environment = environment(home)
        self._edges: dict[int, Edge] = {}
        self._born: queue.Queue[int] = queue.Queue()
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, str(LAUNCHER), "--serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self._environment,
            cwd=ROOT,
        )
        threading.Thread(target=self._listen, daemon=True).start()

    def start(self, order: Mapping[str, Any]) -> Edge:
        """Return a new run of the edge, forked."""
        assert self._process.stdin is not None
        with self._lock:
            self._process.stdin.write(json.dumps(dict(order)).encode() + b"\n")
            self._process.stdin.flush()
            return self._edges[self._born.get(timeout=END_S)]

    def cold(self, order: Mapping[str, Any]) -> Edge:
        """Return a new run of the edge as a program of its own, from its first import on."""
        with Path(order["log"]).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, str(LAUNCHER), json.dumps(dict(order))],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                cwd=ROOT,
                start_new_session=True,
            )
        edge = Edge(process.pid)
        threading.Thread(target=self._await, args=(process, edge), daemon=True).start()
        return edge

    def close(self) -> None:
        """End it and every edge that still runs."""
        for edge in self._edges.values():
            if not edge.ended.is_set():
                edge.kill()
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(END_S)

    @staticmethod
    def _await(process: subprocess.Popen[bytes], edge: Edge) -> None:
        edge.status = process.wait()
        edge.ended.set()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as told:
            for line in told:
                said = json.loads(line)
                if "pid" in said:
                    self._edges[said["pid"]] = Edge(said["pid"])
                    self._born.put(said["pid"])
                else:
                    edge = self._edges[said["ended"]]
                    edge.status = said["status"]
                    edge.ended.set()


def environment(home: Path) -> dict[str, str]:
    """Return the environment of an edge."""
    return os.environ | {
        "EDGE_NODE_HOME": str(home),
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
