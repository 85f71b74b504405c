"""The table of the battery: a row for each fault; written, too, where `BATTERY_REPORT` names a file."""

from __future__ import annotations

import json
import os
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.battery.counts import Fault

COLUMNS = ("fault", "times", "passed", "took_s", "each_ms", "noted")


@dataclass
class Row:
    """What became of one fault.

    Attributes:
        fault: What was done.
        times: How often.
        passed: Whether everything held.
        took_s: How long it took in all.
        noted: What was measured on the way.
    """

    fault: str
    times: int
    passed: bool = False
    took_s: float = 0.0
    noted: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the row with the time for each."""
        each_ms = round(self.took_s * 1000 / max(1, self.times), 2)
        return {
            "fault": self.fault,
            "times": self.times,
            "passed": self.passed,
            "took_s": round(self.took_s, 1),
            "each_ms": each_ms,
            "noted": self.noted,
        }


class Report:
    """The rows of this run."""

    def __init__(self) -> None:
        self._rows: list[Row] = []

    @contextmanager
    def row(self, fault: Fault, *, times: int | None = None) -> Iterator[dict[str, Any]]:
        """Give a place for notes; the row has passed if nothing is raised within."""
        row = Row(fault.name, fault.count if times is None else times)
        self._rows.append(row)
        began_s = time.monotonic()
        try:
            yield row.noted
            row.passed = True
        finally:
            row.took_s = time.monotonic() - began_s

    def lines(self) -> list[str]:
        """Return the table as lines of Markdown."""
        return _table([row.as_dict() for row in self._rows]) if self._rows else []

    def write(self) -> None:
        """Write the rows as JSON, and beside it the table; rows of other faults that stand there are kept."""
        named = os.environ.get("BATTERY_REPORT")
        if not named or not self._rows:
            return
        path = Path(named).with_suffix(".json")
        kept = json.loads(path.read_text()) if path.is_file() else []
        rows = {row["fault"]: row for row in kept} | {row.fault: row.as_dict() for row in self._rows}
        path.write_text(json.dumps(list(rows.values()), indent=2) + "\n")
        path.with_suffix(".md").write_text("\n".join(_table(list(rows.values()))) + "\n")


def spread_s(values: Sequence[float]) -> dict[str, float]:
    """Return median, 95th percentile and greatest of some durations."""
    ordered = sorted(values) or [0.0]
    return {
        "p50_s": round(ordered[len(ordered) // 2], 2),
        "p95_s": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))], 2),
        "max_s": round(ordered[-1], 2),
    }


def _table(rows: Sequence[dict[str, Any]]) -> list[str]:
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + " --- |" * len(COLUMNS)]
    for row in rows:
        noted = ", ".join(f"{name} {value}" for name, value in row["noted"].items())
        cells = {**row, "passed": "yes" if row["passed"] else "NO", "noted": noted}
        lines.append("| " + " | ".join(str(cells[name]) for name in COLUMNS) + " |")
    return lines
