"""What a check found: good, doubtful or bad, and the way out.

Values only; knows nothing of what is checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_node.errors import EdgeNodeError


class Level(StrEnum):
    """How good or bad something is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found.

    Attributes:
        name: What was looked at.
        level: How good it is.
        text: What was seen, in a sentence.
        hint: The way out; empty where none is needed.
    """

    name: str
    level: Level
    text: str
    hint: str = ""

    @classmethod
    def of(cls, name: str, error: EdgeNodeError) -> Finding:
        """Return the finding that something failed with an error."""
        return cls(name, Level.FAIL, str(error), error.hint)
