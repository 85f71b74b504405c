"""Cases that are written for a node from its own file."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge_node.config.load import load_node
from edge_node.config.loaded import SpokenExample
from edge_node.messages import Open, Request, RequestKind
from edge_node.tuning.cases import paraphrased, peopled, save_cases, split, write_cases
from edge_node.tuning.lessons import answer_of, lay_case
from edge_node.tuning.phrases import drawn, in_words, noisy, spoken_numbers
from edge_node.tuning.school import School
from edge_node.understand.templates import Templates
from edge_node.understand.values import numbers_in

if TYPE_CHECKING:
    from tests.tuning.conftest import HashedWords

NODES = Path("nodes")


@pytest.mark.parametrize("name", ["pump-guard", "rover", "home"])
def test_cases_are_written_for_every_command_and_for_none(name: str) -> None:
    node = peopled(load_node(NODES / name))
    cases = write_cases(node, orders=10, seed=1)
    named = {case.command for case in cases}
    assert named == {"", *node.spec.commands}
    assert len({case.utterance for case in cases}) == len(cases)
    for case in cases:
        assert set(case.arguments) <= (set(node.spec.commands[case.command].args) if case.command else set())


def test_the_same_seed_writes_the_same_cases() -> None:
    node = peopled(load_node(NODES / "rover"))
    assert write_cases(node, orders=8, seed=3) == write_cases(node, orders=8, seed=3)
    assert write_cases(node, orders=8, seed=3) != write_cases(node, orders=8, seed=4)


def test_no_order_is_read_by_a_template_of_another_command_and_no_none_by_any() -> None:
    node = peopled(load_node(NODES / "rover"))
    templates = Templates([node])
    devices = {node.name: tuple(node.spec.devices)}
    for case in write_cases(node, orders=15, seed=5):
        read = {match.command for match in templates.matches(case.utterance, devices=devices)}
        assert read <= ({case.command} if case.command else set()), case


def test_devices_that_the_file_names_are_kept_and_others_are_added_or_invented() -> None:
    node = load_node(NODES / "pump-guard")
    assert set(peopled(node, devices=("pump-7",)).spec.devices) >= {"pump-7"}
    invented = peopled(node).spec.devices
    assert invented
    assert peopled(peopled(node)).spec.devices == invented


def test_own_cases_come_first_and_are_never_lost() -> None:
    node = peopled(load_node(NODES / "rover"))
    own = SpokenExample(
        "off you trot, robot one, to the dock", "go_to", {"robot": "robot-1", "place": "dock"}
    )
    cases = write_cases(node, orders=4, seed=1, given=(own,))
    assert cases[0] == own


def test_a_fifth_of_every_command_is_held_back_and_never_learned() -> None:
    node = peopled(load_node(NODES / "rover"))
    cases = write_cases(node, orders=20, seed=1)
    parts = split(cases, seed=1)
    assert len(parts.learned) + len(parts.held) == len(cases)
    assert not {case.utterance for case in parts.learned} & {case.utterance for case in parts.held}
    for name in ("", *node.spec.commands):
        count = sum(case.command == name for case in cases)
        assert sum(case.command == name for case in parts.held) == round(count * 0.2)


def test_cases_are_kept_in_the_layout_of_a_file_of_examples(tmp_path: Path) -> None:
    cases = (SpokenExample("halt robot 1", "halt", {"robot": "robot-1"}), SpokenExample("nice weather"))
    save_cases(cases, tmp_path / "cases.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "cases.jsonl").read_text().splitlines()]
    assert lines == [
        {"utterance": "halt robot 1", "expected": {"name": "halt", "arguments": {"robot": "robot-1"}}},
        {"utterance": "nice weather", "expected": "none"},
    ]


def test_training_reads_the_prompt_that_the_runtime_puts_before_the_model(embedder: HashedWords) -> None:
    class Asked:
        context = 4096
        turns: object = None

        def count(self, _turns: object) -> int:
            return 1

        def generate(self, turns: object, **_: object) -> object:
            self.turns = turns
            raise LookupError

    node = peopled(load_node(NODES / "rover"))
    model = Asked()
    school = School(model, None, embedder)  # type: ignore[arg-type]
    drafting = school.drafting(node, states={"robot-2": {"battery": 50}})
    matter = Open(node.name, question=False, commands=("halt",), examples=(("stop robot 1", "{}"),))
    case = SpokenExample("please halt robot two", "halt", {"robot": "robot-2"})
    laid = lay_case(case, drafting, matter=matter)
    assert laid is not None
    request = Request("r", RequestKind.ASK, "", 0.0, text=case.utterance, user="anna")
    with pytest.raises(LookupError):
        drafting.draft(request, matter, ())
    assert model.turns == laid.turns
    assert answer_of(case, laid) == '{"command":"halt","arguments":{"robot":"robot-2"}}'


@pytest.mark.parametrize("number", [0, 7, 13, 20, 45, 100, 101, 250, 999, 1000, 12_345, 0.5, 3.25, -4])
def test_numbers_in_words_are_read_back(number: float) -> None:
    assert numbers_in(in_words(number)) == [number]


def test_numbers_are_spoken_only_where_they_are_read_back() -> None:
    assert spoken_numbers("turn it by 40 degrees") == "turn it by forty degrees"
    assert spoken_numbers("ticket AB-204") == "ticket AB-204"


def test_a_pattern_gives_all_its_sentences() -> None:
    chance = random.Random(1)
    found = {drawn("(a|b) [c] {d}", chance) for _ in range(60)}
    assert found == {"a {d}", "b {d}", "a c {d}", "b c {d}"}


def test_noise_touches_no_word_that_is_kept() -> None:
    chance = random.Random(2)
    texts = {noisy("bring northern star to harbour", chance, keep=("northern star",)) for _ in range(300)}
    assert len(texts) > 20
    assert all("northern star" in text.casefold() for text in texts)


def test_a_paraphrase_keeps_every_slot() -> None:
    chance = random.Random(3)
    for _ in range(50):
        assert "{robot}" in paraphrased("send {robot} to {place}", chance)
