from __future__ import annotations

import itertools
import json
import random
from pathlib import Path
from typing import Any

import pytest

from edge_node.config.loaded import Node
from edge_node.config.models import LimitsConfig, NodeConfig
from edge_node.messages import Message, StateRow
from edge_node.topics import EdgeTopics
from edge_node.triggers import TriggerEngine
from edge_node.triggers.patterns import MAX_PATTERNS, Patterns, words_of
from edge_node.triggers.series import Budget
from edge_node.twin import DeviceTwin

UNHEARD = {"when": "new_pattern(line, 10s)"}


class Log:
    """Triggers over the lines of some programs, on a clock that the test turns."""

    def __init__(self, *, patterns: int = 1000, **triggers: dict[str, Any]) -> None:
        self.now = 50_000.0
        self.limits = LimitsConfig(patterns=patterns)
        spec = {
            "edge_node": 1,
            "name": "log",
            "stale": "1h",
            "listen": [{"topic": "log/{source}", "fields": {"line": "line", "level": "level"}}],
            "triggers": triggers,
        }
        self.nodes = [Node(NodeConfig.model_validate(spec), Path())]
        self.disk: dict[str, StateRow] = {}
        self.messages = itertools.count(1)
        self.twin = DeviceTwin(self.nodes, limits=self.limits, clock=lambda: self.now)
        self.engine = self.start()

    def start(self) -> TriggerEngine:
        topics = EdgeTopics("hall")
        return TriggerEngine(
            self.nodes, twin=self.twin, topics=topics, limits=self.limits, clock=lambda: self.now
        )

    def write(self, line: object, *, source: str = "a", level: str = "info") -> list[str]:
        body = json.dumps({"line": line, "level": level}).encode()
        message = Message(f"m{next(self.messages)}", f"log/{source}", body, self.now)
        fired = self.engine.requests(message, self.twin.observe(message))
        self.now += 1
        return [request.trigger for request in fired]

    def keep(self, *, urgent: bool) -> None:
        for row in self.engine.take_changes(urgent=urgent):
            if row.body is None:
                self.disk.pop(row.key, None)
            else:
                self.disk[row.key] = row

    def restart(self, *, down_s: float = 0.0) -> None:
        self.now += down_s
        self.engine = self.start()
        self.engine.restore(list(self.disk.values()))


def learnt(**triggers: dict[str, Any]) -> Log:
    """Return a log whose learning is over, and which knows one pattern."""
    log = Log(**triggers)
    for number in range(12):
        assert log.write(f"label {number} printed") == []
        log.now += 4
    return log


def test_a_line_of_a_pattern_that_was_never_seen_fires_once() -> None:
    log = learnt(unheard=UNHEARD)

    assert log.write("ribbon torn at 14 mm") == ["unheard"]
    assert log.write("ribbon torn at 3 mm") == []
    assert log.write("label 99 printed") == []


def test_nothing_is_new_while_lines_are_only_learnt_from() -> None:
    log = Log(unheard=UNHEARD)

    assert [log.write(f"program number {word} starts") for word in "abcdefghij"] == [[]] * 10
    assert log.write("the lamp broke") == ["unheard"]


def test_each_source_has_patterns_of_its_own() -> None:
    log = learnt(unheard=UNHEARD)
    for _ in range(12):
        log.write("frame taken", source="camera")

    assert log.write("label 5 printed", source="camera") == ["unheard"]


def test_patterns_outlive_a_crash_and_a_new_one_is_told_once() -> None:
    log = learnt(unheard=UNHEARD)
    log.keep(urgent=False)
    assert log.write("ribbon torn at 14 mm") == ["unheard"]
    log.keep(urgent=True)
    log.restart(down_s=500)

    assert log.write("ribbon torn at 3 mm") == []
    assert log.write("label 7 printed") == []
    assert log.write("the lamp broke") == ["unheard"]


def test_learning_goes_on_after_a_restart_and_does_not_count_the_time_between() -> None:
    log = Log(unheard=UNHEARD)
    log.write("label 1 printed")
    log.now += 5
    log.keep(urgent=False)
    log.restart(down_s=1000)

    assert log.write("a line during the learning") == []
    log.now += 5
    assert log.write("the lamp broke") == ["unheard"]


def test_what_is_new_can_be_joined_with_other_conditions_and_counted() -> None:
    log = learnt(
        bad={"when": "new_pattern(line, 10s) && level == 'error'"},
        many={"when": "count(new_pattern(line, 10s), 10s) >= 3"},
    )

    assert log.write("one strange thing") == []
    assert log.write("two very different things", level="error") == ["bad"]
    assert log.write("and now something else again") == ["many"]


