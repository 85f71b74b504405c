"""A node tried out without a broker: the stages of the service on a virtual clock, and scenarios for them."""

from __future__ import annotations

from edge_node.rehearsal.props import Props
from edge_node.rehearsal.rehearsal import Happening, Refusal, Rehearsal

__all__ = ["Happening", "Props", "Refusal", "Rehearsal"]
