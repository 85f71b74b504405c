"""llama.cpp, in a process of its own, to be measured beside this project's engine.

The only place that knows the `llama_cpp` library. It gets the same tokens, its own grammars over them, and
goes on from what it has read, as it does by itself where two prompts begin alike. Its grammars hold letters
to a rule and leave their cut into tokens open: it may write the same text in more tokens, which are told.
"""

from __future__ import annotations

import json
import sys
import time
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any

from llama_cpp import Llama, LlamaGrammar

from edge_node.bench.engine_process import Spent, answer_until_closed, keep_output_for_answers
from edge_node.bench.machine import peak_rss_mb

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_WARMING = 8


class LlamaEngine:
    """llama.cpp as a program would use it for one request at a time.

    Args:
        file: The GGUF file.
        threads: Threads for reading and writing.
        context: Tokens that fit.
    """

    def __init__(self, file: str, *, threads: int, context: int) -> None:
        began_s = time.perf_counter()
        self._model = Llama(
            file, n_ctx=context, n_threads=threads, n_threads_batch=threads, flash_attn=True, verbose=False
        )
        self.load_s = time.perf_counter() - began_s
        self._ends = {self._model.token_eos()}

    def generate(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is written to a prompt under its grammar, and how long it took."""
        grammar = _grammar(asked["schema"], tuple(asked["choices"]))
        spent = Spent()
        written = list(self._written(asked["tokens"], most=asked["max_tokens"], grammar=grammar))
        times = spent.until_now()
        text = self._model.detokenize(written).decode(errors="replace")
        return {**times, "text": text, "tokens": len(written)}

    def plain(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Return how long it took to write tokens one by one."""
        written = self._written(asked["tokens"], most=_WARMING + asked["max_tokens"], grammar=None)
        began = [Spent() for _ in islice(written, _WARMING)][-1]
        tokens = sum(1 for _ in written)
        return {**began.until_now(), "tokens": tokens}

    def memory(self, _asked: Mapping[str, Any]) -> dict[str, Any]:
        """Return the most memory that this process has had."""
        return {"peak_rss_mb": peak_rss_mb()}

    def _written(self, prompt: list[int], *, most: int, grammar: LlamaGrammar | None) -> Iterator[int]:
        """Yield the likeliest tokens, up to what ends the answer."""
        for place, token in enumerate(self._model.generate(prompt, temp=0.0, grammar=grammar), start=1):
            if token in self._ends:
                return
            yield token
            if place == most:
                return


@lru_cache(maxsize=64)
def _grammar(schema: str, choices: tuple[str, ...]) -> LlamaGrammar | None:
    if schema:
        return LlamaGrammar.from_json_schema(schema, verbose=False)
    if choices:
        texts = " | ".join(json.dumps(choice, ensure_ascii=False) for choice in choices)
        return LlamaGrammar.from_string(f"root ::= {texts}", verbose=False)
    return None


def main(settings: str) -> None:
    """Answer what is asked until standard input ends."""
    keep_output_for_answers()
    engine = LlamaEngine(**json.loads(settings))
    answer_until_closed(
        {"load_s": engine.load_s},
        answers={"generate": engine.generate, "plain": engine.plain, "memory": engine.memory},
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
