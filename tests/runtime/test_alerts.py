"""One alert as a trouble begins, and one as it ends."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from edge_node.announcing import Announcing
from edge_node.errors import BrokerUnreachable
from edge_node.runtime.alerts import Alerts
from edge_node.topics import EdgeTopics

if TYPE_CHECKING:
    from edge_node.messages import Outgoing


class Desk:
    """Alerts over a bus that may be away, on a clock."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.away = False
        self.sent: list[tuple[str, dict[str, Any]]] = []
        announcing = Announcing(EdgeTopics("hall"), clock=lambda: self.now)
        self.alerts = Alerts(announcing, publish=self.publish, clock=lambda: self.now, quiet_s=10.0)

    def publish(self, outgoing: Outgoing) -> None:
        if self.away:
            raise BrokerUnreachable("broker", reason="away")
        assert not outgoing.retain
        self.sent.append((outgoing.topic, json.loads(outgoing.payload)["data"]))

    def told(self) -> list[tuple[str, str]]:
        self.alerts.send()
        return [(topic.rpartition("/")[2], data["state"]) for topic, data in self.sent]


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_count_that_grows_is_one_episode_with_its_number(desk: Desk) -> None:
    for total in (0, 3, 40, 41, 41, 90):
        desk.alerts.count("readings_dropped", total)
        desk.now += 1
    assert desk.told() == [("readings_dropped", "begin")]

    desk.now += 9
    desk.alerts.count("readings_dropped", 90)

    assert desk.told() == [("readings_dropped", "begin"), ("readings_dropped", "end")]
    topic, data = desk.sent[-1]
    assert (topic, data["count"]) == ("edge/v1/hall/alert/readings_dropped", 90)
    assert data["began_at"] < data["ended_at"]


def test_the_next_episode_counts_anew(desk: Desk) -> None:
    for total in (5, 5, 12, 12):
        desk.alerts.count("queue_full", total)
        desk.now += 11

    assert desk.told() == [("queue_full", state) for state in ("begin", "end") * 2]
    assert [data.get("count") for _, data in desk.sent] == [None, 5, None, 7]


def test_a_state_is_told_as_it_changes_and_not_again(desk: Desk) -> None:
    for trouble in ("", "disk full", "disk full", "still full", "", ""):
        desk.alerts.state("disk_failing", trouble)

    assert desk.told() == [("disk_failing", "begin"), ("disk_failing", "end")]
    assert "disk full" in desk.sent[0][1]["text"]


def test_what_happens_without_a_broker_is_told_once_it_is_back(desk: Desk) -> None:
    desk.away = True
    desk.alerts.state("broker_outage", "no connection")
    assert desk.told() == []
    desk.now += 60
    desk.alerts.state("broker_outage", "")
    desk.away = False

    assert desk.told() == [("broker_outage", "begin"), ("broker_outage", "end")]
    assert desk.sent[0][1]["began_at"] == desk.sent[1][1]["began_at"]


def test_a_clock_that_is_set_back_ends_an_episode_after_all(desk: Desk) -> None:
    desk.alerts.count("queue_full", 1)
    desk.now -= 3600
    desk.alerts.count("queue_full", 1)

    assert desk.told()[-1] == ("queue_full", "end")
