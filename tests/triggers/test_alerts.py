"""Alerts of triggers: told once as an episode begins and once as it ends."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from edge_node.config.load import load_node
from edge_node.config.loaded import Configuration
from edge_node.config.models import RuntimeConfig
from edge_node.errors import ConfigurationInvalid
from edge_node.messages import NothingDraft, Outgoing, Wanted
from edge_node.pipeline import Result
from edge_node.rehearsal import Props, Rehearsal
from tests.rehearsal.stage import Quiet
from tests.runtime.hall import SPEC, Hall

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TRIGGERS: dict[str, Any] = {
    "hot": {"when": "temp > 80", "until": "temp < 70", "alert": "{pump} is at {temp} degrees"},
    "long": {"when": "temp > 80", "for": "10s", "alert": "{pump} has been hot for long"},
    "silent": {"absent": "30s", "alert": "{pump} says nothing"},
    "either": {"any": ["hot", "silent"], "alert": "something is wrong with {pump}"},
}
NODE: dict[str, Any] = {
    "edge_node": 1,
    "name": "pumps",
    "listen": [{"topic": "plant/{pump}/state", "qos": 1, "fields": {"temp": "temp"}}],
    "triggers": TRIGGERS,
}


def write(folder: Path, triggers: dict[str, Any]) -> Path:
    (folder / "node.yaml").write_text(yaml.safe_dump({**NODE, "triggers": triggers}), encoding="utf-8")
    return folder


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[Rehearsal]:
    node = load_node(write(tmp_path, TRIGGERS))
    configuration = Configuration(RuntimeConfig(edge_node=1, edge="stage"), (node,), tmp_path)
    props = Props(configuration, progress=Quiet())
    edge = Rehearsal(configuration, props=props)
    yield edge
    edge.close()
    props.close()


def say(edge: Rehearsal, temp: float) -> None:
    edge.pass_time(1)
    edge.feed("plant/pump-1/state", json.dumps({"temp": temp}).encode())


def bodies(edge: Rehearsal) -> list[dict[str, Any]]:
    left = (each.what for each in edge.happenings if isinstance(each.what, Outgoing))
    return [json.loads(outgoing.payload)["data"] for outgoing in left if "/alert/" in outgoing.topic]


def told(edge: Rehearsal, trigger: str) -> list[str]:
    return [body["state"] for body in bodies(edge) if body["trigger"] == trigger]


def test_an_alert_is_told_once_as_it_begins_and_once_as_it_ends(edge: Rehearsal) -> None:
    for temp in (60, 85, 90, 75, 65, 60):
        say(edge, temp)
    begun, over = (body for body in bodies(edge) if body["trigger"] == "hot")
    assert (begun["alert"], begun["state"]) == ("pumps.hot.pump-1", "begin")
    assert (begun["text"], begun["values"]) == ("pump-1 is at 85 degrees", {"temp": 85})
    assert "ended_at" not in begun
    assert (over["state"], over["text"]) == ("end", "over: pump-1 is at 65 degrees")
    assert over["began_at"] == begun["began_at"] < over["ended_at"]


def test_its_topic_names_node_trigger_and_device(edge: Rehearsal) -> None:
    say(edge, 85)
    topics = {each.what.topic for each in edge.happenings if isinstance(each.what, Outgoing)}
    assert "edge/v1/stage/alert/pumps.hot.pump-1" in topics


def test_restarts_anywhere_tell_nothing_twice_and_lose_no_end(edge: Rehearsal) -> None:
    for temp in (60, 85, 90, 75, 65, 85, 60):
        edge.restart()
        say(edge, temp)
        edge.restart()
    assert told(edge, "hot") == ["begin", "end", "begin", "end"]


def test_what_was_not_long_enough_to_alarm_is_no_alert(edge: Rehearsal) -> None:
    for temp in (85, 85, 60):
        say(edge, temp)
    assert told(edge, "long") == []
    for temp in [85] * 12 + [60]:
        say(edge, temp)
    assert told(edge, "long") == ["begin", "end"]


def test_a_silence_is_over_when_the_device_speaks(edge: Rehearsal) -> None:
    say(edge, 60)
    edge.pass_time(40)
    assert told(edge, "silent") == ["begin"]
    edge.restart()
    say(edge, 60)
    assert told(edge, "silent") == ["begin", "end"]


def test_several_told_as_one_are_over_with_the_last(edge: Rehearsal) -> None:
    say(edge, 85)
    edge.pass_time(40)
    assert told(edge, "either") == ["begin"]
    say(edge, 85)
    assert told(edge, "either") == ["begin"]
    say(edge, 60)
    assert told(edge, "either") == ["begin", "end"]


@pytest.fixture
def spec() -> dict[str, Any]:
    spec = copy.deepcopy(SPEC)
    spec["triggers"] = {
        "asked": {"when": "vib > 7", "choose": ["jog"]},
        "shaking": {"when": "vib > 7", "alert": "{pump} shakes"},
    }
    return spec


def states(hall: Hall) -> list[str]:
    left = [outgoing for outgoing in hall.told() if "/alert/" in outgoing.topic]
    return [json.loads(outgoing.payload)["data"]["state"] for outgoing in left]


def test_an_alert_does_not_wait_for_the_model_and_its_end_comes_behind_it(
    tmp_path: Path, spec: dict[str, Any]
) -> None:
    hall = Hall(tmp_path, spec=spec)
    hall.drafting.say = lambda *_: NothingDraft("pump-guard", "nothing fits")
    path = hall.pipeline.path(hall.telemetry(vib=9), now=hall.now)
    assert isinstance(next(path), Wanted)
    assert states(hall) == ["begin"]
    hall.now += 1
    hall.walk(hall.telemetry(vib=2))
    assert states(hall) == ["begin", "end"]
    assert [result.decisions[0].request.trigger for result in path if isinstance(result, Result)] == ["asked"]
    assert states(hall) == ["begin", "end"]
    hall.journal.close()


def test_what_is_interrupted_after_the_alert_is_not_told_again(tmp_path: Path, spec: dict[str, Any]) -> None:
    before = Hall(tmp_path, spec=spec)
    message = before.telemetry(vib=9)
    assert isinstance(next(before.pipeline.path(message, now=before.now)), Wanted)
    before.journal.close()
    after = Hall(tmp_path, spec=spec)
    after.drafting.say = lambda *_: NothingDraft("pump-guard", "nothing fits")
    after.pipeline.restore()
    after.walk(message)
    assert states(after) == ["begin"]
    after.journal.close()


def test_an_alert_whose_trigger_is_taken_away_is_over(tmp_path: Path, spec: dict[str, Any]) -> None:
    before = Hall(tmp_path, spec=spec)
    before.drafting.say = lambda *_: NothingDraft("pump-guard", "nothing fits")
    before.walk(before.telemetry(vib=9))
    other = copy.deepcopy(spec)
    del other["triggers"]["shaking"]
    after = Hall(tmp_path, spec=other, before=before)
    after.take_over(before)
    after.walk(None)
    after.walk(None)
    assert states(after) == ["begin", "end"]
    after.journal.close()


@pytest.mark.parametrize(
    ("trigger", "came"),
    [
        ({"every": "1h", "alert": "now"}, "beside 'every'"),
        ({"all": ["hot", "long"], "within": "1m", "alert": "now"}, "beside 'within'"),
        ({"when": "changed(temp)", "alert": "now"}, "'until'"),
        ({"when": "temp > 1", "alert": "{tmp}"}, "{tmp}"),
    ],
)
def test_an_alert_that_could_never_end_or_not_be_told_is_refused(
    trigger: dict[str, Any], came: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationInvalid) as refused:
        load_node(write(tmp_path, {**TRIGGERS, "it": trigger}))
    assert len(refused.value.problems) == 1
    assert came in str(refused.value)
