from __future__ import annotations

import json

from edge_node.device_page import MAX_CHARACTERS, device_page
from edge_node.messages import DeviceReport, FieldReport

SPEED = FieldReport("speed", 75, 1000.0, fresh=True, topic="plant/pump-1/telemetry", entry=0)


def report(name: str, *fields: FieldReport) -> DeviceReport:
    return DeviceReport("pump-guard", name, online=True, seen_at=1000.0, fields=fields)


def test_a_device_is_told_with_the_age_of_each_value_and_where_it_came_from() -> None:
    page = device_page([report("pump-1", SPEED)], now=1003.5)

    assert page == {
        "devices": [
            {
                "node": "pump-guard",
                "device": "pump-1",
                "online": True,
                "seen_at": "1970-01-01T00:16:40.000Z",
                "fields": {
                    "speed": {
                        "value": 75,
                        "at": "1970-01-01T00:16:40.000Z",
                        "age_s": 3.5,
                        "fresh": True,
                        "topic": "plant/pump-1/telemetry",
                        "entry": 0,
                    }
                },
            }
        ],
        "after": "",
    }


def test_what_was_ordered_and_never_reported_stands_beside_no_value() -> None:
    wanted = FieldReport("speed", None, None, fresh=False, desired=30, desired_at=1000.0, command_id="c1")

    (device,) = device_page([report("pump-1", wanted)], now=1000.0)["devices"]

    field = device["fields"]["speed"]
    assert (field["value"], field["age_s"], field["desired"]["value"]) == (None, None, 30)


def test_many_devices_come_in_pages_that_follow_each_other() -> None:
    long = FieldReport("note", "x" * 250, 1000.0, fresh=True)
    reports = [report(f"pump-{number:04}", long) for number in range(1000)]
    names: list[str] = []
    after = ""
    pages = 0
    while pages == 0 or after:
        rest = [each for each in reports if f"{each.node}/{each.device}" > after]
        page = device_page(rest, now=1000.0)
        assert len(json.dumps(page)) < 2 * MAX_CHARACTERS
        names += [device["device"] for device in page["devices"]]
        after, pages = page["after"], pages + 1

    assert names == [each.device for each in reports]
    assert pages > 2
