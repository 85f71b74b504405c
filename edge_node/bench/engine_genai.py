"""onnxruntime-genai, in a process of its own, to be measured beside this project's engine.

The only place that knows the `onnxruntime_genai` library. It gets the same tokens and, through llguidance,
the same grammars, and writes what they force without a run for each token. A grammar belongs to a generator
there, and so does what was read: an order with other numbers to it than the one before is read from its
first token on.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

from onnxruntime_genai import Generator, GeneratorParams, Model, Tokenizer

from edge_node.bench.engine_process import Spent, answer_until_closed, keep_output_for_answers
from edge_node.bench.machine import peak_rss_mb

if TYPE_CHECKING:
    from collections.abc import Mapping

_WARMING = 8
_FORCED = 128  # what a grammar forces is written whole, over the limit too, and the library needs its room
_DENSE = {"x-guidance": {"whitespace_flexible": False}}  # no tokens for blanks, as this project writes none


class GenaiEngine:
    """onnxruntime-genai as a program would use it for one request at a time.

    Args:
        folder: The model and its genai_config.json, which says how many threads there are.
    """

    def __init__(self, folder: str) -> None:
        began_s = time.perf_counter()
        self._model = Model(folder)
        self._tokenizer = Tokenizer(self._model)
        self.load_s = time.perf_counter() - began_s

    def generate(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is written to a prompt under its grammar, and how long it took."""
        prompt, most = asked["tokens"], asked["max_tokens"]
        guidance = _guidance(asked)
        spent = Spent()
        generator = self._reading(prompt, most=most, guidance=guidance)
        _write(generator, to=len(prompt) + most)
        times = spent.until_now()
        written = generator.get_sequence(0)[len(prompt) :]
        return {**times, "text": self._tokenizer.decode(written), "tokens": len(written)}

    def plain(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Return how long it took to write tokens one by one."""
        prompt = asked["tokens"]
        most = _WARMING + asked["max_tokens"]
        generator = self._reading(prompt, most=most, least=most)
        _write(generator, to=len(prompt) + _WARMING)
        began = Spent()
        _write(generator, to=len(prompt) + most)
        return {**began.until_now(), "tokens": generator.token_count() - len(prompt) - _WARMING}

    def memory(self, _asked: Mapping[str, Any]) -> dict[str, Any]:
        """Return the most memory that this process has had."""
        return {"peak_rss_mb": peak_rss_mb()}

    def _reading(
        self, prompt: list[int], *, most: int, least: int = 0, guidance: tuple[str, str] | None = None
    ) -> Generator:
        """Return what has read a prompt and writes so many tokens, the likeliest ones."""
        params = GeneratorParams(self._model)
        room = len(prompt) + most + (0 if guidance is None else _FORCED)
        params.set_search_options(max_length=room, min_length=len(prompt) + least, do_sample=False)
        if guidance is not None:
            params.set_guidance(*guidance, enable_ff_tokens=True)
        generator = Generator(self._model, params)
        generator.append_tokens(prompt)
        return generator


def _write(generator: Generator, *, to: int) -> None:
    while generator.token_count() < to and not generator.is_done():
        generator.generate_next_token()


def _guidance(asked: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the kind and the text of the grammar that an answer has to follow."""
    if asked["schema"]:
        return "json_schema", json.dumps(json.loads(asked["schema"]) | _DENSE)
    if asked["choices"]:
        return "lark_grammar", f"start: {' | '.join(map(json.dumps, asked['choices']))}\n"
    return None


def main(settings: str) -> None:
    """Answer what is asked until standard input ends."""
    keep_output_for_answers()
    engine = GenaiEngine(**json.loads(settings))
    answer_until_closed(
        {"load_s": engine.load_s},
        answers={"generate": engine.generate, "plain": engine.plain, "memory": engine.memory},
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
