from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from edge_node.cli import edge_node
from edge_node.errors import ModelMissing, RecordingInvalid
from edge_node.identifiers import new_id
from edge_node.journal.recording import Recorded, read_recording, recording
from edge_node.messages import Message
from edge_node.rehearsal import Props
from edge_node.rehearsal.replay import Replay
from edge_node.runtime.wiring import Models
from tests.rehearsal.stage import NODES, Quiet, configuration
from tests.runtime.hall import Hall, WordEmbedder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

HOT = {"vib_rms": 1.0, "temp": {"bearing": 91.2}, "rpm": 80}


class SilentModel:
    """A language model that is not asked."""

    context = 2048

    def count(self, _turns: object) -> int:
        raise AssertionError

    def generate(self, *_: object, **__: object) -> Any:
        raise AssertionError


def lines(*messages: dict[str, Any]) -> str:
    return "".join(json.dumps(message) + "\n" for message in messages)


def heated() -> list[dict[str, Any]]:
    telemetry = "plant/pump-1/telemetry"
    return [
        {"t": 0, "topic": telemetry, "payload": {**HOT, "temp": {"bearing": 60}}},
        {"t": 10, "topic": telemetry, "payload": json.dumps(HOT), "qos": 1, "retained": False},
        {"t": 45, "topic": telemetry, "payload": HOT},
        {"t": 46, "topic": "edge/v1/stage/ask/ada", "payload": "set pump-1 to 90 percent"},
        {"t": 47, "topic": "edge/v1/stage/stop/bob"},
        {"t": 60, "topic": "edge/v1/stage/ask/ada", "payload": "set pump-1 to 40 percent"},
        {"t": 61, "topic": "nobody/hears/this", "payload": "x"},
    ]


def played(
    file: Path, text: str, *, models: Models | None = None, node: str = "pump-guard", **runtime: Any
) -> tuple[Replay, list[dict[str, Any]]]:
    file.write_text(text, encoding="utf-8")
    settings = configuration(node, **runtime)
    with closing(Props(settings, progress=Quiet(), models=models)) as props:
        replay = Replay(settings, props=props)
        return replay, list(replay.run(read_recording(file)))


def known() -> Models:
    return Models(SilentModel(), WordEmbedder())


def decided(happenings: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    return [
        (each["draft"].get("name", ""), each["verdict"]["rules"][-1]["rule"])
        for each in happenings
        if each["happening"] == "decision" and each["verdict"]
    ]


def test_a_recording_leads_to_what_the_service_would_have_done(tmp_path: Path) -> None:
    replay, happenings = played(tmp_path / "r.jsonl", lines(*heated()), models=known())

    assert (replay.played, replay.unheard) == (6, 1)
    assert decided(happenings) == [
        ("set_speed", "approve"),
        ("set_speed", "require[1]"),
        ("set_speed", "stop"),
    ]
    orders = [each for each in happenings if each["happening"] == "leaves" and each["to_device"]]
    assert [json.loads(each["payload"])["speed"] for each in orders] == [30]
    assert "bearing_c = 91.2" in next(each["detail"] for each in happenings if each.get("state") == "denied")


def test_the_same_recording_gives_the_same_to_the_letter(tmp_path: Path) -> None:
    first, second = (
        json.dumps(played(tmp_path / "r.jsonl", lines(*heated()), models=known())[1]) for _ in range(2)
    )

    assert first == second
    assert '"decision-1"' in first


def test_a_group_answers_as_one_edge(tmp_path: Path) -> None:
    said = {"t": 1, "topic": "edge/v1/hall/ask/ada", "payload": "set pump-1 to 40 percent"}

    replay, happenings = played(tmp_path / "r.jsonl", lines(said), models=known(), group="hall")

    assert replay.played == 1
    assert happenings[0]["request"]["user"] == "ada"


def test_a_missing_model_is_an_error_and_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_NODE_HOME", str(tmp_path / "empty"))
    asked = {"t": 1, "topic": "edge/v1/stage/ask/ada", "payload": "how often is the bearing greased?"}

    with pytest.raises(ModelMissing):
        played(tmp_path / "r.jsonl", lines(asked))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("{", "a JSON object"),
        ("[1]", "a JSON object"),
        ('{"topic": "a"}', "t as seconds"),
        ('{"t": true, "topic": "a"}', "t as seconds"),
        ('{"t": NaN, "topic": "a"}', "t as seconds"),
        ('{"t": -1, "topic": "a"}', "t as seconds"),
        ('{"t": "2026-01-01T10:00:00", "topic": "a"}', "time zone"),
        ('{"t": 1}', "topic as a text"),
        ('{"t": 1, "topic": "a/#"}', "a topic that a message may have"),
        ('{"t": 1, "topic": "a", "qos": 3}', "qos as 0, 1 or 2"),
        ('{"t": 1, "topic": "a", "retained": "no"}', "retained as true or false"),
        ('{"t": 1, "topic": "a", "payload_base64": "*"}', "base64"),
        ('{"t": 1, "topic": "a", "colour": 1}', "only correlation"),
    ],
)
def test_a_line_that_is_no_message_is_named(tmp_path: Path, line: str, expected: str) -> None:
    file = tmp_path / "r.jsonl"
    file.write_text(f'{{"t": 0, "topic": "a"}}\n\n{line}\n')

    with pytest.raises(RecordingInvalid, match=expected) as refused:
        list(read_recording(file))
    assert str(refused.value).startswith(f"{file}:3: ")


