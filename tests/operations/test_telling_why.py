from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from edge_node.cli import edge_node
from edge_node.config.models import RuntimeConfig
from edge_node.errors import DecisionUnknown, EnvelopeInvalid, NotPermitted
from edge_node.identifiers import new_id
from edge_node.messages import Message
from edge_node.observe.explanation import explained
from edge_node.operations import OperatorDesk
from edge_node.runtime.state_lock import StateLock
from edge_node.stop import Outlet, StopFile, StopLatch
from tests.runtime.hall import SPEC, TOPICS, Hall

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_node.messages import Operated

NODE = """\
edge_node: 1
name: lamp
commands:
  switch:
    description: Switch the lamp.
    examples: ["switch (on|off)"]
    publish: {topic: lamp/set, payload: 1}
"""


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[Hall]:
    made = Hall(tmp_path)
    made.walk(made.telemetry(rpm=80, c=60, vib=1.0))
    yield made
    made.journal.close()


@pytest.fixture
def desk(hall: Hall, tmp_path: Path) -> OperatorDesk:
    runtime = {"edge_node": 1, "edge": TOPICS.edge, "operators": {"explain": ["ada"]}}
    return OperatorDesk(
        RuntimeConfig.model_validate(runtime),
        topics=TOPICS,
        lifecycle=hall.lifecycle,
        gate=hall.pipeline._stages.gate,
        stop=StopLatch(StopFile(tmp_path / "stop"), outlet=Outlet(), boot="b", clock=hall.clock),
        decisions=hall.journal.archive,
        twin=hall.twin,
    )


def operate(desk: OperatorDesk, operation: str, *, user: str = "ada", **body: Any) -> Operated:
    message = Message(new_id(), TOPICS.operation(user, operation), json.dumps(body).encode(), 1000.0)
    done = desk.carry_out(message)
    assert done is not None
    return done


def test_who_is_named_is_told_over_the_bus_what_the_file_tells(hall: Hall, desk: OperatorDesk) -> None:
    _, result = hall.walk(hall.ask("set pump-1 to 40 percent", user="bob"))
    name = result.decisions[0].request.id

    told = operate(desk, "explain", id=name, correlation="c-1")
    listed = operate(desk, "history", since="1h", device="pump-1", limit="5")
    (response,) = hall.pipeline._stages.announcing.response(told)

    assert told.data["found"] == hall.journal.archive.explain(name)
    assert [entry["id"] for entry in listed.data["history"]] == [name]
    body = json.loads(response.payload)
    assert (response.topic, body["corr"]) == (TOPICS.operation_response("ada", "explain"), "c-1")
    assert body["data"]["found"][0]["decision"]["request"]["text"] == "set pump-1 to 40 percent"


@pytest.mark.parametrize("operation", ["explain", "history"])
def test_who_is_not_named_is_told_nothing(desk: OperatorDesk, operation: str) -> None:
    body = {"id": "x"} if operation == "explain" else {}
    with pytest.raises(NotPermitted, match="bob"):
        operate(desk, operation, user="bob", **body)


@pytest.mark.parametrize(
    ("operation", "body", "field"),
    [
        ("explain", {}, "id"),
        ("explain", {"id": "x" * 300}, "id"),
        ("history", {"since": "yesterday"}, "since"),
        ("history", {"limit": "0"}, "limit"),
        ("history", {"limit": "9" * 5000}, "limit"),
        ("history", {"limit": "001" + "9" * 5000}, "limit"),
        ("history", {"users": "bob"}, "users"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_field(
    desk: OperatorDesk, operation: str, body: dict[str, str], field: str
) -> None:
    with pytest.raises(EnvelopeInvalid) as refused:
        operate(desk, operation, **body)
    assert refused.value.field == field


def test_an_unknown_identifier_is_told(desk: OperatorDesk) -> None:
    with pytest.raises(DecisionUnknown):
        operate(desk, "explain", id="nothing")


@pytest.fixture
def config(hall: Hall, tmp_path: Path) -> Path:
    """Give a runtime file whose state is the hall's, and whose broker does not answer."""
    (tmp_path / "lamp").mkdir()
    (tmp_path / "lamp" / "node.yaml").write_text(NODE)
    file = tmp_path / "edge-node.yaml"
    settings = {"edge_node": 1, "edge": TOPICS.edge, "nodes": ["lamp"], "state": str(tmp_path)}
    file.write_text(json.dumps({**settings, "broker": {"port": 1}}))
    hall.walk(hall.ask("set pump-1 to 40 percent", user="bob"))
    return file


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(edge_node, [str(each) for each in arguments])


def test_without_a_running_edge_the_file_tells(hall: Hall, config: Path) -> None:
    listed = run("history", "--config", config, "--json")
    (entry,) = json.loads(listed.stdout)["history"]

    lines = run("explain", entry["id"], "--config", config)
    whole = run("explain", entry["id"], "--config", config, "--json")

    assert run("history", "--config", config).stdout.count("\n") == 1
    assert entry["id"] in lines.stdout
    assert "\ngate        allowed\n" in lines.stdout
    expected = hall.journal.archive.explain(entry["id"])
    assert json.loads(whole.stdout)["found"] == list(expected)
    assert run("history", "--config", config, "--since", "1s").stdout == ""
    assert run("history", "--config", config, "--since", "soon").exit_code == 2


def test_where_the_running_edge_cannot_be_asked_the_file_tells_and_says_so(
    config: Path, tmp_path: Path
) -> None:
    lock = StateLock.take(tmp_path)
    try:
        told = run("history", "--config", config)
    finally:
        lock.release()

    assert told.exit_code == 0
    assert "because the edge did not tell" in told.stderr
    assert told.stdout.count("\n") == 1


def test_a_record_of_an_older_version_is_still_told(hall: Hall) -> None:
    hall.walk(hall.ask("set pump-1 to 40 percent", user="bob"))
    (document,) = hall.journal.archive.explain(hall.journal.archive.records()[0]["request"]["id"])
    for key in ("message", "times", "matter", "made_by"):
        del document["decision"][key]
    del document["decision"]["request"]["evidence"]

    assert "asked       bob: set pump-1 to 40 percent" in list(explained(document))


def test_the_values_of_windows_are_kept_with_a_decision_and_told(tmp_path: Path) -> None:
    shaking = {"when": "avg(vib, 4s) > 7.1 || stddev(vib, 1h) > 2", "do": {"jog": {"pump": "{pump}"}}}
    hall = Hall(tmp_path, spec={**SPEC, "triggers": {"shaking": shaking}})
    for vibration in (7, 7, 7, 7, 7, 8.5):
        _, result = hall.walk(hall.telemetry(vib=vibration))
        hall.now += 1
    (document,) = hall.journal.archive.explain(result.decisions[0].request.id)
    hall.journal.close()

    windows = {"avg(vib, 4s)": 7.375, "stddev(vib, 1h)": None}
    assert document["decision"]["request"]["evidence"]["windows"] == windows
    told = "it saw vib = 8.5, avg(vib, 4s) = 7.375, stddev(vib, 1h) = unknown"
    assert any(told in line for line in explained(document))
