"""What the bus side manages: this runtime beside a bare paho client, in turns, on one mosquitto.

A publisher keeps a fixed number of messages under way to a receiver, less than its queues hold, so that
each side is as fast as it can be and nothing is lost. A message counts once the receiver is done with it:
for the runtime that is behind journal, acknowledgement, twin and triggers, so what is accepted faster than
it is handled does not count. Knows processes, topics and counts; knows no stage.
"""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge_node.bench.broker import HOST, Mosquitto
from edge_node.bench.feed import Feed
from edge_node.bench.machine import machine
from edge_node.bench.pressure import Pressure
from edge_node.bench.receiver import Receiver
from edge_node.bench.stops import USER, StopBench
from edge_node.bus.connection import RECEIVE_MAXIMUM
from edge_node.config.models import BrokerConfig

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edge_node.protocols import Progress

EDGE = "bench"
KINDS = {"durable": 1, "telemetry": 0}
"""What is measured, and the quality of service it comes with."""
_EDGE_TOPIC = "plant/{pump}/telemetry"
_BARE_TOPIC = "bare/{pump}/telemetry"
_START_S = 120.0
_QUIET_S = 0.3


@dataclass(frozen=True, slots=True)
class Round:
    """What one receiver did in one turn.

    Attributes:
        per_s: Messages that it was done with, each second.
        cpu_us: Processor time of its process for a message, in microseconds.
        disk_bytes: Bytes it had written to a disk for a message.
        lost: Messages that it never was done with.
    """

    per_s: float
    cpu_us: float
    disk_bytes: float
    lost: int


class BusBench:
    """Durable input and telemetry, each through the runtime and through a bare client; then stops.

    Args:
        folder: Where the runtime keeps its journal; the disk there is measured.
        nodes: Folder with the ready nodes; pump-guard is run.
        rounds: How often both sides take their turn.
        seconds: How long a turn takes.
        stops: How many operational stops.
        progress: Told how far it is.
    """

    def __init__(
        self, folder: Path, *, nodes: Path, rounds: int, seconds: float, stops: int, progress: Progress
    ) -> None:
        self._folder = folder
        self._nodes = nodes
        self._rounds = rounds
        self._seconds = seconds
        self._stops = stops
        self._progress = progress

    def run(self) -> dict[str, Any]:
        """Return the ratios, the medians they rest on, the stop, bytes on the disk, and the machine.

        Raises:
            Unavailable: mosquitto is not installed.
            SiteNotReady: A receiver did not get ready, or fell silent.
            EdgeSilent: A stop was not answered.
        """
        with Mosquitto(self._folder) as broker, self._runtime(broker.port) as edge:
            settle(edge, port=broker.port, topic=_EDGE_TOPIC)
            measured = summary(self._all_rounds(edge, port=broker.port))
            measured |= self._stop_times(edge, port=broker.port)
            return measured | machine(self._folder) | {"broker": broker.version}

    def _runtime(self, port: int) -> Receiver:
        content: dict[str, Any] = {
            "edge_node": 1,
            "edge": EDGE,
            "broker": {"host": HOST, "port": port},
            "nodes": [str((self._nodes / "pump-guard").resolve())],
            "state": str((self._folder / "state").resolve()),
            "log": {"format": "json"},
            "stop": {"reset": [USER]},
        }
        config = self._folder / "edge-node.yaml"
        config.write_text(json.dumps(content), encoding="utf-8")  # JSON is YAML too
        log_file = self._folder / "run.log"
        return Receiver("edge_node.bench.served", arguments=[str(config)], log_file=log_file)

    def _bare_client(self, port: int, *, qos: int) -> Receiver:
        arguments = [HOST, str(port), _BARE_TOPIC.format(pump="+"), str(qos), str(RECEIVE_MAXIMUM)]
        return Receiver("edge_node.bench.bare", arguments=arguments, log_file=self._folder / "bare.log")

    def _all_rounds(self, edge: Receiver, *, port: int) -> dict[str, list[Round]]:
        taken: dict[str, list[Round]] = {}
        self._progress.start("rounds", self._rounds)
        for number in range(self._rounds):
            for kind, qos in KINDS.items():
                with self._bare_client(port, qos=qos) as bare:
                    settle(bare, port=port, topic=_BARE_TOPIC)
                    turn = self._turn(bare, port=port, topic=_BARE_TOPIC, qos=qos)
                taken.setdefault(f"bare_{kind}", []).append(turn)
                turn = self._turn(edge, port=port, topic=_EDGE_TOPIC, qos=qos)
                taken.setdefault(kind, []).append(turn)
            self._progress.advance(number + 1)
        self._progress.finish()
        return taken

    def _turn(self, receiver: Receiver, *, port: int, topic: str, qos: int) -> Round:
        with Pressure(receiver, host=HOST, port=port, topic=topic, qos=qos) as pressure:
            cpu_s, written = receiver.cpu_s, receiver.written_bytes
            pressure.keep_up(seconds=self._seconds)
            per_s = pressure.handled / pressure.seconds
            pressure.drain()
            return Round(
                per_s=per_s,
                cpu_us=(receiver.cpu_s - cpu_s) / pressure.sent * 1e6,
                disk_bytes=(receiver.written_bytes - written) / pressure.sent,
                lost=pressure.sent - pressure.handled,
            )

    def _stop_times(self, edge: Receiver, *, port: int) -> dict[str, Any]:
        broker = BrokerConfig(host=HOST, port=port)
        bench = StopBench(broker, edge=EDGE, stops=self._stops, progress=self._progress)
        with Pressure(edge, host=HOST, port=port, topic=_EDGE_TOPIC, qos=1) as pressure:
            return bench.run(pressure)


def settle(receiver: Receiver, *, port: int, topic: str) -> None:
    """Return once a receiver takes what is published, and nothing is under way to it any more.

    Raises:
        SiteNotReady: It never says a word.
    """
    before = now = receiver.next_report(timeout_s=_START_S).handled
    with Feed(HOST, port=port, topic=topic, qos=1) as feed:
        while now == before:
            feed.publish(1)
            now = _handled_after(receiver, _QUIET_S)
    while now != before:
        before, now = now, _handled_after(receiver, _QUIET_S)


def _handled_after(receiver: Receiver, pause_s: float) -> int:
    began = last = receiver.next_report(timeout_s=_START_S)
    while last.at_s - began.at_s < pause_s:
        last = receiver.next_report(timeout_s=_START_S)
    return last.handled


def summary(rounds: Mapping[str, Sequence[Round]]) -> dict[str, Any]:
    """Return the ratios of the medians, the medians, and bytes on the disk for a message."""
    per_s = {name: statistics.median(turn.per_s for turn in turns) for name, turns in rounds.items()}
    cpu_us = {name: statistics.median(turn.cpu_us for turn in turns) for name, turns in rounds.items()}
    disk = {name: statistics.median(turn.disk_bytes for turn in turns) for name, turns in rounds.items()}
    told: dict[str, Any] = {f"{kind}_ratio": round(per_s[kind] / per_s[f"bare_{kind}"], 3) for kind in KINDS}
    told |= {"disk_bytes_journaled": round(disk["durable"]), "disk_bytes_telemetry": round(disk["telemetry"])}
    told |= {f"{name}_per_s": round(value) for name, value in per_s.items()}
    told |= {f"{name}_cpu_us": round(value, 1) for name, value in cpu_us.items()}
    told["lost"] = sum(turn.lost for turns in rounds.values() for turn in turns)
    return told
