"""The operational stop: latched in memory at once and on the disk before anybody is told."""

from __future__ import annotations

from edge_node.stop.latch import StopLatch
from edge_node.stop.outlet import Outlet
from edge_node.stop.record import StopFile, StopRecord

__all__ = ["Outlet", "StopFile", "StopLatch", "StopRecord"]
