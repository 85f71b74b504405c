from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import pytest

from tests.battery.counts import BROKER, CONNECTION
from tests.battery.plant import EDGE, READY_S, plant
from tests.battery.report import spread_s
from tests.battery.verdict import assert_it_held

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.battery.edges import Nursery
    from tests.battery.plant import Plant
    from tests.battery.report import Report

pytestmark = [pytest.mark.broker]


def test_a_broker_that_dies_restarts_or_forgets_costs_no_acknowledged_input(
    tmp_path: Path, nursery: Nursery, report: Report
) -> None:
    chance = random.Random(3)
    ways: tuple[Callable[[Plant], None], ...] = (_kill, _restart, _forget)
    back_s = []
    with report.row(BROKER) as noted, plant(tmp_path, nursery=nursery) as site:
        site.lossy = True
        site.start()
        site.feeder.start(per_s=60.0)
        for number in range(BROKER.count):
            site.edge.ended.wait(chance.uniform(0.2, 1.0))
            since = site.proxy.witness.readies
            ways[number % len(ways)](site)
            began_s = time.monotonic()
            site.broker.start()
            back_s.append(_back(site, since=since) - began_s)
        site.feeder.stop()
        site.drain()
        _answers(site)
        assert site.edge.stop() == 0
        noted["back"] = spread_s(back_s)
        assert_it_held(site)


def test_a_cut_or_half_open_connection_loses_nothing_and_repeats_nothing(
    tmp_path: Path, nursery: Nursery, report: Report
) -> None:
    chance = random.Random(4)
    ways: tuple[Callable[[Plant], None], ...] = (
        lambda site: site.proxy.cut(reset=False),
        lambda site: site.proxy.cut(reset=True),
        lambda site: site.proxy.cut_after(chance.randint(1, 4000)),
        lambda site: site.proxy.cut_after(chance.randint(1, 40)),
        lambda site: site.proxy.freeze(),
    )
    back_s: dict[bool, list[float]] = {False: [], True: []}
    with report.row(CONNECTION) as noted, plant(tmp_path, nursery=nursery) as site:
        site.start()
        site.feeder.start(per_s=60.0)
        for number in range(CONNECTION.count):
            site.edge.ended.wait(chance.uniform(0.1, 0.6))
            since, began_s = site.proxy.witness.readies, time.monotonic()
            way = number % len(ways)
            ways[way](site)
            back_s[way == len(ways) - 1].append(_back(site, since=since) - began_s)
        site.feeder.stop()
        site.drain()
        assert site.edge.stop() == 0
        noted.update({"cut": spread_s(back_s[False]), "half-open": spread_s(back_s[True])})
        noted["inputs"] = len(site.feeder.kept)
        assert_it_held(site)


def test_an_edge_without_its_connection_for_readings_says_so_until_it_is_back(
    tmp_path: Path, nursery: Nursery
) -> None:
    with plant(tmp_path, nursery=nursery) as site:
        site.start()
        since = site.proxy.witness.readies
        site.proxy.slams = 1_000_000
        site.proxy.end("plant/+/fast")
        key = (f"edge/v1/{EDGE}/status", b"degraded")
        until_s = time.monotonic() + READY_S
        while key not in site.proxy.witness.left:
            assert time.monotonic() < until_s, site.last_words()
            time.sleep(0.05)  # another process's work: there is no event to wait for
        told = [payload for topic, payload in site.proxy.witness.left if topic == f"edge/v1/{EDGE}/info"]
        assert any(b"the connection for readings" in payload for payload in told)
        number = site.feeder.order()
        while not any(said["corr"] == str(number) for _, said in site.presses.replies):
            assert time.monotonic() < until_s, site.last_words()
            time.sleep(0.05)  # as above
        site.proxy.slams = 0
        assert site.proxy.witness.wait_ready(since=since, timeout_s=READY_S) is not None, site.last_words()
        assert site.edge.stop() == 0


def _kill(site: Plant) -> None:
    site.broker.kill()


def _restart(site: Plant) -> None:
    site.broker.stop()


def _forget(site: Plant) -> None:
    site.broker.stop()
    (site.broker.folder / "mosquitto.db").unlink()


def _back(site: Plant, *, since: int) -> float:
    """Return when the edge said that it is ready once more."""
    at_s = site.proxy.witness.wait_ready(since=since, timeout_s=READY_S)
    assert at_s is not None, site.last_words()
    return at_s


def _answers(site: Plant) -> None:
    """Find the edge at work: what is sent now is ended."""
    site.lossy = False
    site.feeder.kept.clear()
    site.feeder.feed(30)
    site.drain()
    site.lossy = True
