from __future__ import annotations

import json
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from edge_node.messages import Outgoing
from tests.battery.counts import OVERLOAD, STEADY
from tests.battery.plant import plant
from tests.battery.report import spread_s
from tests.battery.verdict import assert_it_held

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.battery.edges import Nursery
    from tests.battery.plant import Plant
    from tests.battery.report import Report

pytestmark = [pytest.mark.broker]
_BURST = 900
_READINGS = "plant/+/fast"
_MARK = 900_000_999
_UNDER_WAY = 3
_ANSWER_S = 60.0
_AGAIN_S = 1.0
_GROWTH = 1.1
# A clean session of MQTT 3.1.1 without keep-alive, as `flood`, and the answer to it. Source: MQTT 3.1.1, 3.1.
_CONNECT = b"\x10\x11\x00\x04MQTT\x04\x02\x00\x00\x00\x05flood"
_CONNECTED = b"\x20\x02\x00\x00"


def test_a_steady_load_is_ended_message_by_message_in_memory_that_does_not_grow(
    tmp_path: Path, nursery: Nursery, report: Report
) -> None:
    warm = max(500, STEADY.count // 10)
    with report.row(STEADY) as noted, plant(tmp_path, nursery=nursery) as site:
        site.start()
        site.feeder.feed(warm)
        site.drain()
        before_mb, began_s = site.edge.rss_mb(), time.monotonic()
        fed = 0
        while fed < STEADY.count:
            portion = min(10_000, STEADY.count - fed)
            site.feeder.feed(portion)
            fed += portion
            site.drain()
            # The journal forgets what ended long ago; it is judged before, and not looked for again.
            assert_it_held(site)
            site.forget()
        after_mb = site.edge.rss_mb()
        noted.update({"per_s": round(fed / (time.monotonic() - began_s))})
        noted.update({"rss_mb": [round(before_mb, 1), round(after_mb, 1)]})
        assert site.edge.stop() == 0
        assert after_mb < before_mb * _GROWTH


def test_ten_times_the_load_leaves_memory_bounded_and_orders_answered(
    tmp_path: Path, nursery: Nursery, report: Report
) -> None:
    with report.row(OVERLOAD) as noted, plant(tmp_path, nursery=nursery) as site:
        site.proxy.witness.blind = True
        site.start()
        site.feeder.feed(100)
        site.drain()
        bears_per_s = min(_bears_per_s(site, mark=number) for number in (1, 2, 3))
        flood = _Flood(site.broker.port, per_s=10 * bears_per_s)
        asked, seen_mb = _ask_meanwhile(site, for_s=OVERLOAD.count)
        sent, took_s = flood.stop()
        in_time = sum(_answered(site, number) is not None for number in asked)
        # What the broker still holds of the flood ends with the connection; orders do not.
        site.proxy.cut(reset=True)
        waits_s = [_wait_for_answer(site, number) - at_s for number, at_s in asked.items()]
        dropped = site.log.read_text().count('"readings_dropped"')
        noted.update({"bears_per_s": round(bears_per_s), "sent_per_s": round(sent / took_s)})
        noted.update({"orders": len(asked), "in_time": in_time, "answer": spread_s(waits_s)})
        noted.update({"told_dropped": dropped, "rss_mb": [round(seen_mb[0], 1), round(max(seen_mb), 1)]})
        site.feeder.stop()
        site.drain()
        _wait(site, lambda: site.proxy.carries(_READINGS))
        _find_readings_heard(site, mark=9)
        assert site.edge.stop() == 0
        assert max(seen_mb) < seen_mb[0] * _GROWTH
        # While the flood went on, and but for the last ones: no order waits for readings.
        assert in_time >= len(asked) - _UNDER_WAY
        # One for an episode, not one for a message; an episode lasts until the queue is empty again.
        assert dropped <= OVERLOAD.count


def test_an_order_overtakes_readings_that_wait_for_the_edge(tmp_path: Path, nursery: Nursery) -> None:
    with plant(tmp_path, nursery=nursery) as site:
        site.start()
        site.feeder.feed(20)
        site.drain()
        site.proxy.hold(_READINGS)
        for load in range(_BURST):
            site.feeder.bus.publish(Outgoing("plant/press-1/fast", b'{"load": %d, "mark": 0}' % load, qos=0))
        site.feeder.bus.publish(Outgoing("plant/press-1/fast", b'{"mark": %d}' % _MARK, qos=0))
        number = site.feeder.order()
        _wait_for_answer(site, str(number))
        assert not _marked(site)
        site.proxy.release(_READINGS)
        _wait(site, lambda: _marked(site))
        assert site.edge.stop() == 0


def _wait(site: Plant, holds: Callable[[], bool]) -> None:
    until_s = time.monotonic() + _ANSWER_S
    while not holds():
        assert time.monotonic() < until_s, site.last_words()
        time.sleep(0.01)  # another process's work: there is no event to wait for


def _marked(site: Plant) -> bool:
    return any(deed.count == _MARK for deed in site.presses.deeds)


def _find_readings_heard(site: Plant, *, mark: int) -> None:
    """Find that readings lead to alarms; what is sent at QoS 0 while nobody listens is gone."""
    number = 900_000_000 + mark
    until_s = time.monotonic() + _ANSWER_S
    while time.monotonic() < until_s:
        for said in (0, number):
            site.feeder.bus.publish(Outgoing("plant/press-1/fast", b'{"mark": %d}' % said, qos=0))
        again_s = time.monotonic() + _AGAIN_S
        while time.monotonic() < again_s:
            if any(deed.count == number for deed in site.presses.deeds):
                return
            time.sleep(0.005)  # another process's work: there is no event to wait for
    pytest.fail(f"no reading was heard within {_ANSWER_S:g} s; {site.last_words()}")


def _bears_per_s(site: Plant, *, mark: int) -> float:
    """Return how many readings a second the edge takes up, up to an alarm at the end of a burst."""
    number = 900_000_000 + mark
    before, began_s = len(site.presses.deeds), time.monotonic()
    for load in range(_BURST):
        site.feeder.bus.publish(Outgoing("plant/press-1/fast", b'{"load": %d, "mark": 0}' % load, qos=0))
    site.feeder.bus.publish(Outgoing("plant/press-1/fast", b'{"mark": %d}' % number, qos=0))
    until_s = began_s + _ANSWER_S
    while time.monotonic() < until_s:
        if any(deed.count == number for deed in site.presses.deeds[before:]):
            return _BURST / (time.monotonic() - began_s)
        time.sleep(0.005)  # another process's work: there is no event to wait for
    pytest.fail(f"no alarm within {_ANSWER_S:g} s; {site.last_words()}")


def _ask_meanwhile(site: Plant, *, for_s: float) -> tuple[dict[str, float], list[float]]:
    """Return when each of some orders was sent, by its number, and the memory in between."""
    asked: dict[str, float] = {}
    seen_mb = []
    until_s = time.monotonic() + for_s
    while time.monotonic() < until_s:
        asked[str(site.feeder.order())] = time.monotonic()
        site.edge.ended.wait(1.0)
        seen_mb.append(site.edge.rss_mb())
    return asked, seen_mb


def _wait_for_answer(site: Plant, number: str) -> float:
    """Return when an order was answered for the first time."""
    until_s = time.monotonic() + _ANSWER_S
    while (at_s := _answered(site, number)) is None:
        assert time.monotonic() < until_s, f"order {number}; {site.last_words()}"
        time.sleep(0.01)  # another process's work: there is no event to wait for
    return at_s


def _answered(site: Plant, number: str) -> float | None:
    return next((at_s for at_s, said in site.presses.replies if said["corr"] == number), None)


class _Flood:
    """Readings at quality of service 0, written to the socket as one block after the other."""

    def __init__(self, port: int, *, per_s: float) -> None:
        self._per_s = per_s
        self._sent = 0
        self._stopping = threading.Event()
        self._began_s = time.monotonic()
        self._socket = self._connected(port)
        self._thread = threading.Thread(target=self._run, name="flood")
        self._thread.start()

    def stop(self) -> tuple[int, float]:
        """End it; return how many readings left, and in how many seconds."""
        self._stopping.set()
        self._thread.join()
        took_s = time.monotonic() - self._began_s
        self._socket.close()
        return self._sent, took_s

    @staticmethod
    def _connected(port: int) -> socket.socket:
        raw = socket.create_connection(("127.0.0.1", port))
        raw.sendall(_CONNECT)
        assert raw.recv(4) == _CONNECTED
        return raw

    def _run(self) -> None:
        block, held = _block(200)
        while not self._stopping.is_set():
            self._socket.sendall(block)
            self._sent += held
            ahead_s = self._sent / self._per_s - (time.monotonic() - self._began_s)
            if ahead_s > 0:
                self._stopping.wait(ahead_s)


def _block(count: int) -> tuple[bytes, int]:
    """Return so many PUBLISH packets of MQTT 3.1.1, and how many they are."""
    packets = bytearray()
    for number in range(count):
        topic = f"plant/press-{number % 3 + 1}/fast".encode()
        body = len(topic).to_bytes(2) + topic + json.dumps({"load": number, "mark": 0}).encode()
        packets += bytes([0x30, len(body)]) + body
    return bytes(packets), count
