"""What VDA 5050, version 2, asks of messages: its own JSON Schemas, and stricter ones from its tables.

The published schemas allow keys that the standard does not know, and texts that are empty.

Source: VDA 5050, Interface for the communication between automated guided vehicles (AGV) and a master
control, version 2.1.0: protocol header, topics order, instantActions, state and connection.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent / "vda5050_2_1_0"
PUBLISHED: dict[str, Any] = {
    name: json.loads((_FOLDER / f"{name}.schema").read_text(encoding="utf-8"))
    for name in ("order", "instantActions", "state", "connection")
}
_TEXT = {"type": "string", "minLength": 1}
_NUMBER = {"type": "integer", "minimum": 0, "maximum": 2**32 - 1}
_HEADER: dict[str, Any] = {
    "headerId": _NUMBER,
    "timestamp": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,3}Z$"},
    "version": {"type": "string", "pattern": r"^2\.\d+\.\d+$"},
    "manufacturer": _TEXT,
    "serialNumber": {"type": "string", "pattern": r"^[A-Za-z0-9_.:-]+$"},
}


def _object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


_ACTION = _object(
    actionType=_TEXT,
    actionId=_TEXT,
    blockingType={"enum": ["NONE", "SOFT", "HARD"]},
    actionParameters={"type": "array", "items": _object(key=_TEXT, value={})},
)
_ACTIONS = {"type": "array", "items": _ACTION}
_PART = {"sequenceId": _NUMBER, "released": {"type": "boolean"}, "actions": _ACTIONS}

INSTANT_ACTIONS = _object(**_HEADER, actions={**_ACTIONS, "minItems": 1})
ORDER = _object(
    **_HEADER,
    orderId=_TEXT,
    orderUpdateId=_NUMBER,
    nodes={"type": "array", "minItems": 1, "items": _object(nodeId=_TEXT, **_PART)},
    edges={
        "type": "array",
        "items": _object(edgeId=_TEXT, startNodeId=_TEXT, endNodeId=_TEXT, **_PART),
    },
)


def order_faults(order: dict[str, Any]) -> list[str]:
    """Return what is wrong with the route of an order: nodes and edges alternate and hang together."""
    nodes, edges = order["nodes"], order["edges"]
    faults = []
    if [node["sequenceId"] for node in nodes] != list(range(0, 2 * len(nodes), 2)):
        faults.append("nodes have even sequence numbers, one after the other")
    if [edge["sequenceId"] for edge in edges] != list(range(1, 2 * len(nodes) - 1, 2)):
        faults.append("edges have the odd numbers between the nodes")
    ends = [(edge["startNodeId"], edge["endNodeId"]) for edge in edges]
    if ends != [(one["nodeId"], other["nodeId"]) for one, other in itertools.pairwise(nodes)]:
        faults.append("each edge leads from its node to the next one")
    return faults
