"""What a grammar lets through."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from edge_node.errors import GrammarInvalid
from edge_node.messages import Grammar
from edge_node.model.grammar import Grammars, Matcher

if TYPE_CHECKING:
    from edge_node.model.tokens import Tokenizer

ORDER = Grammar(
    json.dumps(
        {
            "type": "object",
            "properties": {"command": {"enum": ["stop", "speed"]}, "n": {"type": "integer", "minimum": 0}},
            "required": ["command", "n"],
            "additionalProperties": False,
        }
    )
)


@pytest.fixture(scope="module")
def grammars(tiny_tokenizer: Tokenizer) -> Grammars:
    return Grammars(tiny_tokenizer)


def accepted(matcher: Matcher, tokenizer: Tokenizer, text: str) -> bool:
    try:
        matcher.consume(tokenizer.encode(text))
    except GrammarInvalid:
        return False
    return matcher.accepting


@pytest.mark.parametrize(
    ("text", "lets_through"),
    [
        ('{"command":"stop","n":12}', True),
        ('{"command": "stop","n":12}', False),
        ('{"command":"stop", "n":12}', False),
        ('{"n":12,"command":"stop"}', False),
        ('{"command":"open","n":12}', False),
        ('{"command":"stop","n":-1}', False),
        ('{"command":"stop"', False),
    ],
)
def test_json_is_compact_and_in_the_order_of_the_schema(
    grammars: Grammars, tiny_tokenizer: Tokenizer, text: str, *, lets_through: bool
) -> None:
    assert accepted(grammars.matcher(ORDER), tiny_tokenizer, text) is lets_through


def test_what_is_forced_is_cut_as_the_tokenizer_cuts_it(
    grammars: Grammars, tiny_tokenizer: Tokenizer
) -> None:
    forced = grammars.matcher(ORDER).forced()
    assert len(forced) > 5
    assert forced == tiny_tokenizer.encode(tiny_tokenizer.decode(forced))
    assert '{"command":"'.startswith(tiny_tokenizer.decode(forced))


def test_the_mask_allows_what_may_follow_and_nothing_else(
    grammars: Grammars, tiny_tokenizer: Tokenizer
) -> None:
    matcher = grammars.matcher(Grammar('start: "a" | "b"', kind="lark"))
    allowed = matcher.allowed(tiny_tokenizer.size)
    assert {tiny_tokenizer.decode([int(token)]) for token in allowed.nonzero()[0]} == {"a", "b"}


def test_logits_beyond_the_vocabulary_are_never_allowed(
    grammars: Grammars, tiny_tokenizer: Tokenizer
) -> None:
    matcher = grammars.matcher(Grammar("start: /(.|\\n)*/", kind="lark"))
    allowed = matcher.allowed(tiny_tokenizer.size + 100)
    assert allowed.shape == (tiny_tokenizer.size + 100,)
    assert not allowed[tiny_tokenizer.size :].any()


def test_the_end_is_allowed_only_where_a_sentence_is_complete(
    grammars: Grammars, tiny_tokenizer: Tokenizer
) -> None:
    matcher = grammars.matcher(Grammar("start: /[ab]{2,3}/", kind="lark"))
    matcher.consume(tiny_tokenizer.encode("a"))
    assert not matcher.allowed(tiny_tokenizer.size)[2]
    matcher.consume(tiny_tokenizer.encode("b"))
    assert matcher.allowed(tiny_tokenizer.size)[2]


def test_names_of_special_tokens_are_plain_text_to_a_grammar(
    grammars: Grammars, tiny_tokenizer: Tokenizer
) -> None:
    matcher = grammars.matcher(Grammar(json.dumps({"const": "a<|im_end|>b"})))
    forced = matcher.forced()
    assert not set(forced) & {0, 1, 2}
    assert tiny_tokenizer.decode(forced) == '"a<|im_end|>b"'
    anything = grammars.matcher(Grammar("start: /(.|\\n)*/", kind="lark")).allowed(tiny_tokenizer.size)
    assert not anything[:2].any()


def test_one_use_of_a_grammar_leaves_no_trace_in_the_next(
    grammars: Grammars, tiny_tokenizer: Tokenizer
) -> None:
    grammars.matcher(ORDER).consume(tiny_tokenizer.encode('{"command":"stop"'))
    assert accepted(grammars.matcher(ORDER), tiny_tokenizer, '{"command":"speed","n":1}')


def test_a_finished_sentence_stops(grammars: Grammars, tiny_tokenizer: Tokenizer) -> None:
    matcher = grammars.matcher(ORDER)
    matcher.consume(tiny_tokenizer.encode('{"command":"stop","n":12'))
    assert not matcher.stopped
    matcher.consume(tiny_tokenizer.encode("}"))
    assert matcher.stopped
    assert matcher.accepting


@pytest.mark.parametrize(
    "grammar",
    [
        Grammar("not json"),
        Grammar('{"type": "nothing"}'),
        Grammar('{"enum": []}'),
        Grammar('{"type": "string", "pattern": "("}'),
        Grammar("start: missing", kind="lark"),
        Grammar("start: (", kind="lark"),
        Grammar("root ::= x", kind="gbnf"),
    ],
)
def test_a_grammar_that_does_not_compile_is_refused(grammars: Grammars, grammar: Grammar) -> None:
    with pytest.raises(GrammarInvalid, match=r"^grammar: "):
        grammars.matcher(grammar)
