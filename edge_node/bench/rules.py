"""What telemetry costs where no model is asked: the twin and the triggers, on one core.

Knows the two stages; knows no broker, no journal and no disk. Messages are made beforehand, so that the
time measured is that of the stages alone, with the JSON read by the twin. It is processor time: what one
core does in a second, whatever else runs beside it.
"""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_node.config.loaded import Node
from edge_node.config.models import LimitsConfig, NodeConfig
from edge_node.messages import Message
from edge_node.topics import EdgeTopics
from edge_node.triggers import TriggerEngine
from edge_node.twin import DeviceTwin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_node.protocols import Progress

FIELDS = 20
FIELDS_TOLD = 4
"""Fields in one message; the next one of the device tells the next ones."""
INTERVAL_S = 1.0
"""Time from one message of a device to its next, by the clock of the messages."""
_SEED = 7
_START_S = 1_700_000_000.0
_TAKE_EVERY = 1000


class RulesBench:
    """Telemetry of many devices through the twin and the triggers.

    The triggers read twenty fields, each field by five of them: a threshold with hysteresis, one that must
    hold for a while, a mean over ten seconds, a maximum over thirty, and two fields together. Values
    are normally distributed, so that a few of a thousand lead to an alarm. What the engine
    wants to be on the disk at once is taken from it on the way, as the journal does.

    Args:
        triggers: How many triggers there are.
        devices: How many devices speak, one after another.
        rounds: How often each of them speaks while it is measured.
        progress: Told how far it is.
    """

    def __init__(self, *, triggers: int, devices: int, rounds: int, progress: Progress) -> None:
        self._triggers = triggers
        self._devices = devices
        self._rounds = rounds
        self._progress = progress

    def run(self) -> dict[str, Any]:
        """Return `updates_per_s`, `triggers`, `devices`, `updates`, `alarms` and `rss_mb_growth`."""
        began_mb = _rss_mb()
        nodes = [_node(self._triggers)]
        limits = LimitsConfig(devices=max(self._devices, LimitsConfig().devices))
        now = [_START_S]
        twin = DeviceTwin(nodes, limits=limits, clock=lambda: now[0])
        engine = TriggerEngine(
            nodes, twin=twin, topics=EdgeTopics("bench"), limits=limits, clock=lambda: now[0]
        )
        chance = random.Random(_SEED)  # noqa: S311 - the same messages each time, no secret
        self._progress.start("updates", self._devices * self._rounds)
        alarms, spent_s = 0, 0.0
        # Unmeasured rounds first, until the windows are full.
        for turn in range(-_warm_rounds(), self._rounds):
            messages = list(_messages(turn, self._devices, chance))
            began_s = time.process_time()
            for place, message in enumerate(messages):
                now[0] = message.received_at
                alarms += len(engine.requests(message, twin.observe(message)))
                if place % _TAKE_EVERY == 0:
                    alarms += len(engine.due(now[0]))
                engine.take_changes(urgent=True)
            if turn >= 0:
                spent_s += time.process_time() - began_s
                self._progress.advance((turn + 1) * self._devices)
        self._progress.finish()
        updates = self._devices * self._rounds
        return {
            "updates_per_s": round(updates / spent_s),
            "triggers": self._triggers,
            "devices": self._devices,
            "updates": updates,
            "alarms": alarms,
            "rss_mb_growth": round(_rss_mb() - began_mb, 1),
        }


def _warm_rounds() -> int:
    return FIELDS // FIELDS_TOLD * 8


def _node(triggers: int) -> Node:
    names = [f"value_{place}" for place in range(FIELDS)]
    kinds: list[dict[str, Any]] = []
    for place, name in enumerate(names):
        other = names[place - place % FIELDS_TOLD + (place + 1) % FIELDS_TOLD]
        kinds += [
            {"when": f"{name} > 85", "until": f"{name} < 80"},
            {"when": f"{name} > 75", "for": "30s"},
            {"when": f"avg({name}, 10s) > 80"},
            {"when": f"max({name}, 30s) > 98"},
            {"when": f"{name} > 70 && {other} > 70"},
        ]
    chosen = {f"trigger_{place}": kinds[place % len(kinds)] for place in range(triggers)}
    spec = {
        "edge_node": 1,
        "name": "bench",
        "listen": [{"topic": "plant/{pump}/telemetry", "fields": {name: name for name in names}}],
        "triggers": chosen,
    }
    return Node(NodeConfig.model_validate(spec), Path())


def _messages(turn: int, devices: int, chance: random.Random) -> Iterator[Message]:
    first = turn * FIELDS_TOLD % FIELDS
    for place in range(devices):
        fields = {
            f"value_{number}": round(chance.gauss(50.0, 10.0), 2)
            for number in range(first, first + FIELDS_TOLD)
        }
        body = json.dumps({"ts": turn, "id": place, **fields}).encode()
        at = _START_S + (turn + place / devices) * INTERVAL_S
        yield Message(f"{turn}-{place}", f"plant/pump-{place}/telemetry", body, at)


def _rss_mb() -> float:
    """Return resident memory of this process in MB.

    Source: proc(5), second field of /proc/self/statm, in pages.
    """
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
