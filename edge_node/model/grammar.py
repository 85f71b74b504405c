"""What may come next, by a grammar.

The only place that knows the `llguidance` library. Knows nothing of models or of what a sentence means.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper

from edge_node.errors import GrammarInvalid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_node.messages import Grammar
    from edge_node.model.tokens import Tokenizer

_KEPT = 64
_COMPACT = {"whitespace_flexible": False, "item_separator": ",", "key_separator": ":"}


class Matcher:
    """A place in a sentence of a grammar."""

    def __init__(self, matcher: LLMatcher) -> None:
        self._matcher = matcher

    @property
    def accepting(self) -> bool:
        """Whether what was consumed is a sentence of the grammar."""
        return bool(self._matcher.is_accepting())

    @property
    def stopped(self) -> bool:
        """Whether nothing can follow."""
        return bool(self._matcher.is_stopped())

    def forced(self) -> list[int]:
        """Return the tokens that must follow, as the tokenizer itself would cut their text; not consumed."""
        return list(self._matcher.compute_ff_tokens())

    def fitting(self, tokens: Sequence[int]) -> int:
        """Return how many of these tokens may follow one after the other; not consumed."""
        return int(self._matcher.validate_tokens(list(tokens)))

    def allowed(self, vocabulary: int) -> NDArray[np.bool_]:
        """Return which tokens may follow, shape (vocabulary,), bool.

        Raises:
            GrammarInvalid: The grammar has become too large to follow.
        """
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        self._check()
        mask = np.unpackbits(bits, bitorder="little")[:vocabulary].astype(np.bool_)
        return np.pad(mask, (0, vocabulary - len(mask)))

    def consume(self, tokens: Sequence[int]) -> None:
        """Go on by tokens that were chosen or forced.

        Raises:
            GrammarInvalid: They may not follow.
        """
        self._matcher.consume_tokens(list(tokens))
        self._check()

    def _check(self) -> None:
        if self._matcher.is_error():
            raise GrammarInvalid(self._matcher.get_error())


class Grammars:
    """Compiled grammars over one tokenizer; the latest ones are kept."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        # Tables for the masks of free text would take 11 MB and a quarter of a second of loading, and spare
        # 0.4 ms where the likeliest token may not follow: a run takes twenty times as long.
        self._tokenizer = LLTokenizer(
            TokenizerWrapper(_PlainText(tokenizer)), eos_token=list(tokenizer.eos), slices=[]
        )
        self._compiled = lru_cache(maxsize=_KEPT)(self._compile)

    def matcher(self, grammar: Grammar) -> Matcher:
        """Return a matcher at the start of a grammar.

        JSON is written without white space, members in the order of the schema.

        Raises:
            GrammarInvalid: The grammar does not compile or has no sentence.
        """
        return Matcher(self._compiled(grammar).deep_copy())

    def _compile(self, grammar: Grammar) -> LLMatcher:
        matcher = LLMatcher(self._tokenizer, _source(grammar), log_level=0)
        if matcher.is_error():
            raise GrammarInvalid(matcher.get_error())
        return matcher


def _source(grammar: Grammar) -> str:
    if grammar.kind == "lark":
        return str(LLMatcher.grammar_from_lark(grammar.source))
    if grammar.kind != "json_schema":
        raise GrammarInvalid(f"kind: expected json_schema or lark, came {grammar.kind}")
    try:
        return str(LLMatcher.grammar_from_json_schema(grammar.source, overrides=_COMPACT))
    except ValueError as error:
        raise GrammarInvalid(str(error)) from error


class _PlainText:
    """A tokenizer as llguidance wants it, cutting text as the model's own and never into special tokens."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.eos_token_id = tokenizer.eos[0]
        self.bos_token_id = tokenizer.bos
        self.tokens = tokenizer.token_bytes()
        self.special_token_ids = sorted(tokenizer.special.values())

    def __call__(self, text: bytes) -> list[int]:
        return self._tokenizer.encode_on(text.decode())
