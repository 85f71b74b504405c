"""What latches, what holds over a restart, and what alone releases it."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_node.errors import LatchError, ResetRefused
from edge_node.messages import Request, RequestKind
from edge_node.stop import Outlet, StopFile, StopLatch
from edge_node.stop.record import reset_at_rest

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class Desk:
    """A latch with its outlet, on a folder and a clock."""

    folder: Path
    now: float = 1000.0
    boots: int = 0
    outlet: Outlet = field(init=False)
    latch: StopLatch = field(init=False)

    def __post_init__(self) -> None:
        self.restart()

    @property
    def file(self) -> Path:
        return self.folder / "stop.json"

    def restart(self) -> None:
        self.boots += 1
        self.outlet = Outlet()
        self.latch = StopLatch(
            StopFile(self.folder), outlet=self.outlet, boot=str(self.boots), clock=lambda: self.now
        )

    def reset(self, *, asked_at: float, stop_id: str = "") -> None:
        self.latch.reset(user="ada", stop_id=stop_id, asked_at=asked_at, decided=["old"])

    @property
    def leaves(self) -> bool:
        with self.outlet.leaving("new") as may:
            return may


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_without_a_file_all_is_clear(desk: Desk) -> None:
    assert desk.leaves
    assert desk.latch.why == ""
    assert not desk.file.exists()


def test_a_stop_holds_over_a_restart_and_is_readable_by_its_owner_only(desk: Desk) -> None:
    record = desk.latch.stop(user="bob", reason="smoke")
    desk.restart()

    assert not desk.leaves
    assert desk.latch.record == record
    assert desk.latch.durable
    assert desk.latch.why == "operational stop by bob at 1970-01-01T00:16:40.000Z: smoke"
    assert desk.file.stat().st_mode & 0o777 == 0o600
    assert list(desk.folder.iterdir()) == [desk.file]


def test_a_reset_holds_over_a_restart_and_lets_only_new_commands_out(desk: Desk) -> None:
    desk.latch.stop(user="bob", reason="smoke")
    desk.now += 5
    desk.reset(asked_at=desk.now)

    assert desk.leaves
    with desk.outlet.leaving("old") as may:
        assert not may
    desk.restart()
    assert desk.leaves
    assert desk.latch.status.startswith("clear, reset by ada")


def test_a_reset_that_was_asked_for_before_the_stop_is_refused(desk: Desk) -> None:
    desk.latch.stop(user="bob", reason="smoke")

    with pytest.raises(ResetRefused, match="asked for after the stop"):
        desk.reset(asked_at=desk.now - 1)
    assert not desk.leaves


def test_a_reset_by_name_is_for_that_stop_whatever_the_clock_says(desk: Desk) -> None:
    first = desk.latch.stop(user="bob", reason="smoke")
    second = desk.latch.stop(user="bob", reason="smoke")

    with pytest.raises(ResetRefused):
        desk.reset(asked_at=desk.now + 10, stop_id=first.id)
    desk.reset(asked_at=desk.now - 3600, stop_id=second.id)
    assert desk.leaves


def test_a_stop_that_arrives_while_a_reset_is_on_its_way_holds(desk: Desk) -> None:
    desk.latch.stop(user="bob", reason="smoke")
    desk.outlet.shut()  # it has arrived, and is not latched yet

    with pytest.raises(ResetRefused, match="just arrived"):
        desk.reset(asked_at=desk.now + 1)
    assert not desk.leaves
    desk.latch.stop(user="eve", reason="fire")
    desk.restart()
    assert not desk.leaves


def test_a_button_that_is_held_down_writes_once(desk: Desk) -> None:
    desk.latch.stop(user="bob", reason="smoke")
    written = desk.file.stat()
    for _ in range(20):
        desk.latch.stop(user="bob", reason="smoke")

    assert desk.file.stat().st_ino == written.st_ino
    desk.latch.stop(user="bob", reason="fire")
    assert desk.file.stat().st_ino != written.st_ino


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\x00" * 200,
        b"\xff\xfe",
        b"[]",
        b"null",
        b'{"v": 1, "state": "clear"}',
        b'{"v": 2, "state": "clear", "id": "", "user": "", "reason": "", "at": 0, "boot": "", "sweep": true}',
        b'{"v": 1, "state": "on", "id": "", "user": "", "reason": "", "at": 0, "boot": "", "sweep": true}',
        b'{"v": 1, "state": "clear", "id": 1, "user": "", "reason": "", "at": 0, "boot": "", "sweep": true}',
    ],
)
def test_what_cannot_be_read_counts_as_stopped_and_can_be_reset(desk: Desk, content: bytes) -> None:
    desk.file.write_bytes(content)
    desk.restart()

    assert not desk.leaves
    assert "counts as stopped" in desk.latch.why
    assert not desk.latch.durable
    desk.now += 1
    desk.reset(asked_at=desk.now)
    assert desk.leaves


@given(cut=st.integers(0, 400), flip=st.integers(0, 400), bit=st.integers(0, 7))
def test_a_torn_or_flipped_latch_is_never_clear_by_accident(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flip: int, bit: int
) -> None:
    desk = Desk(tmp_path_factory.mktemp("desk"))
    desk.latch.stop(user="bob", reason="smoke")
    content = bytearray(desk.file.read_bytes())
    if flip < len(content):
        content[flip] ^= 1 << bit
    desk.file.write_bytes(content[:cut] if cut < len(content) else content)

    desk.restart()

    assert not desk.leaves


def test_a_stop_blocks_even_where_the_disk_refuses(desk: Desk) -> None:
    (desk.folder / "stop.json.new").mkdir()

    with pytest.raises(LatchError, match="cannot be written"):
        desk.latch.stop(user="bob", reason="smoke")

    assert not desk.leaves
    assert not desk.latch.durable
    assert "operational stop by bob" in desk.latch.why
    (desk.folder / "stop.json.new").rmdir()
    desk.latch.stop(user="bob", reason="smoke")
    assert desk.latch.durable


def test_a_reset_that_the_disk_refuses_leaves_the_stop(desk: Desk) -> None:
    desk.latch.stop(user="bob", reason="smoke")
    (desk.folder / "stop.json.new").mkdir()

    with pytest.raises(LatchError):
        desk.reset(asked_at=desk.now + 1)

    assert not desk.leaves


def test_a_reset_at_rest_asks_for_a_sweep_at_the_next_start_and_only_then(desk: Desk) -> None:
    desk.latch.stop(user="bob", reason="smoke")
    reset_at_rest(StopFile(desk.folder), user="ada", at=2000.0)
    desk.restart()

    assert desk.leaves
    assert desk.latch.record.sweep
    desk.latch.swept()
    desk.restart()
    assert not desk.latch.record.sweep


def test_stops_and_resets_at_once_leave_memory_and_disk_of_one_mind(desk: Desk) -> None:
    def reset_often() -> None:
        for _ in range(200):
            try:
                desk.reset(asked_at=desk.now + 1)
            except ResetRefused:
                continue

    resetting = threading.Thread(target=reset_often)
    resetting.start()
    for number in range(200):
        desk.latch.stop(user="bob", reason=str(number))
    resetting.join()

    on_disk: dict[str, Any] = json.loads(desk.file.read_text())
    assert on_disk["state"] == desk.latch.record.state
    assert desk.leaves == (on_disk["state"] == "clear")
    desk.latch.stop(user="bob", reason="at last")
    assert not desk.leaves
    assert json.loads(desk.file.read_text())["state"] == "stopped"


def asked(at: float, *, message_id: str = "m") -> Request:
    return Request("r", RequestKind.ASK, message_id, at)


def test_what_was_asked_before_a_reset_leads_to_no_command(desk: Desk) -> None:
    assert desk.latch.why_not(asked(1.0)) == ""
    desk.latch.stop(user="bob", reason="smoke")
    assert "by bob" in desk.latch.why_not(asked(desk.now + 1))
    desk.now += 5
    desk.reset(asked_at=desk.now)

    assert "before the operational stop was reset" in desk.latch.why_not(asked(desk.now))
    assert desk.latch.why_not(asked(desk.now + 0.001)) == ""


def test_after_a_restart_only_what_had_been_received_counts_as_asked_before(desk: Desk) -> None:
    desk.latch.stop(user="bob", reason="smoke")
    desk.reset(asked_at=desk.now + 1)
    desk.now = 0.0  # a machine without a clock of its own starts in 1970
    desk.restart()
    desk.latch.distrust(["old"])

    assert desk.latch.why_not(asked(1.0)) == ""
    assert "before the operational stop was reset" in desk.latch.why_not(asked(1.0, message_id="old"))
