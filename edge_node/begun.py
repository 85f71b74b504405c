"""How far a message has come on its path, and how long each stage took.

Values of the pipeline alone; knows no stage.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_node.messages import Command, Message, Operated, Request, StateRow


@dataclass(slots=True)
class Trace:
    """Milliseconds that each stage took, in the order in which they ran.

    Attributes:
        stages_ms: Stage to milliseconds; a stage that ran twice has the sum.
    """

    stages_ms: dict[str, float] = field(default_factory=dict)
    _last_s: float = field(default_factory=time.perf_counter)

    def skip(self) -> None:
        """Leave out the time since the last stage, which was spent waiting."""
        self._last_s = time.perf_counter()

    def lap(self, stage: str) -> None:
        """Book the time since the last stage to `stage`."""
        now_s = time.perf_counter()
        self.stages_ms[stage] = self.stages_ms.get(stage, 0.0) + (now_s - self._last_s) * 1000
        self._last_s = now_s


@dataclass(slots=True)
class Begun:
    """A message, or the passing of time, up to where something is decided.

    Attributes:
        message: The message; None for the passing of time.
        key: By what it is found again after a restart.
        requests: What wants a decision.
        moved: Commands whose state changed.
        operated: What came of an operation.
        states: What stages remember of it and is not on the disk yet.
        now: Time of the step; 0 where the requests waited for the model when the last run ended.
    """

    message: Message | None
    key: str
    requests: tuple[Request, ...]
    moved: tuple[Command, ...] = ()
    operated: Operated | None = None
    states: Sequence[StateRow] = ()
    now: float = 0.0

    @property
    def fired(self) -> bool:
        """Whether a trigger fired, which remembers it."""
        return any(request.trigger for request in self.requests)

    @property
    def led_to_nothing(self) -> bool:
        """Whether there is nothing to decide, to tell or to carry out."""
        return not (self.requests or self.moved or self.operated)
