"""Everything around one edge in the battery: broker, proxy, presses, feeder, and the files it lives on."""

from __future__ import annotations

import json
import math
import shutil
import sqlite3
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.battery.devices import Presses
from tests.battery.feeder import Feeder
from tests.battery.models import EMBEDDING, LANGUAGE
from tests.battery.proxy import Proxy
from tests.brokers import Mosquitto
from tests.bus.test_mosquitto_configuration import settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.battery.edges import Edge, Nursery

EDGE = "battery"
READY_S = 60.0
DRAIN_S = 120.0
_FEW = 100


@dataclass
class Plant:
    """One edge and its surroundings.

    Attributes:
        folder: Where its files lie.
        nursery: What starts edges.
        broker: The broker.
        proxy: What stands between edge and broker.
        presses: The devices.
        feeder: What is sent.
        ready_s: How long each start took until the edge said that it is ready.
        cold_s: The same of starts that import everything first.
        edge: The run of the edge, if one was started.
        lossy: Whether the broker may have lost what it acknowledged.
    """

    folder: Path
    nursery: Nursery
    broker: Mosquitto
    proxy: Proxy
    presses: Presses
    feeder: Feeder
    ready_s: list[float] = field(default_factory=list)
    cold_s: list[float] = field(default_factory=list)
    edge: Edge | None = None
    lossy: bool = False

    @property
    def config(self) -> Path:
        """The runtime file."""
        return self.folder / "edge-node.yaml"

    @property
    def journal(self) -> Path:
        """The journal file."""
        return self.folder / "state" / "journal.db"

    @property
    def log(self) -> Path:
        """What the edge wrote about itself."""
        return self.folder / "edge.log"

    def start(self, *, cold: bool = False, wait: bool = True, **order: Any) -> Edge:
        """Return a new run of the edge, ready unless `wait` is false."""
        since = self.proxy.witness.readies
        began_s = time.monotonic()
        start = self.nursery.cold if cold else self.nursery.start
        self.edge = start({"config": str(self.config), "log": str(self.log), **order})
        if wait:
            at_s = self.proxy.witness.wait_ready(since=since, timeout_s=READY_S)
            assert at_s is not None, self.last_words()
            (self.cold_s if cold else self.ready_s).append(at_s - began_s)
        return self.edge

    def drain(self, *, timeout_s: float = DRAIN_S) -> None:
        """Wait until every input that the broker has is ended and everything that was to leave has left.

        It may take as long as it makes progress: how fast a disk is belongs to a benchmark.
        """
        before, until_s = "", time.monotonic() + timeout_s
        while left := self._left():
            if left != before:
                before, until_s = left, time.monotonic() + timeout_s
            assert time.monotonic() < until_s, f"{left}, for {timeout_s:g} s; {self.last_words()}"
            time.sleep(0.05)  # another process's file: there is no event to wait for

    def catch_up(self) -> None:
        """Wait until few inputs are open: an edge that is killed too often falls ever further behind."""
        least, until_s = math.inf, time.monotonic() + DRAIN_S
        while (behind := self._open()) > _FEW:
            if behind < least:
                least, until_s = behind, time.monotonic() + DRAIN_S
            assert time.monotonic() < until_s, f"{behind} inputs open; {self.last_words()}"
            time.sleep(0.05)  # another process's file: there is no event to wait for

    def _left(self) -> str:
        open_inputs = self._open()
        leaving = self.rows("SELECT count(*) FROM outbox WHERE state IN ('pending', 'sent')")[0][0]
        known = {(topic, bytes(payload)) for topic, payload in self.rows("SELECT topic, payload FROM inbox")}
        missing = 0 if self.lossy else len(self.feeder.kept - known)
        if open_inputs or leaving or missing:
            return f"{open_inputs} inputs open, {leaving} pieces leaving, {missing} inputs missing"
        return ""

    def _open(self) -> int:
        return int(self.rows("SELECT count(*) FROM inbox WHERE state = 'open'")[0][0])

    def forget(self, *, acknowledged: bool = True) -> None:
        """Forget everything that was sent and seen so far, by default once all of it was acknowledged."""
        witness = self.proxy.witness
        until_s = time.monotonic() + DRAIN_S
        while acknowledged and not self.feeder.kept <= witness.acknowledged.keys():
            assert time.monotonic() < until_s, self.last_words()
            time.sleep(0.01)  # another thread's record: there is no event to wait for
        self.feeder.kept.clear()
        witness.forget()
        self.presses.forget()

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return rows of the journal, read beside the edge."""
        connection = sqlite3.connect(f"{self.journal.as_uri()}?mode=ro", uri=True, timeout=10.0)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()

    def last_words(self) -> str:
        """Return the end of the edge's log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return " | ".join(lines[-8:])[-3000:]


def write_configuration(folder: Path, *, port: int, **more: Any) -> None:
    """Write the runtime file and the node of the battery."""
    node = folder / "nodes" / "press-guard"
    node.mkdir(parents=True, exist_ok=True)
    shutil.copy(Path(__file__).with_name("node.yaml"), node / "node.yaml")
    (node / "manual.md").write_text("# Presses\n\nA press is greased every week.\n")
    content = {
        "edge_node": 1,
        "edge": EDGE,
        "broker": {"host": "127.0.0.1", "port": port, "keepalive": "2s"},
        "nodes": [f"{folder}/nodes/*"],
        "state": str(folder / "state"),
        "model": {"name": LANGUAGE, "threads": 1},
        "embedding": {"name": EMBEDDING},
        "log": {"format": "json", "level": "info"},
        # What has ended is looked for in the journal, so that it must not be forgotten meanwhile.
        "journal": {"keep": "365d", "rows": 100_000_000, "decisions": 100_000_000},
        **more,
    }
    (folder / "edge-node.yaml").write_text(json.dumps(content))


@contextmanager
def plant(folder: Path, *, nursery: Nursery, **configuration: Any) -> Iterator[Plant]:
    """Give a plant whose edge is not started yet."""
    broker = Mosquitto(folder / "mosquitto", settings())
    broker.start()
    proxy = Proxy(broker.port)
    write_configuration(folder, port=proxy.port, **configuration)
    presses, feeder = Presses(broker.port, edge=EDGE), Feeder(broker.port, edge=EDGE)
    made = Plant(folder, nursery, broker, proxy, presses, feeder)
    try:
        yield made
    finally:
        if made.edge is not None and not made.edge.ended.is_set():
            made.edge.kill()
        feeder.close()
        presses.close()
        proxy.close()
        broker.kill()
