"""Runtimes as processes of their own, which can be killed and started again on the same state."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).parents[2]
STOP_S = 20.0


@dataclass
class Runtime:
    """One edge on a broker of loopback.

    Attributes:
        folder: Where its runtime file, state and log lie.
        edge: Its identifier.
        broker: The `broker` section of its runtime file.
        nodes: Patterns of node folders.
        extra: Further keys of the runtime file.
    """

    folder: Path
    edge: str
    broker: dict[str, Any]
    nodes: list[str]
    extra: dict[str, Any] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def config_file(self) -> Path:
        """The runtime file."""
        return self.folder / "edge-node.yaml"

    @property
    def log(self) -> str:
        """What it wrote so far."""
        return (self.folder / "run.log").read_text(encoding="utf-8", errors="replace")

    def write_config(self) -> None:
        """Write the runtime file; JSON is YAML too."""
        self.folder.mkdir(parents=True, exist_ok=True)
        content = {
            "edge_node": 1,
            "edge": self.edge,
            "broker": self.broker,
            "nodes": self.nodes,
            "state": str(self.folder / "state"),
            "log": {"format": "json"},
            **self.extra,
        }
        self.config_file.write_text(json.dumps(content), encoding="utf-8")

    def start(self) -> None:
        """Start it; what it says on the bus tells when it is ready."""
        self.write_config()
        with (self.folder / "run.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "edge_node", "run", "--config", str(self.config_file)],
                stdout=log,
                stderr=log,
                cwd=CHECKOUT,
            )

    def kill(self) -> None:
        """End it as a power cut of the process would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in order."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(STOP_S)
            self.process = None
