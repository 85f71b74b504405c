"""What spares runs changes no token: the real model, with guesses and caches, and without."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

import pytest

from edge_node.config.shipped import shipped_folder
from edge_node.messages import Grammar, Turn
from edge_node.model.decoding import NoGuess, decode
from edge_node.model.grammar import Grammars
from edge_node.model.language_model import OnnxLanguageModel
from edge_node.model.manifest import GRAPH_FILE, read_manifest
from edge_node.model.session import open_kv_session
from edge_node.model.tokens import TOKENIZER_FILE, Tokenizer
from edge_node.paths import models_folder
from tests.battery.counts import EQUALITY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

pytestmark = [pytest.mark.models]
_CONTEXT = 1024
_WRITTEN = 24


def asked() -> Iterator[tuple[list[Turn], Grammar]]:
    """Yield prompts over sentences of the ready nodes' manuals, with grammars of four kinds in turns."""
    dice = random.Random(5)
    texts = (path.read_text(encoding="utf-8") for path in sorted(shipped_folder("nodes").rglob("*.md")))
    lines = [line.strip().replace('"', "'") for text in texts for line in text.splitlines()]
    lines = [line for line in lines if len(line) > 40]
    kinds = [_continued, _quoted, _chosen, _filled]
    for number in range(EQUALITY.count):
        said = dice.sample(lines, 3)
        user, grammar = kinds[number % len(kinds)](said, number)
        yield (
            [Turn("system", f"You guard hall {number % 2} and copy what was said."), Turn("user", user)],
            grammar,
        )


def _continued(said: Sequence[str], _number: int) -> tuple[str, Grammar]:
    return f"Repeat this exactly: {said[0]}", Grammar("start: /(.|\\n)*/", kind="lark")


def _quoted(said: Sequence[str], _number: int) -> tuple[str, Grammar]:
    user = f"<<{said[0]}>>\n<<{said[1]}>>\nThe second sentence, between marks:"
    return user, Grammar('start: "<<" /[^>]*/ ">>"', kind="lark")


def _chosen(said: Sequence[str], _number: int) -> tuple[str, Grammar]:
    choices = [f"[{place}] {line}" for place, line in enumerate(said, start=1)]
    user = "\n".join(choices) + f"\nWhich of them speaks of {said[2].split()[0]}?"
    return user, Grammar(f"start: {' | '.join(map(json.dumps, choices))}\n", kind="lark")


def _filled(said: Sequence[str], number: int) -> tuple[str, Grammar]:
    members = {
        "pump": {"enum": ["pump-1", "pump-2", "pump-12"]},
        "percent": {"type": "integer", "minimum": 0, "maximum": 100},
        "why": {"type": "string", "maxLength": 60},
    }
    schema = {"type": "object", "properties": members, "required": [*members], "additionalProperties": False}
    return f"Slow pump-2 down to {number % 100} percent because {said[0]}", Grammar(json.dumps(schema))


def test_every_answer_of_the_real_model_is_that_of_plain_decoding() -> None:
    folder = models_folder() / "smollm2-135m-instruct" / "onnx"
    decoder = read_manifest(folder).decoder
    assert decoder is not None
    tokenizer = Tokenizer.open(
        folder / TOKENIZER_FILE, bos=decoder.bos, eos=decoder.eos, chat_template=decoder.chat_template
    )
    model = OnnxLanguageModel.open(folder, context=_CONTEXT, threads=2)
    plain = open_kv_session(folder / GRAPH_FILE, threads=2, length=_CONTEXT)
    grammars, guessed, cached = Grammars(tokenizer), 0, 0
    for turns, grammar in asked():
        came = model.generate(turns, grammar=grammar, max_tokens=_WRITTEN)
        expected = decode(
            plain,
            tokenizer.prompt(turns),
            cached=0,
            matcher=grammars.matcher(grammar),
            eos=tokenizer.eos,
            max_tokens=_WRITTEN,
            guesser=NoGuess(),
        )
        assert came.text == tokenizer.decode(expected.tokens), turns[-1].content
        guessed, cached = guessed + came.guessed_tokens, cached + came.cached_tokens
    assert guessed
    assert cached
