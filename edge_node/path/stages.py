"""The stages of the path by what they promise; knows no implementation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_node.protocols import (
        Announcing,
        Drafting,
        Gate,
        Journal,
        Lifecycle,
        Operations,
        Remembering,
        Retrieval,
        Triggers,
        Twin,
        Understanding,
    )


@dataclass(frozen=True, slots=True)
class Stages:
    """The stages, in the order in which a message meets them.

    Attributes:
        remembering: Those whose memory outlives the process, by the owner that their rows name.
    """

    twin: Twin
    lifecycle: Lifecycle
    operations: Operations
    triggers: Triggers
    understanding: Understanding
    retrieval: Retrieval
    drafting: Drafting
    gate: Gate
    announcing: Announcing
    journal: Journal
    remembering: Mapping[str, Remembering] = field(default_factory=dict)
