"""Invented worlds: what the adapter that ships is trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_node.evaluation import tools
from edge_node.model.grammar import Grammars
from edge_node.tuning.lessons import answer_of, is_teachable, lay_case
from edge_node.tuning.school import matter_of
from edge_node.tuning.worlds import worlds
from edge_node.understand.drafting import ModelDrafting

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from edge_node.messages import Turn
    from edge_node.tuning.tuner import Base
    from edge_node.tuning.worlds import World
    from edge_node.understand.drafting import Laid


class Counting:
    """A language model that only counts words."""

    context = 4096

    def count(self, turns: Sequence[Turn]) -> int:
        return sum(len(turn.content.split()) for turn in turns)

    def prepare(self, system: Turn) -> None:
        raise NotImplementedError

    def generate(self, *_: object, **__: object) -> None:
        raise NotImplementedError


class Blind:
    """An embedder that nobody asks."""

    name = "blind"

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        raise NotImplementedError


def drafting(world: World) -> ModelDrafting:
    twin = tools.CatalogueTwin(tools.Catalogue(world.node.spec.devices, {}, world.states))
    return ModelDrafting([world.node], twin=twin, embedder=Blind(), model=Counting())  # type: ignore[arg-type]


def laid_cases(count: int, *, seed: int) -> list[tuple[World, Laid, str, bool]]:
    found = []
    for world in worlds(count, seed=seed):
        own = drafting(world)
        for case in world.cases:
            laid = lay_case(case, own, matter=matter_of(world))
            assert laid is not None
            found.append((world, laid, answer_of(case, laid), is_teachable(case, laid)))
    return found


def test_the_same_seed_makes_the_same_worlds() -> None:
    def told(seed: int) -> list[object]:
        return [
            [world.node.spec.model_dump(), world.cases, world.shown, world.states]
            for world in worlds(5, seed=seed)
        ]

    assert told(4) == told(4)
    assert told(4) != told(5)


def test_more_worlds_leave_the_first_ones_as_they_were() -> None:
    assert [world.cases for world in worlds(3, seed=1)] == [world.cases for world in worlds(6, seed=1)][:3]


def test_worlds_hold_orders_and_what_is_none() -> None:
    cases = [case for world in worlds(60, seed=2) for case in world.cases]
    orders = sum(bool(case.command) for case in cases) / len(cases)
    assert 0.4 < orders < 0.7
    assert len({case.command for case in cases}) > 60


def test_nearly_every_case_can_be_traced_to_its_words() -> None:
    teachable = [able for *_, able in laid_cases(40, seed=3)]
    assert sum(teachable) / len(teachable) > 0.95


@pytest.mark.parametrize("seed", [11, 12])
def test_every_case_that_is_taught_is_a_sentence_of_the_grammar(seed: int, base: Base) -> None:
    tokenizer = base.tokenizer()
    grammars = Grammars(tokenizer)
    for _, laid, answer, able in laid_cases(8, seed=seed):
        if able:
            tokens = tokenizer.encode(answer)
            matcher = grammars.matcher(laid.grammar)
            assert matcher.fitting(tokens) == len(tokens), answer
            matcher.consume(tokens)
            assert matcher.accepting, answer
