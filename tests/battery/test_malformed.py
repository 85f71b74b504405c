from __future__ import annotations

import os
import random
import time
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest

from edge_node.config.load import load
from edge_node.errors import InputError
from edge_node.messages import Outgoing
from edge_node.observe.progress import LoggedProgress
from edge_node.runtime.wiring import load_models
from edge_node.topics import EdgeTopics
from edge_node.triggers import TriggerEngine
from edge_node.twin import DeviceTwin
from edge_node.understand.cascade import Cascade
from tests.battery.counts import MALFORMED
from tests.battery.malformed import message
from tests.battery.plant import EDGE, plant, write_configuration
from tests.battery.verdict import assert_it_held

if TYPE_CHECKING:
    from pathlib import Path

    from tests.battery.edges import Nursery
    from tests.battery.report import Report

_OVER_THE_BUS = 25
"""One in so many goes over the broker to a running edge as well."""
_UNDERSTOOD = 10
"""One in so many of the questions that can be read is looked at by the stage behind."""
_LONGEST_S = 2.0


@pytest.mark.broker
def test_what_is_malformed_is_refused_in_good_time_and_harms_nothing(
    tmp_path: Path, nursery: Nursery, home: Path, report: Report
) -> None:
    with report.row(MALFORMED) as noted:
        began_s = time.monotonic()
        noted.update(_in_process(tmp_path / "inside", home))
        noted["us_each"] = round((time.monotonic() - began_s) / MALFORMED.count * 1e6)
        (tmp_path / "outside").mkdir()
        noted["over_the_bus"] = _over_the_bus(tmp_path / "outside", nursery)


def _in_process(folder: Path, home: Path) -> dict[str, object]:
    """Return how many messages the twin, the triggers and the understanding took and refused."""
    chance = random.Random(7)
    folder.mkdir()
    write_configuration(folder, port=1883)
    with patch.dict(os.environ, {"EDGE_NODE_HOME": str(home)}):
        configuration = load(folder / "edge-node.yaml")
        embedder = load_models(configuration, progress=LoggedProgress()).embedder
    nodes, limits = configuration.nodes, configuration.runtime.limits
    twin = DeviceTwin(nodes, limits=limits)
    triggers = TriggerEngine(nodes, twin=twin, topics=EdgeTopics(EDGE), limits=limits)
    understanding = Cascade(nodes, twin=twin, embedder=embedder)
    refused = requests = 0
    longest_s = 0.0
    for number in range(MALFORMED.count):
        came = message(chance, number)
        began_s = time.perf_counter()
        try:
            seen = twin.observe(came)
            asked = triggers.requests(came, seen)
        except InputError:
            refused += 1
        else:
            requests += len(asked)
            for request in asked if number % _UNDERSTOOD == 0 else ():
                understanding.draft(request)
        longest_s = max(longest_s, time.perf_counter() - began_s)
    assert longest_s < _LONGEST_S
    assert 0 < refused < MALFORMED.count
    return {"refused": refused, "requests": requests, "longest_ms": round(longest_s * 1000, 1)}


def _over_the_bus(folder: Path, nursery: Nursery) -> int:
    """Send a share through the broker, and find the edge at work afterwards; return how many."""
    chance = random.Random(8)
    with plant(folder, nursery=nursery) as site:
        site.start()
        sent = 0
        for number in range(MALFORMED.count // _OVER_THE_BUS):
            came = message(chance, number)
            if came.topic == "elsewhere" or "\x07" in came.topic:
                continue
            outgoing = Outgoing(came.topic, came.payload, qos=1, retain=False, correlation=came.correlation)
            site.feeder.send(outgoing)
            sent += 1
        # Readings at quality of service 0 are not in the journal, so there is nothing to wait for in it.
        site.feeder.stop()
        site.forget(acknowledged=False)
        site.feeder.feed(60)
        site.drain()
        assert '"message_failed"' not in site.log.read_text(), site.last_words()
        assert site.edge.stop() == 0
        assert_it_held(site, alike=True)
        return sent