def test_lines_of_one_pattern_are_counted_whatever_their_values() -> None:
    log = learnt(burst={"when": "repeats(line, 10s) > 4"}, unheard=UNHEARD)
    log.now += 20

    told = [log.write(f"no answer from drive {number}") for number in range(6)]

    assert told == [["unheard"], [], [], [], ["burst"], []]


def test_lines_of_several_patterns_are_no_burst() -> None:
    log = learnt(burst={"when": "repeats(line, 10s) > 4"})
    log.now += 20

    lines = ("no answer from drive 1", "the belt slips", "head too hot: 66")
    assert [log.write(line) for line in lines * 4] == [[]] * 12


def test_a_code_of_one_word_is_a_pattern_of_its_own() -> None:
    log = Log(unheard=UNHEARD)
    for _ in range(12):
        log.write("E17")

    assert log.write("E18") == ["unheard"]
    assert log.write("E17") == []


@pytest.mark.parametrize("odd", [None, 5, True, ["a"], {"a": 1}])
def test_what_is_no_text_has_no_pattern(odd: object) -> None:
    log = learnt(unheard=UNHEARD)

    assert log.write(odd) == []
    assert log.write("label 4 printed") == []


@pytest.mark.parametrize("line", ["", "   ", "\u0000\n", "* * *", "{line}", "<*> <*>", "x " * 120])
def test_any_text_is_a_line(line: str) -> None:
    log = learnt(unheard=UNHEARD)

    assert log.write(line) == ["unheard"]
    assert log.write(line) == []


def test_memory_stays_bounded_whatever_is_written() -> None:
    budget = Budget(1500)
    first, second = Patterns(60.0, budget, (60.0,)), Patterns(60.0, budget, (60.0,))
    for number in range(MAX_PATTERNS + 200):
        first.see(_words(number), number)
    for number in range(MAX_PATTERNS + 200):
        second.see(_words(number), number)

    assert len(first.known) == MAX_PATTERNS
    assert budget.held == len(first.known) + len(second.known) == 1500
    first.see(_words(MAX_PATTERNS + 199), 9999.0)
    assert not first.fresh
    first.see(_words(0), 9999.0)
    assert first.fresh, "the pattern that was longest not seen is forgotten"


def test_a_device_without_any_pattern_finds_no_room_where_all_is_taken() -> None:
    budget = Budget(1)
    Patterns(60.0, budget).see("a b c", 1.0)
    other = Patterns(60.0, budget)
    other.see("d e f", 1.0)

    assert other.is_new(learn_s=0.0) is None
    assert budget.refused == 1


def test_a_pattern_that_was_forgotten_leaves_the_disk_too() -> None:
    log = Log(unheard=UNHEARD, patterns=16)
    for number in range(40):
        log.write(_words(number))
        log.keep(urgent=number % 2 == 0)
    log.keep(urgent=False)

    assert sum('"pattern"' in key for key in log.disk) == 16


@pytest.mark.parametrize("seed", range(30))
def test_restarts_anywhere_change_nothing(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - the same sequence again
    triggers = {"unheard": UNHEARD, "burst": {"when": "repeats(line, 20s) > 3"}}
    steady, restarted = Log(patterns=20, **triggers), Log(patterns=20, **triggers)
    fired = 0
    for _ in range(120):
        line = f"{chance.choice('abc')} {chance.choice('defg')} {chance.choice('hij')} {chance.random()}"
        told = restarted.write(line)
        assert told == steady.write(line)
        fired += len(told)
        restarted.keep(urgent=True)
        if chance.random() < 0.2:
            restarted.keep(urgent=False)
            restarted.restart()
    assert fired


def test_words_with_a_digit_are_values() -> None:
    assert words_of("Failed password for 10.0.0.7 port 22") == ("Failed", "password", "for", "*", "port", "*")


@pytest.mark.parametrize("key", ['["pattern","log","a","line",1]', '["patterns","log","a","line"]'])
@pytest.mark.parametrize(
    "body",
    ["[]", "{}", '{"words": []}', '{"words": ["a"], "at": "x", "counts": []}', '{"started": null}', "null"],
)
def test_rows_that_cannot_be_read_are_left_out(key: str, body: str) -> None:
    log = learnt(unheard=UNHEARD)
    log.disk = {"x": StateRow("triggers", key, body)}
    log.restart(down_s=1)

    for number in range(12):
        assert log.write(f"label {number} printed") == []
    assert log.write("the lamp broke") == ["unheard"]


def _words(number: int) -> str:
    """Return a line that is unlike every other one."""
    word = "".join(chr(97 + int(digit)) for digit in str(number))
    return f"{word}x {word}y {word}z"
