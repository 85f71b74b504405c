"""What is known of devices, as JSON in pages of a bounded size.

Pure functions over reports; knows nothing of how they come about, or who asks.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_node.messages import DeviceReport, FieldReport

MAX_CHARACTERS = 128 * 1024
"""About how long a page is."""


def device_page(reports: Iterable[DeviceReport], *, now: float) -> dict[str, Any]:
    """Return as many devices as fit a page, and in `after` where the next one begins; empty at the end.

    Args:
        reports: The devices, in their order.
        now: Time from which ages count, seconds since the epoch.
    """
    devices: list[dict[str, Any]] = []
    characters = 0
    for report in reports:
        device = _device(report, now=now)
        characters += len(json.dumps(device))
        if devices and characters > MAX_CHARACTERS:
            last = devices[-1]
            return {"devices": devices, "after": f"{last['node']}/{last['device']}"}
        devices.append(device)
    return {"devices": devices, "after": ""}


def _device(report: DeviceReport, *, now: float) -> dict[str, Any]:
    return {
        "node": report.node,
        "device": report.device,
        "online": report.online,
        "seen_at": _stamp(report.seen_at) if report.seen_at else None,
        "fields": {each.name: _field(each, now=now) for each in report.fields},
    }


def _field(report: FieldReport, *, now: float) -> dict[str, Any]:
    told: dict[str, Any] = {
        "value": report.value,
        "at": None if report.at is None else _stamp(report.at),
        "age_s": None if report.at is None else round(max(0.0, now - report.at), 3),
        "fresh": report.fresh,
        "topic": report.topic,
        "entry": report.entry,
    }
    if report.desired_at is not None:
        told["desired"] = {
            "value": report.desired,
            "at": _stamp(report.desired_at),
            "command_id": report.command_id,
        }
    return told


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
