"""What decides whether a command may go out: code and the node file, never a model."""

from __future__ import annotations

from edge_node.gate.policy import PolicyGate

__all__ = ["PolicyGate"]
