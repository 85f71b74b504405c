from __future__ import annotations

import json
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from edge_node.announcing import Announcing
from edge_node.errors import EdgeNodeError, ModelMissing, TransitionInvalid
from edge_node.knowledge.building import BuildReport
from edge_node.runtime.changes import Changes
from edge_node.runtime.reading import read_configuration
from edge_node.runtime.reloading import Outcome, Reloading, Wish, answer
from tests.runtime.hall import SPEC, TOPICS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_node.config.loaded import Configuration

DEADLINE_S = 60.0
REPORT = BuildReport(3, 7, 2, 5, 0, unreadable=(), notes=(), unmatched=(), elapsed_s=0.5)


class Edge:
    """Files, and what an edge would do with them."""

    def __init__(self, folder: Path) -> None:
        self.node = folder / "nodes" / "pump" / "node.yaml"
        self.node.parent.mkdir(parents=True)
        self.file = folder / "edge-node.yaml"
        self.file.write_text(json.dumps({"edge_node": 1, "edge": "hall"}))
        self.say(SPEC)
        self.taken_up: list[Configuration] = []
        self.refusal: EdgeNodeError | None = None
        self.outcomes: list[tuple[Wish, Outcome]] = []
        self.manuals_read = threading.Semaphore(0)
        self.refreshed = threading.Semaphore(0)
        self.unreadable: EdgeNodeError | None = None
        self._answered = threading.Semaphore(0)
        self.reloading = Reloading(
            read_configuration(self.file),
            take_up=self._take_up,
            answer=self._answer,
            read_manuals=self._read_manuals,
            refresh=self.refreshed.release,
            refresh_s=0.05,
        )

    def say(self, spec: dict[str, Any]) -> None:
        self.node.write_text(json.dumps(spec, indent=1))

    def _read_manuals(self) -> BuildReport:
        self.manuals_read.release()
        if self.unreadable:
            raise self.unreadable
        return REPORT

    def _take_up(self, configuration: Configuration) -> None:
        if self.refusal:
            raise self.refusal
        self.taken_up.append(configuration)

    def _answer(self, wish: Wish, outcome: Outcome) -> None:
        self.outcomes.append((wish, outcome))
        self._answered.release()

    def answered(self) -> bool:
        return self._answered.acquire(timeout=DEADLINE_S)

    def wish(self, correlation: str) -> Outcome:
        """Return what comes of a wish."""
        self.reloading.request("ada", correlation)
        while not any(wish == Wish("ada", correlation) for wish, _ in self.outcomes):
            assert self._answered.acquire(timeout=DEADLINE_S)
        return next(outcome for wish, outcome in self.outcomes if wish == Wish("ada", correlation))


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[Edge]:
    made = Edge(tmp_path)
    made.reloading.start()
    yield made
    made.reloading.stop()


def test_what_was_wished_for_early_is_done_after_the_start(tmp_path: Path) -> None:
    edge = Edge(tmp_path)
    edge.reloading.request("ada", "early")
    edge.reloading.start()
    try:
        assert isinstance(edge.wish("later"), Changes)
    finally:
        edge.reloading.stop()
    assert [wish.correlation for wish, _ in edge.outcomes] == ["early", "later"]


def test_every_problem_of_all_files_is_told_and_nothing_is_taken_up(edge: Edge) -> None:
    edge.say({**SPEC, "stale": 5, "nam": "x", "aks": True, "lisn": []})
    edge.file.write_text(json.dumps({"edge_node": 1, "edge": "hall", "brok": {}}))

    outcome = edge.wish("bad")

    assert isinstance(outcome, EdgeNodeError)
    assert edge.taken_up == []
    assert f"{edge.file}:1: brok: expected one of" in edge.reloading.trouble
    assert edge.reloading.trouble.endswith("; and 2 more")
    assert "\n" not in edge.reloading.trouble


def test_a_sentence_template_that_does_not_parse_is_told_with_its_line(edge: Edge) -> None:
    bad = json.loads(json.dumps(SPEC))
    bad["commands"]["jog"]["examples"] = ["jog ({pump}"]
    edge.say(bad)
    line = 1 + edge.node.read_text().split("jog (")[0].count("\n")

    assert isinstance(edge.wish("bad"), EdgeNodeError)
    assert f"{edge.node}:{line}" in edge.reloading.trouble


