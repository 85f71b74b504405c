"""The life of commands after the gate."""

from __future__ import annotations

from edge_node.lifecycle.commands import CommandLifecycle

__all__ = ["CommandLifecycle"]
