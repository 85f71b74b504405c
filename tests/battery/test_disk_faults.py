from __future__ import annotations

import random
import sqlite3
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import edge_node.database
from edge_node.errors import EdgeNodeError
from edge_node.journal.journal import Journal
from edge_node.messages import Command, CommandState, Message, Outgoing
from tests.battery.counts import DISK, POWER
from tests.battery.disk import Disk, Sqlite, after_power_cut

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from random import Random

    from tests.battery.disk import Step
    from tests.battery.report import Report

_CUTS_A_RUN = 50
_MESSAGES = 24
_DEADLINE_S = 20.0


class Runs:
    """Journals on disks of ours, and what is done to them."""

    def __init__(self, path: Path, patch: pytest.MonkeyPatch) -> None:
        self._path = path
        self._patch = patch

    def opened(self, disk: Disk, *, pages: int = 1000) -> tuple[Journal, Sqlite]:
        library = Sqlite(disk, checkpoint_pages=pages)
        self._patch.setattr(edge_node.database, "sqlite3", library)
        return Journal.open(self._path / "journal.db", clock=lambda: 1_000_000.0), library

    def closed(self, journal: Journal, library: Sqlite) -> None:
        journal.close()
        library.unregister()

    def work(self, disk: Disk, chance: Random, *, first: int = 0) -> None:
        """Take in messages and end some of them, and mark on the disk what was seen to be safe."""
        journal, library = self.opened(disk, pages=chance.choice((4, 16, 64, 1000)))
        try:
            for number in range(first, first + _MESSAGES):
                _one(journal, disk, f"m{number}", chance)
        finally:
            self.closed(journal, library)


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runs]:
    yield Runs(tmp_path, monkeypatch)
    monkeypatch.setattr(edge_node.database, "sqlite3", sqlite3)


def test_a_power_cut_takes_nothing_that_was_said_to_be_safe(runs: Runs, report: Report) -> None:
    chance = random.Random(5)
    steps: list[Step] = []
    with report.row(POWER) as noted:
        safe = 0
        for number in range(POWER.count):
            if number % _CUTS_A_RUN == 0:
                disk = Disk()
                runs.work(disk, chance)
                steps = list(disk.steps)
            cut = chance.randint(0, len(steps))
            found = Disk(after_power_cut(steps[:cut], chance))
            safe += _judge(runs, found, _marks(steps[:cut]), chance)
        noted["safe"] = safe


def test_a_full_or_failing_disk_takes_nothing_that_was_said_to_be_safe(runs: Runs, report: Report) -> None:
    chance = random.Random(6)
    with report.row(DISK) as noted:
        safe = refused = 0
        for number in range(DISK.count):
            disk = Disk()
            runs.work(disk, chance)
            if number % 2:
                disk.full_at = disk.writes + chance.randint(1, 60)
            else:
                disk.failing_sync = disk.syncs + chance.randint(1, 40)
            refused += _fails(runs, disk, chance)
            disk.full_at = disk.failing_sync = None
            runs.work(disk, chance, first=2 * _MESSAGES)
            safe += _judge(runs, Disk(after_power_cut(disk.steps, chance)), _marks(disk.steps), chance)
        noted.update({"safe": safe, "refused": refused})


def _fails(runs: Runs, disk: Disk, chance: Random) -> int:
    """Return how much was refused while the disk failed; it must go on once there is room."""
    refused = 0
    try:
        journal, library = runs.opened(disk, pages=4)
    except EdgeNodeError:
        return 1
    try:
        for number in range(_MESSAGES, 2 * _MESSAGES - 1):
            refused += not _one(journal, disk, f"m{number}", chance)
        disk.full_at = disk.failing_sync = None
        assert _one(journal, disk, f"m{2 * _MESSAGES - 1}", chance), (
            "the journal did not recover with its disk"
        )
    finally:
        runs.closed(journal, library)
    return refused


def _one(journal: Journal, disk: Disk, name: str, chance: Random) -> bool:
    """Take in a message and perhaps end it; return whether the disk took all of it."""
    message = Message(
        name, "plant/p/t", bytes(chance.randint(1, 4000)), 1_000_000.0, qos=1, durable=True, correlation=b""
    )
    told = threading.Event()
    safe = []

    def durable() -> None:
        disk.mark(f"in {name}")
        safe.append(name)
        told.set()

    # A refusal is told to nobody but the log: what is written behind it tells that it has been.
    journal.receive(message, on_durable=durable, on_duplicate=told.set)
    try:
        journal.remember("last", name)
    except EdgeNodeError:
        return False
    if not safe:
        return False
    if chance.random() < 0.3:
        return True
    return _end(journal, disk, message)


def _end(journal: Journal, disk: Disk, message: Message) -> bool:
    command = Command(
        id=f"c-{message.id}",
        node="n",
        name="stamp",
        device="p",
        arguments={},
        state=CommandState.SENT,
        created_at=1_000_000.0,
        expires_at=1_000_030.0,
        idempotent=False,
        topic="plant/p/stamp",
        payload=message.payload,
    )
    leaving = Outgoing("plant/p/stamp", message.payload, command_id=command.id)
    try:
        journal.conclude(message, commands=[command], outgoing=[leaving, replace(leaving, command_id="")])
        disk.mark(f"end {message.id}")
        parcel = journal.pending(limit=1000)[-2]
        journal.mark_sent(parcel.row_id)
        disk.mark(f"sent {message.id}")
    except EdgeNodeError:
        return False
    return True


def _marks(steps: list[Step]) -> list[str]:
    return [step.name for step in steps if step.kind == "mark"]


def _judge(runs: Runs, found: Disk, marks: list[str], chance: Random) -> int:
    """Find everything that was safe on a disk, nothing half, and a journal that goes on; count the safe."""
    journal, library = runs.opened(found, pages=chance.choice((4, 1000)))
    try:
        assert journal._database.execute("PRAGMA integrity_check") == [("ok",)]
        inbox = dict(journal._database.execute("SELECT id, state FROM inbox"))
        commands = {row[0] for row in journal._database.execute("SELECT id FROM commands")}
        outbox = journal._database.execute("SELECT command_id, state FROM outbox ORDER BY sequence")
        sent = {name for name, state in outbox if name and state == "sent"}
        for what, name in (mark.split() for mark in marks):
            held = {"in": name in inbox, "end": inbox.get(name) == "done", "sent": f"c-{name}" in sent}
            assert held[what], f"{what} {name} was safe and is gone"
        ended = {name for name, state in inbox.items() if state == "done"}
        assert {f"c-{name}" for name in ended} == commands, "an end without its command, or the other way"
        assert len(outbox) == 2 * len(ended), "an end without what was to leave"
        assert {message.id for message in journal.unfinished()} == inbox.keys() - ended
        assert {command.id for command in journal.recover()} == sent
        assert _one(journal, found, "after", chance)
    finally:
        runs.closed(journal, library)
    return len(marks)
