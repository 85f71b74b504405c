from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tests.battery.counts import KILL, LABEL
from tests.battery.labels import LABELS
from tests.battery.plant import plant
from tests.battery.report import spread_s
from tests.battery.verdict import assert_it_held

if TYPE_CHECKING:
    from pathlib import Path

    from tests.battery.edges import Nursery
    from tests.battery.report import Report

pytestmark = [pytest.mark.broker]
_READY_S = 15.0
_SETTLED_EVERY = 10
_PER_S = 20.0


def test_a_kill_at_any_moment_loses_nothing_and_repeats_nothing(
    tmp_path: Path, nursery: Nursery, report: Report
) -> None:
    chance = random.Random(1)
    with report.row(KILL) as noted, plant(tmp_path, nursery=nursery) as site:
        site.start(cold=True)
        site.feeder.start(per_s=_PER_S)
        for number in range(KILL.count):
            in_the_start = number % 4 == 3
            site.edge.ended.wait(chance.uniform(0.0, 0.8))
            site.edge.kill()
            site.start(wait=not in_the_start)
            if number % _SETTLED_EVERY == _SETTLED_EVERY - 1:
                site.catch_up()
        site.feeder.stop()
        site.edge.kill()
        site.start(cold=True)
        site.drain()
        assert site.edge.stop() == 0
        noted.update({"ready": spread_s(site.ready_s), "cold": spread_s(site.cold_s)})
        noted["inputs"] = len(site.feeder.kept)
        assert_it_held(site)
        assert max(site.ready_s) < _READY_S


def test_a_kill_at_each_labelled_point_loses_nothing_and_repeats_nothing(
    tmp_path: Path, nursery: Nursery, report: Report
) -> None:
    chance = random.Random(2)
    deaths = [place for place in range(len(LABELS)) for _ in range(LABEL.count)]
    with report.row(LABEL, times=len(deaths)) as noted, plant(tmp_path, nursery=nursery) as site:
        site.start()
        site.feeder.start(per_s=_PER_S)
        for place in deaths:
            site.edge.kill()
            edge = site.start(wait=False, label=place, passes=chance.randint(1, 6))
            assert edge.ended.wait(60.0), f"{LABELS[place].name} was never passed; {site.last_words()}"
            assert edge.status == -9, f"{LABELS[place].name}: {edge.status}; {site.last_words()}"
            if chance.random() < 1 / _SETTLED_EVERY:
                site.start()
                site.catch_up()
        site.feeder.stop()
        site.start()
        site.drain()
        assert site.edge.stop() == 0
        noted.update({"labels": len(LABELS), "inputs": len(site.feeder.kept)})
        assert_it_held(site)
