"""This project's engine, in a process of its own, to be measured beside others.

Knows the language model; knows nothing of what the others are. It imports what a node's model needs and
nothing else, so that its memory is what the model takes.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_node.bench.engine_process import Spent, answer_until_closed, keep_output_for_answers
from edge_node.bench.machine import peak_rss_mb
from edge_node.messages import Grammar, Turn
from edge_node.model.decoding import NoGuess, decode
from edge_node.model.grammar import Grammars
from edge_node.model.language_model import OnnxLanguageModel
from edge_node.model.manifest import GRAPH_FILE, read_manifest
from edge_node.model.session import open_kv_session
from edge_node.model.tokens import TOKENIZER_FILE, Tokenizer

if TYPE_CHECKING:
    from collections.abc import Mapping

_ANY_TEXT = Grammar("start: /(.|\\n)*/", kind="lark")
_WARMING = 8


class OwnEngine:
    """The language model as a node runs it.

    Args:
        folder: The built model.
        threads: Threads for one run.
        context: Tokens that fit.
        prefixes: Where prompts' beginnings are kept.
    """

    def __init__(self, folder: Path, *, threads: int, context: int, prefixes: Path) -> None:
        self._folder, self._threads, self._context = folder, threads, context
        began_s = time.perf_counter()
        self._model = OnnxLanguageModel.open(folder, context=context, threads=threads, prefixes=prefixes)
        self.load_s = time.perf_counter() - began_s
        self._written_plainly: _PlainDecoding | None = None

    def generate(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is written to a prompt under its grammar, and how long it took."""
        turns, grammar = _turns(asked), _grammar(asked)
        spent = Spent()
        made = self._model.generate(turns, grammar=grammar, max_tokens=asked["max_tokens"])
        return {
            **spent.until_now(),
            "text": made.text,
            "prompt_tokens": made.prompt_tokens,
            "cached_tokens": made.cached_tokens,
            "tokens": made.tokens,
            "runs": made.runs,
        }

    def plain(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Return how long it took to write tokens one by one, none of them foreseen."""
        if self._written_plainly is None:
            self._written_plainly = _PlainDecoding(self._folder, threads=self._threads, context=self._context)
        return self._written_plainly.write(_turns(asked), tokens=asked["max_tokens"])

    def keep(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Read the beginning of a prompt and keep it; return once it is on the disk."""
        self._model.prepare(_turns(asked)[0])
        self._model.close()
        return {}

    def memory(self, _asked: Mapping[str, Any]) -> dict[str, Any]:
        """Return the most memory that this process has had."""
        return {"peak_rss_mb": peak_rss_mb()}


class _PlainDecoding:
    """One run for each token that is written."""

    def __init__(self, folder: Path, *, threads: int, context: int) -> None:
        decoder = read_manifest(folder).decoder
        if decoder is None:  # the language model was opened from the same folder
            raise TypeError(folder)
        self._tokenizer = Tokenizer.open(
            folder / TOKENIZER_FILE, bos=decoder.bos, eos=decoder.eos, chat_template=decoder.chat_template
        )
        self._grammars = Grammars(self._tokenizer)
        self._session = open_kv_session(folder / GRAPH_FILE, threads=threads, length=context)

    def write(self, turns: list[Turn], *, tokens: int) -> dict[str, Any]:
        prompt = self._tokenizer.prompt(turns)
        self._write(prompt, cached=0, tokens=_WARMING)
        spent = Spent()
        written = self._write(prompt, cached=len(prompt) - 1, tokens=tokens)
        return {**spent.until_now(), "tokens": written}

    def _write(self, prompt: list[int], *, cached: int, tokens: int) -> int:
        matcher = self._grammars.matcher(_ANY_TEXT)
        made = decode(
            self._session,
            prompt,
            cached=cached,
            matcher=matcher,
            eos=self._tokenizer.eos,
            max_tokens=tokens,
            guesser=NoGuess(),
        )
        return made.runs


def _turns(asked: Mapping[str, Any]) -> list[Turn]:
    return [Turn(role, content) for role, content in asked["turns"]]


def _grammar(asked: Mapping[str, Any]) -> Grammar:
    if asked["schema"]:
        return Grammar(asked["schema"])
    if asked["choices"]:
        return Grammar(f"start: {' | '.join(map(json.dumps, asked['choices']))}\n", kind="lark")
    return _ANY_TEXT


def main(settings: str) -> None:
    """Answer what is asked until standard input ends."""
    keep_output_for_answers()
    wanted = json.loads(settings)
    engine = OwnEngine(
        Path(wanted["folder"]),
        threads=wanted["threads"],
        context=wanted["context"],
        prefixes=Path(wanted["prefixes"]),
    )
    answer_until_closed(
        {"load_s": engine.load_s},
        answers={
            "generate": engine.generate,
            "plain": engine.plain,
            "keep": engine.keep,
            "memory": engine.memory,
        },
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
