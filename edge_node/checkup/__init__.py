"""What a person would look at where an edge does not do as it should: one finding after the other."""

from __future__ import annotations

from edge_node.checkup.findings import Finding, Level

__all__ = ["Finding", "Level"]