def test_the_trouble_is_over_once_the_files_are_as_they_were(edge: Edge) -> None:
    edge.node.write_text("{")
    assert isinstance(edge.wish("bad"), EdgeNodeError)
    assert edge.reloading.trouble

    edge.say(SPEC)
    outcome = edge.wish("good")
    assert isinstance(outcome, Changes)
    assert (outcome.any_taken_up, edge.reloading.trouble, edge.taken_up) == (False, "", [])


def test_what_cannot_be_made_of_good_files_is_a_trouble_too(edge: Edge) -> None:
    edge.refusal = ModelMissing("m")
    edge.say({**SPEC, "stale": "5s"})
    assert edge.wish("refused") is edge.refusal
    assert edge.reloading.trouble == str(edge.refusal)

    edge.refusal = None
    assert isinstance(edge.wish("again"), Changes)
    assert edge.taken_up[-1].nodes[0].spec.stale == 5
    assert edge.reloading.trouble == ""


def test_manuals_are_read_where_only_they_have_changed(edge: Edge) -> None:
    manual = edge.node.parent / "manual" / "pump.md"
    manual.parent.mkdir()
    manual.write_text("# Pump\n")

    assert edge.manuals_read.acquire(timeout=DEADLINE_S)
    assert edge.taken_up == []


def test_a_wish_for_the_index_reads_the_manuals_and_no_configuration(edge: Edge) -> None:
    edge.node.write_text("{")

    edge.reloading.request("ada", "c-2", "reindex")
    wish = Wish("ada", "c-2", "reindex")
    while (wish, REPORT) not in edge.outcomes:
        assert edge.answered()

    (told,) = answer(wish, REPORT, Announcing(TOPICS, clock=lambda: 1000.0))
    body = json.loads(told.payload)
    assert told.topic == TOPICS.operation_response("ada", "reindex")
    assert (body["data"]["final"], body["data"]["chunks"]) == (True, 7)
    assert body["data"]["text"] == "3 files with 7 passages, 2 of them new, in 0.5 s"


def test_an_index_that_cannot_be_written_is_told_and_the_thread_goes_on(edge: Edge) -> None:
    edge.unreadable = TransitionInvalid("index", expected="room", came="none")
    edge.reloading.request("ada", "c-3", "reindex")
    while not any(outcome is edge.unreadable for _, outcome in edge.outcomes):
        assert edge.answered()

    assert isinstance(edge.wish("later"), Changes)


def test_the_index_is_brought_up_to_the_bus_again_and_again(edge: Edge) -> None:
    assert edge.refreshed.acquire(timeout=DEADLINE_S)
    assert edge.refreshed.acquire(timeout=DEADLINE_S)


def test_who_waits_is_told_and_nobody_else() -> None:
    announcing = Announcing(TOPICS, clock=lambda: 1000.0)
    (told,) = answer(Wish("ada", "c-1"), Changes(added=("fan",)), announcing)
    body = json.loads(told.payload)
    assert (told.topic, body["type"], body["corr"]) == (
        TOPICS.operation_response("ada", "reload"),
        "response",
        "c-1",
    )
    assert (body["data"]["added"], body["data"]["final"]) == (["fan"], True)

    (refused,) = answer(
        Wish("ada", "c-1"), TransitionInvalid("c", expected="one", came="another"), announcing
    )
    data = json.loads(refused.payload)["data"]
    assert (data["operation"], data["final"], data["error"]["code"]) == ("reload", True, "transition_invalid")
    assert answer(Wish(), Changes(), announcing) == ()


def test_systemd_is_told_of_the_beginning_and_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        channel.settimeout(DEADLINE_S)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        edge = Edge(tmp_path)
        edge.node.write_text("{")
        edge.reloading.start()
        edge.wish("bad")
        edge.reloading.stop()
        begin, end = (channel.recv(2048).decode() for _ in range(2))

    assert begin.startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert begin.rpartition("=")[2].isdigit()
    assert end.startswith(f"READY=1\nSTATUS=refused, the old configuration goes on: {edge.node}")
    assert end.count("\n") == 1
