"""What is latched, and the small file that holds it through a power cut.

Knows JSON and a file; knows nothing of commands. A file that cannot be read counts as stopped.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import structlog

from edge_node.errors import LatchError

if TYPE_CHECKING:
    from pathlib import Path

log = structlog.get_logger(__name__)

UNREADABLE = "unreadable"
"""Identifier of the stop that a file which cannot be read stands for."""
_STATES = ("clear", "stopped")


@dataclass(frozen=True, slots=True)
class StopRecord:
    """The operational stop as it is latched.

    Attributes:
        state: `clear` or `stopped`.
        id: Identifier of the stop, new with each message that stops; empty where there was none yet.
        user: Who stopped, or who reset.
        reason: Why, as it was said; may be empty.
        at: When, seconds since the epoch.
        boot: The run of the edge that wrote it.
        sweep: Whether commands from before must be cancelled at the next start.
    """

    state: str = "clear"
    id: str = ""
    user: str = ""
    reason: str = ""
    at: float = 0.0
    boot: str = ""
    sweep: bool = False

    @property
    def stopped(self) -> bool:
        """Whether a stop is latched."""
        return self.state == "stopped"


class StopFile:
    """The file of the latch: written beside, synchronised, renamed, and the folder synchronised.

    Args:
        folder: The state folder of the edge, which exists.

    Attributes:
        path: The file.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "stop.json"

    def read(self) -> StopRecord:
        """Return what is latched; `clear` where there is no file, `stopped` where it cannot be read."""
        try:
            return _record(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return StopRecord()
        except (OSError, ValueError) as problem:
            log.critical(
                "stop_latch_unreadable",
                file=str(self.path),
                reason=str(problem),
                consequence="counts as stopped until it is reset",
            )
            reason = f"the latch {self.path.name} cannot be read ({problem}), which counts as stopped"
            return StopRecord("stopped", id=UNREADABLE, user="edge_node", reason=reason)

    def write(self, record: StopRecord) -> None:
        """Latch a record; it is on the disk on return.

        Raises:
            LatchError: It is not.
        """
        beside = self.path.with_name(f"{self.path.name}.new")
        try:
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump({"v": 1, **asdict(record)}, file)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self.path)
            _synchronise(self.path.parent)
        except OSError as problem:
            raise LatchError(self.path, reason=f"cannot be written ({problem})") from problem


def reset_at_rest(file: StopFile, *, user: str, at: float) -> StopRecord:
    """Return the record that a reset leaves while no service runs; nothing from before leaves after it.

    Raises:
        LatchError: It is not on the disk.
    """
    record = file.read()
    if record.stopped:
        record = replace(record, state="clear", user=user, reason="", at=at, sweep=True)
        file.write(record)
    return record


def _record(text: str) -> StopRecord:
    values: Any = json.loads(text)
    if not isinstance(values, dict) or values.pop("v", None) != 1 or values.get("state") not in _STATES:
        raise ValueError("expected a latch of version 1, came something else")
    blank = asdict(StopRecord())
    if values.keys() != blank.keys() or any(
        not isinstance(value, (int, float) if name == "at" else type(blank[name]))
        for name, value in values.items()
    ):
        raise ValueError("expected the keys of a latch, came others")
    return StopRecord(**values)


def _synchronise(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
