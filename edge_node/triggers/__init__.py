"""What makes a message, or the passing of time, into requests: conditions, silence and questions."""

from __future__ import annotations

from edge_node.triggers.engine import TriggerEngine

__all__ = ["TriggerEngine"]
