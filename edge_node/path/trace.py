"""How long each stage took; knows no stage but by its name."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


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
