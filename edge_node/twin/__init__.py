"""The last known state of every device, in the words of each node."""

from __future__ import annotations

from edge_node.twin.devices import DeviceTwin
from edge_node.twin.listening import MAX_STRING
from edge_node.twin.refusals import MAX_DEVICE_NAME

__all__ = ["MAX_DEVICE_NAME", "MAX_STRING", "DeviceTwin"]
