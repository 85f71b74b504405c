"""Having the fixed parts of prompts ready."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from structlog.testing import capture_logs

from edge_node.errors import ContextExceeded
from edge_node.messages import Turn
from edge_node.runtime.preparation import Preparation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_node.messages import Generation, Grammar

TURNS = [Turn("system", name) for name in ("too long", "pump", "lamp")]


class Reading:
    """Reads what it is given, as long as it may."""

    context = 100

    def __init__(self) -> None:
        self.read: list[str] = []
        self.tick_s = 0.0
        self.begun, self.go_on = threading.Event(), threading.Event()

    def prepare(self, system: Turn) -> None:
        self.begun.set()
        self.go_on.wait(30)
        threading.Event().wait(self.tick_s)
        if system.content == "too long":
            raise ContextExceeded(tokens=200, limit=100)
        self.read.append(system.content)

    def count(self, turns: Sequence[Turn]) -> int:
        return len(turns)

    def generate(
        self,
        turns: Sequence[Turn],
        *,
        grammar: Grammar,
        max_tokens: int,
        check: Callable[[], None] | None = None,
    ) -> Generation:
        raise NotImplementedError


def test_every_opening_is_read_and_one_that_cannot_be_is_told() -> None:
    model = Reading()
    model.go_on.set()
    preparation = Preparation([(model, turn) for turn in TURNS])
    with capture_logs() as entries:
        preparation.start()
        while len(model.read) < 2:
            model.begun.wait(30)
        preparation.stop()
    assert model.read == ["pump", "lamp"]
    assert [entry["event"] for entry in entries] == ["prefix_not_prepared"]


def test_the_end_waits_for_no_more_than_what_is_being_read() -> None:
    model = Reading()
    model.tick_s = 0.02  # all of them would take 20 s
    model.go_on.set()
    preparation = Preparation([(model, turn) for turn in TURNS[1:] * 500])
    preparation.start()
    assert model.begun.wait(30)
    preparation.stop()
    assert len(model.read) < 1000


def test_what_was_never_begun_can_be_ended() -> None:
    Preparation([(Reading(), turn) for turn in TURNS]).stop()
