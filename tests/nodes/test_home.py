"""The home node against things that speak as zigbee2mqtt lets them speak."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from edge_node.messages import Command, CommandState, Outgoing
from tests.rehearsal.stage import rehearsing

if TYPE_CHECKING:
    from edge_node.rehearsal import Rehearsal

BASE = "zigbee2mqtt"
LOCK = {"LOCK": "locked", "UNLOCK": "unlocked"}
COVER = {"OPEN": 100, "CLOSE": 0}


@dataclass
class Zigbee:
    """Things by name with what they report; each takes up what it is set to, and reports all it has."""

    rehearsal: Rehearsal
    things: dict[str, dict[str, Any]] = field(default_factory=dict)
    _heard: int = 0

    def pair(self, name: str, **state: Any) -> None:
        self.things[name] = {"linkquality": 98, "update": {"state": "idle"}, **state}
        self.rehearsal.feed(f"{BASE}/{name}/availability", b'{"state":"online"}', retained=True)
        self.report(name)

    def report(self, name: str) -> None:
        self.rehearsal.feed(f"{BASE}/{name}", json.dumps(self.things[name]).encode())

    def listen(self) -> None:
        """Let every thing take up what has left for it since the last time."""
        left = [each.what for each in self.rehearsal.happenings if isinstance(each.what, Outgoing)]
        new, self._heard = left[self._heard :], len(left)
        self.rehearsal.pass_time(1)
        for outgoing in new:
            base, _, rest = outgoing.topic.partition("/")
            if base == BASE:
                name, _, verb = rest.rpartition("/")
                assert verb == "set"
                self._set(name, json.loads(outgoing.payload))

    def _set(self, name: str, wanted: dict[str, Any]) -> None:
        thing = self.things[name]
        assert wanted.keys() <= thing.keys() | {"transition"}, f"{name} has no such property: {wanted}"
        for key, value in wanted.items():
            if key in thing:
                thing[key] = value
        if "lock_state" in thing:
            thing["lock_state"] = LOCK[thing["state"]]
        if "position" in thing and "state" in wanted:
            thing["position"] = COVER[wanted["state"]]
        self.report(name)


@pytest.mark.parametrize(
    ("said", "name", "shown"),
    [
        ("switch on the hall lamp", "hall_lamp", {"state": "ON"}),
        ("turn the hall lamp off", "hall_lamp", {"state": "OFF"}),
        ("dim the hall lamp", "hall_lamp", {"state": "ON", "brightness": 60}),
        ("brighten the hall lamp", "hall_lamp", {"state": "ON", "brightness": 254}),
        ("set the blind to 35 percent", "blind", {"position": 35}),
        ("close the blind", "blind", {"position": 0}),
        ("raise the blind", "blind", {"position": 100}),
        ("set the bathroom to 21 degrees", "bathroom", {"occupied_heating_setpoint": 21}),
        ("lock the front door", "front_door", {"state": "LOCK", "lock_state": "locked"}),
    ],
)
def test_what_people_order_reaches_the_thing_and_is_verified(
    said: str, name: str, shown: dict[str, Any]
) -> None:
    with rehearsing("home") as rehearsal:
        zigbee = Zigbee(rehearsal)
        zigbee.pair("hall_lamp", state="OFF", brightness=120, color_mode="color_temp")
        zigbee.pair("blind", state="OPEN", position=80)
        zigbee.pair("bathroom", local_temperature=19.5, occupied_heating_setpoint=18, battery=80)
        zigbee.pair("front_door", state="UNLOCK", lock_state="unlocked", battery=70)
        rehearsal.ask("anna", said)
        zigbee.listen()
        states = [each.what.state for each in rehearsal.happenings if isinstance(each.what, Command)]
        assert states[-1:] == [CommandState.VERIFIED]
        assert shown.items() <= zigbee.things[name].items()


def test_a_lock_opens_for_nobody_without_an_approval() -> None:
    with rehearsing("home") as rehearsal:
        zigbee = Zigbee(rehearsal)
        zigbee.pair("front_door", state="LOCK", lock_state="locked")
        for words in ("unlock the front door", "front door unlock", "turn on the front door"):
            rehearsal.ask("ben", words)
            zigbee.listen()
        assert zigbee.things["front_door"]["lock_state"] == "locked"
