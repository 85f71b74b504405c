from __future__ import annotations

import contextlib
import json
import queue
import random
import time
from typing import TYPE_CHECKING

import pytest

from edge_node.messages import Outgoing
from tests.battery.counts import STOP
from tests.battery.plant import EDGE, plant
from tests.battery.report import spread_s
from tests.battery.verdict import assert_it_held

if TYPE_CHECKING:
    from pathlib import Path

    from tests.battery.edges import Nursery
    from tests.battery.plant import Plant
    from tests.battery.report import Report

pytestmark = pytest.mark.broker
_ANSWER_S = 60.0
_QUESTIONS = 20
_CAUGHT_UP_EVERY = 10


def test_nothing_leaves_after_a_latched_stop_however_busy_the_model_is(
    tmp_path: Path, nursery: Nursery, report: Report
) -> None:
    chance = random.Random(10)
    latched_s = []
    with (
        report.row(STOP) as noted,
        plant(tmp_path, nursery=nursery, stop={"reset": ["ada"]}) as site,
    ):
        site.start()
        site.feeder.start(per_s=60.0)
        for number in range(STOP.count):
            _keep_the_model_busy(site, number)
            site.edge.ended.wait(chance.uniform(0.0, 0.5))
            began_s = time.monotonic()
            # Not fed: a stop is not journaled, so that its end cannot be looked for there.
            site.feeder.bus.publish(Outgoing(f"edge/v1/{EDGE}/stop/ada", b'{"reason": "smoke"}'))
            _wait_for(site, "stopped")
            latched_s.append(time.monotonic() - began_s)
            _find_that_nothing_leaves(site, for_s=chance.uniform(0.05, 0.3))
            topic = f"edge/v1/{EDGE}/op/ada/request/reset_stop"
            site.feeder.send(Outgoing(topic, json.dumps({"correlation": f"r{number}"}).encode()))
            _wait_for(site, "clear")
            if number % _CAUGHT_UP_EVERY == _CAUGHT_UP_EVERY - 1:
                site.catch_up()
        site.feeder.stop()
        site.drain()
        noted.update({"latched": spread_s(latched_s), "deeds": len(site.presses.deeds)})
        assert site.edge.stop() == 0
        assert_it_held(site)


def _keep_the_model_busy(site: Plant, number: int) -> None:
    for place in range(_QUESTIONS):
        words = f"how often is press {number} greased after {place} strokes in the hall of the north?"
        site.feeder.send(Outgoing(f"edge/v1/{EDGE}/ask/ada", words.encode()))


def _wait_for(site: Plant, state: str) -> None:
    until_s = time.monotonic() + _ANSWER_S
    with contextlib.suppress(queue.Empty):
        while site.presses.stop_states.get(timeout=max(0.0, until_s - time.monotonic()))["state"] != state:
            pass
        return
    pytest.fail(f"the stop was not {state} within {_ANSWER_S:g} s; {site.last_words()}")


def _find_that_nothing_leaves(site: Plant, *, for_s: float) -> None:
    """Find no command on the wire after the state that tells of the stop."""
    left = site.proxy.witness.sent_at
    told_at_s = max(at_s for (topic, _), at_s in list(left.items()) if topic.endswith("/stop/state"))
    site.edge.ended.wait(for_s)
    late = [key for key, at_s in list(left.items()) if at_s > told_at_s and key[0].startswith("plant/")]
    assert not late, f"{len(late)} commands left after the stop was told: {late[:3]}"
