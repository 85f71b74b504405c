"""Conditions: CEL expressions over the values of a device and over windows of time, checked and compiled."""

from __future__ import annotations

from edge_node.conditions.condition import Condition
from edge_node.conditions.expression import FUNCTIONS, MAX_CHARACTERS, Expression, Told
from edge_node.conditions.typing import Types
from edge_node.conditions.windows import Window

__all__ = ["FUNCTIONS", "MAX_CHARACTERS", "Condition", "Expression", "Told", "Types", "Window"]
