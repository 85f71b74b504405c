from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from edge_node.errors import LargerModelFailed
from edge_node.messages import CommandDraft, NothingDraft, Open, Origin
from edge_node.understand.drafting import ModelDrafting
from edge_node.understand.larger import CircuitBreaker, LargerDrafting

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edge_node.config.loaded import Node
    from edge_node.messages import Draft, Generation, Grammar, Passage, Request, Turn
    from edge_node.protocols import Attention, Embedder
    from tests.understand.conftest import HeldTwin, SayingModel

ORDER = Open("pump-guard", question=False, commands=("set_speed", "stop", "set_mode", "jog", "show"))
STOP = json.dumps({"command": "stop", "arguments": {"pump": "pump-2"}})


class Small:
    """Drafting that always has one doubt."""

    def __init__(self, draft: Draft) -> None:
        self.result = draft

    def draft(
        self,
        request: Request,
        matter: Open,
        passages: Sequence[Passage],
        *,
        attention: Attention | None = None,
    ) -> tuple[Draft, Mapping[str, object]]:
        del request, matter, passages, attention
        return self.result, {"text": "small"}


class DownModel:
    """A language model behind an address where nobody answers."""

    context = 2048

    def __init__(self) -> None:
        self.asked = 0

    def count(self, turns: Sequence[Turn]) -> int:
        return len(turns)

    def prepare(self, system: Turn) -> None:
        del system

    def generate(
        self,
        turns: Sequence[Turn],
        *,
        grammar: Grammar,
        max_tokens: int,
        check: Callable[[], None] | None = None,
    ) -> Generation:
        del turns, grammar, max_tokens, check
        self.asked += 1
        raise LargerModelFailed("big at http://127.0.0.1:1/v1", came="no connection")


class Now:
    def __init__(self) -> None:
        self.s = 100.0

    def __call__(self) -> float:
        return self.s


DOUBT = NothingDraft("pump-guard", "no command fits what was said")


@pytest.fixture
def larger(node: Node, twin: HeldTwin, embedder: Embedder, model: SayingModel) -> LargerDrafting:
    return made(ModelDrafting([node], twin=twin, embedder=embedder, model=model), small=Small(DOUBT))


def made(
    drafting: ModelDrafting, *, small: Small, nodes: Sequence[str] = ("pump-guard",), clock: Now | None = None
) -> LargerDrafting:
    breaker = CircuitBreaker(clock or Now())
    return LargerDrafting(small, larger=drafting, name="big at home", nodes=nodes, breaker=breaker)


def test_what_the_small_model_doubts_the_larger_one_drafts(
    larger: LargerDrafting, model: SayingModel, ask: Callable[..., Request]
) -> None:
    model.text = STOP
    draft, record = larger.draft(ask("halt pump two for good"), ORDER, ())
    # A condition such as `approve: origin == 'model'` holds for it too.
    assert isinstance(draft, CommandDraft)
    assert (draft.name, draft.arguments, draft.origin) == ("stop", {"pump": "pump-2"}, Origin.MODEL)
    told: Any = record["larger_model"]
    assert (told["model"], told["text"]) == ("big at home", STOP)


@pytest.mark.parametrize(
    "written",
    [
        "Sure! I stopped it.",
        '{"command":"format_disk","arguments":{}}',
        '{"command":"stop","arguments":{"pump":"pump-3"}}',
        '{"command":"stop","arguments":{"pump":["pump-2"]}}',
        '{"command":"stop","arguments":{"pump":{"$ref":"pump-2"}}}',
        '{"command":"stop","arguments":{"pump":"pump-2","force":true}}',
        '{"command":"set_speed","arguments":{"pump":"pump-2","percent":80}}',
        '{"command":"set_speed","arguments":{"pump":"pump-2","percent":"40"}}',
        '{"command":"stop","arguments":{"pump":"pump-2"},"arguments":{"pump":"pump-1"}}',
        '{"command":"none"}',
        '{"tool":"stop"}',
        "[]",
        "",
    ],
)
def test_what_was_not_said_never_becomes_a_command(
    larger: LargerDrafting, model: SayingModel, ask: Callable[..., Request], written: str
) -> None:
    model.text = written
    draft, record = larger.draft(ask("halt pump two for good"), ORDER, ())
    assert draft is DOUBT
    assert "larger_model" in record


@pytest.mark.parametrize(
    ("first", "matter", "nodes"),
    [
        (CommandDraft("pump-guard", "stop", {"pump": "pump-1"}, Origin.MODEL), ORDER, ["pump-guard"]),
        (NothingDraft("pump-guard", "no device", code="no_device"), ORDER, ["pump-guard"]),
        (DOUBT, Open("pump-guard", question=True), ["pump-guard"]),
        (DOUBT, ORDER, ["rover"]),
    ],
    ids=["settled", "no device", "a question", "a node that stays local"],
)
def test_the_larger_model_is_not_asked_for(
    node: Node,
    twin: HeldTwin,
    embedder: Embedder,
    ask: Callable[..., Request],
    first: Draft,
    matter: Open,
    nodes: list[str],
) -> None:
    down = DownModel()
    drafting = made(
        ModelDrafting([node], twin=twin, embedder=embedder, model=down), small=Small(first), nodes=nodes
    )
    draft, record = drafting.draft(ask("halt pump two for good"), matter, ())
    assert (draft, record, down.asked) == (first, {"text": "small"}, 0)


def test_while_it_is_down_it_rests_longer_each_time(
    node: Node, twin: HeldTwin, embedder: Embedder, ask: Callable[..., Request]
) -> None:
    down, now = DownModel(), Now()
    drafting = made(
        ModelDrafting([node], twin=twin, embedder=embedder, model=down), small=Small(DOUBT), clock=now
    )
    asked = []
    for second in range(60):
        now.s = 100.0 + second
        draft, record = drafting.draft(ask("halt pump two for good"), ORDER, ())
        assert draft is DOUBT
        assert "no connection" in str(record["larger_model"])
        asked.append(down.asked)
    assert [second for second in range(60) if second == 0 or asked[second] > asked[second - 1]] == [
        0,
        5,
        15,
        35,
    ]
    assert "no connection" in drafting.trouble


def test_an_answer_ends_the_trouble() -> None:
    now = Now()
    breaker = CircuitBreaker(now)
    breaker.failed("no connection")
    assert (breaker.closed, breaker.trouble) == (False, "no connection")
    now.s += 5
    assert breaker.closed
    breaker.succeeded()
    assert breaker.trouble == ""
