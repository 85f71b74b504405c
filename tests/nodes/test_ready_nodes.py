"""The ready nodes, and the example of the guide: they load, and are understood as people speak."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hassil import parse_sentence

from edge_node.conditions import Condition
from edge_node.config.load import load_node
from edge_node.demo.pump_physics import PumpPhysics
from edge_node.demo.rover_physics import PLACES
from edge_node.topics import TopicPattern
from edge_node.understand.templates import Templates, sample

ROOT = Path(__file__).parents[2]
NODES = ROOT / "nodes"
NAMES = ("agv", "home", "log-watch", "manual-desk", "pump-guard", "rover")
DEVICES = {
    "agv": ("agv-7",),
    "home": ("hall_lamp", "front_door", "hall_blind", "hall_radiator"),
    "log-watch": (),
    "manual-desk": (),
    "pump-guard": ("pump-1", "pump-2", "pump-3"),
    "rover": ("rover-1",),
}
CALLED = {"cover": "hall_blind", "radiator": "hall_radiator", "door": "front_door"}


@pytest.fixture(scope="module")
def templates() -> Templates:
    return Templates([load_node(NODES / name) for name in NAMES])


@pytest.mark.parametrize("name", NAMES)
def test_a_ready_node_has_no_problem(name: str) -> None:
    assert load_node(NODES / name).name == name


def test_no_folder_is_left_out() -> None:
    assert tuple(sorted(folder.name for folder in NODES.iterdir() if folder.is_dir())) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_template_parses_and_is_understood_as_its_own_command(name: str, templates: Templates) -> None:
    node = load_node(NODES / name)
    for command, spec in node.spec.commands.items():
        assert spec.examples
        for template in spec.examples:
            parse_sentence(template)
        for sentence, arguments in sample(spec, limit=60):
            own = [key for key, argument in spec.args.items() if argument.device]
            device = CALLED.get(own[0], DEVICES[name][0])
            said = re.sub("|".join(f"{{{key}}}" for key in own), device, sentence)
            wanted = {key: device if spec.args[key].device else value for key, value in arguments.items()}
            found = [
                (match.command, dict(match.arguments)) for match in templates.matches(said, devices=DEVICES)
            ]
            assert found == [(command, wanted)], said


@pytest.mark.parametrize(
    ("said", "command", "arguments"),
    [
        ("slow pump-1 down to 40 percent", "set_speed", {"pump": "pump-1", "percent": 40}),
        ("please set the speed of pump 2 to 55%", "set_speed", {"pump": "pump-2", "percent": 55}),
        ("Pump 3 to 20", "set_speed", {"pump": "pump-3", "percent": 20}),
        ("run pump one at thirty percent", "set_speed", {"pump": "pump-1", "percent": 30}),
        ("turn pump-1 off", "stop_pump", {"pump": "pump-1"}),
        ("open the discharge valve of pump 1", "open_valve", {"pump": "pump-1"}),
        ("shut the pump 1 valve", "close_valve", {"pump": "pump-1"}),
        ("send rover-1 to bay two", "go_to", {"robot": "rover-1", "place": "bay_2"}),
        ("rover 1 back to the dock", "go_to", {"robot": "rover-1", "place": "dock"}),
        ("drive rover-1 forward 2.5 metres", "drive", {"robot": "rover-1", "distance_m": 2.5}),
        ("move rover 1 back by two metres", "drive_back", {"robot": "rover-1", "distance_m": 2}),
        ("turn rover-1 to the left by 90 degrees", "turn_left", {"robot": "rover-1", "degrees": 90}),
        ("rotate rover-1 right 45 degrees", "turn_right", {"robot": "rover-1", "degrees": 45}),
        ("limit rover-1 to 0.5 m/s", "set_max_speed", {"robot": "rover-1", "speed_m_s": 0.5}),
        ("halt rover-1 now", "halt", {"robot": "rover-1"}),
    ],
)
def test_people_are_understood_without_the_model(
    said: str, command: str, arguments: dict[str, Any], templates: Templates
) -> None:
    found = templates.matches(said, devices=DEVICES)
    assert [(match.command, dict(match.arguments)) for match in found] == [(command, arguments)]


def test_the_manual_desk_cannot_command_anything() -> None:
    node = load_node(NODES / "manual-desk")
    assert node.spec.ask
    assert not node.spec.commands
    assert not node.spec.triggers


@pytest.mark.parametrize(
    ("x", "y", "distance_m", "allowed"),
    [
        (10.0, 6.0, 5.0, True),
        (16.0, 6.0, 5.0, False),
        (16.0, 6.0, 1.0, True),
        (10.0, 11.5, 0.5, False),
        (0.5, 6.0, 0.5, False),
    ],
)
def test_the_fence_keeps_a_rover_inside_the_hall(
    *, x: float, y: float, distance_m: float, allowed: bool
) -> None:
    rover = load_node(NODES / "rover")
    values = {
        "device": {"online": True},
        "mode": "idle",
        "battery": 80,
        "x": x,
        "y": y,
        "distance_m": distance_m,
    }
    for name in ("drive", "drive_back"):
        conditions = [Condition.compile(source) for source in rover.spec.commands[name].require]
        assert all(condition.evaluate(values) for condition in conditions) is allowed


def test_the_rover_knows_the_places_of_its_node() -> None:
    places = load_node(NODES / "rover").spec.commands["go_to"].args["place"].enum
    assert set(places or ()) == set(PLACES)


def test_a_hot_pump_may_be_slowed_and_not_sped_up() -> None:
    node = load_node(NODES / "pump-guard")
    conditions = [Condition.compile(source) for source in node.spec.commands["set_speed"].require]
    hot = {"device": {"online": True}, "bearing_c": 91.0}
    assert all(condition.evaluate(hot | {"percent": 30}) for condition in conditions)
    assert not all(condition.evaluate(hot | {"percent": 70}) for condition in conditions)


def test_the_alarms_of_the_pump_fit_what_the_simulated_pump_does() -> None:
    node = load_node(NODES / "pump-guard")
    sound, worn = PumpPhysics.running(60.0), PumpPhysics.running(60.0)
    worn.worn_bearing = True
    worn.step(10.0)
    when = Condition.compile(node.spec.triggers["overheating"].when or "")
    assert when.evaluate({"bearing_c": sound.bearing_c}) is False
    assert when.evaluate({"bearing_c": worn.bearing_c}) is True


def test_a_rover_at_its_dock_is_not_sent_there_again() -> None:
    when = Condition.compile(load_node(NODES / "rover").spec.triggers["battery_low"].when or "")
    assert when.evaluate({"battery": 15, "mode": "idle"}) is True
    assert when.evaluate({"battery": 15, "mode": "charging"}) is False


def test_the_example_of_the_guide_is_a_good_node(tmp_path: Path) -> None:
    guide = (ROOT / "docs" / "writing-a-node.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(\w+)\n(.*?)```", guide, re.DOTALL)
    node_file = next(text for kind, text in blocks if kind == "yaml")
    (tmp_path / "node.yaml").write_text(node_file, encoding="utf-8")
    (tmp_path / "manual").mkdir()
    (tmp_path / "manual" / "fan.md").write_text("# Fan\n", encoding="utf-8")
    node = load_node(tmp_path)
    payload = json.loads(next(text for kind, text in blocks if kind == "json"))
    entry = node.spec.listen[0]
    assert TopicPattern.parse(entry.topic).match("greenhouse/fan-1/state") == {"fan": "fan-1"}
    assert {path.split(".")[0] for path in entry.fields.values()} == payload.keys()
    found = Templates([node]).matches("bring fan 1 up to twelve hundred", devices={"greenhouse": ("fan-1",)})
    assert [dict(match.arguments) for match in found] == [{"fan": "fan-1", "speed_rpm": 1200}]