def test_what_is_no_text_at_all_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(RecordingInvalid):
        list(read_recording(tmp_path / "r.jsonl"))


def test_messages_are_the_same_after_they_were_recorded(tmp_path: Path) -> None:
    messages = [
        Message(new_id(), "a/b", b'{"x": "\xc3\xa4"}', 1_767_261_600.25, qos=1, retained=True),
        Message(new_id(), "a/b", b"\xff\x00", 1_767_261_601.5, correlation=b"c-1"),
    ]
    file = tmp_path / "r.jsonl"
    file.write_text("".join(f"{line}\n" for line in recording(messages)), encoding="utf-8")

    assert list(read_recording(file)) == [
        Recorded(
            each.received_at,
            relative=False,
            topic=each.topic,
            payload=each.payload,
            retained=each.retained,
            correlation=each.correlation,
        )
        for each in messages
    ]


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(edge_node, [str(each) for each in arguments])


def test_an_incident_is_written_from_the_journal_and_played_again(tmp_path: Path) -> None:
    hall = Hall(tmp_path, clock=1_767_261_600.0)
    hall.walk(hall.telemetry(rpm=80, c=60))
    hall.now += 700
    hall.walk(hall.telemetry(rpm=80, c=60))
    hall.now += 1
    _, result = hall.walk(hall.ask("set pump-1 to 40 percent"))
    hall.journal.close()
    settings = {"edge_node": 1, "edge": "hall-3", "nodes": [str(NODES / "rover")], "state": str(tmp_path)}
    config, file = tmp_path / "edge-node.yaml", tmp_path / "incident.jsonl"
    config.write_text(json.dumps(settings))

    told = run("explain", result.decisions[0].request.id, "--config", config, "--export", file)

    assert told.exit_code == 0
    assert [each.topic for each in read_recording(file)] == [
        "plant/pump-1/telemetry",
        "edge/v1/hall-3/ask/ada",
    ]
    assert file.stat().st_mode & 0o077 == 0
    run("history", "--config", config, "--export", tmp_path / "all.jsonl")
    assert len(list(read_recording(tmp_path / "all.jsonl"))) == 3


def test_the_command_prints_what_came_and_what_nobody_heard(tmp_path: Path) -> None:
    settings = {"edge_node": 1, "edge": "stage", "nodes": [str(NODES / "pump-guard")]}
    (tmp_path / "edge-node.yaml").write_text(json.dumps(settings))
    (tmp_path / "r.jsonl").write_text(lines({"t": 0, "topic": "nobody/hears/this"}))

    told = run("replay", tmp_path / "r.jsonl", "--config", tmp_path / "edge-node.yaml")

    assert (told.exit_code, told.stdout) == (0, "")
    assert told.stderr == "0 messages played, 1 on topics that nobody here listens to\n"
