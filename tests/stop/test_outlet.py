"""The door that a stop shuts."""

from __future__ import annotations

import threading

from edge_node.stop.outlet import Fate, Outlet


def test_no_command_leaves_once_shut_has_returned() -> None:
    for first_few in range(60):
        outlet, left, enough = Outlet(), list[int](), threading.Event()
        threads = [threading.Thread(target=send, args=(outlet, left, enough, first_few)) for _ in range(3)]
        for thread in threads:
            thread.start()
        enough.wait()
        outlet.shut()
        seen = len(left)
        for thread in threads:
            thread.join()
        assert len(left) == seen


def send(outlet: Outlet, left: list[int], enough: threading.Event, first_few: int) -> None:
    """Let commands leave until none may."""
    for number in range(1_000_000):
        with outlet.leaving(str(number)) as may:
            if not may:
                return
            left.append(number)
        if len(left) > first_few:
            enough.set()


def test_only_the_shut_that_is_meant_is_opened() -> None:
    outlet = Outlet()
    first = outlet.shut()
    outlet.shut()

    assert not outlet.open(after=first)
    assert outlet.is_shut


def test_what_was_decided_before_a_reset_never_leaves() -> None:
    outlet = Outlet()
    latched = outlet.shut()
    outlet.forbid(["old"])
    assert outlet.open(after=latched)

    with outlet.leaving("old") as may:
        assert not may
    with outlet.leaving("new") as may:
        assert may
    assert outlet.fate("old") is Fate.NEVER_LEFT
    assert outlet.fate("new") is Fate.GOES_ON


def test_a_command_on_its_way_is_waited_for_and_goes_on() -> None:
    outlet = Outlet()
    with outlet.leaving("a") as may:
        assert may
    outlet.shut()

    assert outlet.wait_landed(timeout_s=0.01) == 1
    assert outlet.fate("a") is Fate.GOES_ON
    answer = threading.Timer(0.05, outlet.landed, ["a"], {"answered": True})
    answer.start()
    assert outlet.wait_landed(timeout_s=10.0) == 0


def test_a_command_whose_connection_ended_may_have_left() -> None:
    outlet = Outlet()
    with outlet.leaving("a"):
        pass
    outlet.landed("a", answered=False)
    outlet.landed("b", answered=False)
    outlet.shut()

    assert outlet.fate("a") is Fate.MAY_HAVE_LEFT
    assert outlet.fate("b") is Fate.NEVER_LEFT
