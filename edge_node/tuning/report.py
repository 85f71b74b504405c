"""What a tuning came to, as JSON and as a text that people read.

Knows figures and files; knows nothing of how they were measured.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

JSON_FILE, TEXT_FILE = "report.json", "report.txt"
_SHARES = ("exact", "name", "false_actions", "missed", "asked")
_TIMES = ("ms_p50", "ms_p95")


@dataclass(frozen=True, slots=True)
class Report:
    """What a tuning came to.

    Attributes:
        node: Name of the node.
        installed: Where the adapter was put; empty where it was not.
        reason: Why it was installed or not.
        base: The model it belongs to, with the hash of its source.
        recipe: How it was trained.
        training: Cases, steps, tokens, seconds, first and last loss.
        now: Figures of what ran before, on the cases held back.
        tuned: Figures of the adapter on the same cases.
    """

    node: str
    installed: str
    reason: str
    base: Mapping[str, str]
    recipe: Mapping[str, Any]
    training: Mapping[str, Any]
    now: Mapping[str, Any]
    tuned: Mapping[str, Any]

    def save(self, folder: Path) -> None:
        """Write both files into a folder."""
        (folder / JSON_FILE).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
        (folder / TEXT_FILE).write_text(self.text(), encoding="utf-8")

    def text(self) -> str:
        """Return the report as people read it."""
        lines = [f"{self.node}: {self.reason}", f"installed: {self.installed or 'no'}", ""]
        lines.append(f"{'on the cases held back':<24}{'now':>10}{'tuned':>10}")
        lines += [f"{key:<24}{self.now[key]:>10.1%}{self.tuned[key]:>10.1%}" for key in _SHARES]
        lines += [f"{key:<24}{self.now[key]:>10.0f}{self.tuned[key]:>10.0f}" for key in _TIMES]
        lines.append("")
        lines += [f"{key}: {value}" for key, value in (*self.training.items(), *self.recipe.items())]
        lines += [f"base: {name} sha256 {digest}" for name, digest in self.base.items()]
        return "\n".join(lines) + "\n"
