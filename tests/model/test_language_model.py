"""The language model as the other stages see it, over a tiny model with random weights."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from edge_node.errors import ContextExceeded, GrammarInvalid, ModelCorrupt, ModelMissing
from edge_node.messages import Grammar, Turn
from edge_node.model.decoding import NoGuess, decode
from edge_node.model.grammar import Grammars
from edge_node.model.language_model import OnnxLanguageModel
from edge_node.model.manifest import read_manifest
from edge_node.model.prefixes import PrefixCache
from edge_node.model.session import open_kv_session
from edge_node.paths import models_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_node.model.tokens import Tokenizer

FREE = Grammar("start: /(.|\\n)*/", kind="lark")
ORDER = Grammar(json.dumps({"enum": ["stop", "speed up", "speed down"]}))
HISTORY = [Turn("system", "The pumps of hall 3."), Turn("user", "stop")]


@pytest.fixture
def model(tiny_folder: Path) -> OnnxLanguageModel:
    return OnnxLanguageModel.open(tiny_folder, context=256, threads=1)


@pytest.fixture(scope="module")
def kept_model(tiny_folder: Path) -> OnnxLanguageModel:
    return OnnxLanguageModel.open(tiny_folder, context=256, threads=1)


def test_reading_token_by_token_gives_the_logits_of_reading_at_once(tiny_folder: Path) -> None:
    tokens = np.random.default_rng(3).integers(0, 200, 40)
    cached = open_kv_session(tiny_folder / "model.onnx", threads=1, length=64)
    for position, token in enumerate(tokens):
        came = cached.run(np.array([token]), position=position)
        fresh = open_kv_session(tiny_folder / "model.onnx", threads=1, length=64)
        expected = fresh.run(tokens[: position + 1], position=0)
        np.testing.assert_allclose(came, expected, atol=1e-4)


def test_reading_on_from_an_earlier_position_forgets_what_came_after(tiny_folder: Path) -> None:
    tokens = np.random.default_rng(4).integers(0, 200, 30)
    session = open_kv_session(tiny_folder / "model.onnx", threads=1, length=64)
    expected = session.run(tokens, position=0).copy()
    session.run(np.full(20, 9), position=10)
    np.testing.assert_allclose(session.run(tokens[10:], position=10), expected, atol=1e-4)


def test_a_prompt_longer_than_one_run_is_read_in_pieces(tiny_folder: Path) -> None:
    tokens = np.random.default_rng(5).integers(0, 200, 150)
    session = open_kv_session(tiny_folder / "model.onnx", threads=1, length=200)
    at_once = session.run(tokens, position=0).copy()
    session.run(tokens[:70], position=0)
    np.testing.assert_allclose(session.run(tokens[70:], position=70), at_once, atol=1e-4)


def test_a_session_refuses_what_does_not_fit(tiny_folder: Path) -> None:
    session = open_kv_session(tiny_folder / "model.onnx", threads=1, length=16)
    with pytest.raises(ContextExceeded):
        session.run(np.zeros(10, np.int64), position=7)


def test_a_shared_beginning_is_not_read_again_and_changes_no_word(
    model: OnnxLanguageModel, tiny_folder: Path
) -> None:
    first = model.generate(HISTORY, grammar=FREE, max_tokens=20)
    longer = [*HISTORY, Turn("assistant", "stopped"), Turn("user", "speed 12")]
    again = model.generate(longer, grammar=FREE, max_tokens=20)
    fresh = OnnxLanguageModel.open(tiny_folder, context=256, threads=1)
    anew = fresh.generate(longer, grammar=FREE, max_tokens=20)
    assert first.cached_tokens == anew.cached_tokens == 0
    # Both prompts go on with `assistant` and a line break; the answers differ from there.
    assert again.cached_tokens >= model.count(HISTORY)
    assert again.cached_tokens < again.prompt_tokens == model.count(longer)
    assert (again.text, again.tokens, again.complete) == (anew.text, anew.tokens, anew.complete)
    assert again.log_probability == pytest.approx(anew.log_probability, abs=1e-4)


def test_the_same_prompt_twice_gives_the_same_answer(model: OnnxLanguageModel) -> None:
    first = model.generate(HISTORY, grammar=FREE, max_tokens=30)
    second = model.generate(HISTORY, grammar=FREE, max_tokens=30)
    assert second.text == first.text
    assert second.cached_tokens == second.prompt_tokens - 1


def test_a_failed_request_does_not_spoil_the_next(model: OnnxLanguageModel) -> None:
    expected = model.generate(HISTORY, grammar=ORDER, max_tokens=20).text
    with pytest.raises(GrammarInvalid):
        model.generate(HISTORY, grammar=Grammar("{"), max_tokens=20)
    with pytest.raises(ContextExceeded):
        model.generate(HISTORY, grammar=FREE, max_tokens=250)
    assert model.generate(HISTORY, grammar=ORDER, max_tokens=20).text == expected


def test_a_node_s_prefix_comes_back_as_a_copy_after_another_node_s(model: OnnxLanguageModel) -> None:
    pump, lamp = (Turn("system", f"You guard the {name} of hall 3, and nothing else.") for name in "pl")
    expected = [
        model.generate([system, Turn("user", "stop")], grammar=FREE, max_tokens=9).text
        for system in (pump, lamp)
    ]
    for system, text in zip((pump, lamp), expected, strict=True):
        again = model.generate([system, Turn("user", "stop")], grammar=FREE, max_tokens=9)
        assert again.text == text
        assert again.cached_tokens > len("You guard the p of hall 3")


def test_a_prepared_prefix_outlives_the_process(tiny_folder: Path, tmp_path: Path) -> None:
    chat = [Turn("system", "You guard the pumps of hall 3."), Turn("user", "speed 9")]
    fresh = OnnxLanguageModel.open(tiny_folder, context=256, threads=1)
    expected = fresh.generate(chat, grammar=FREE, max_tokens=25)
    first = OnnxLanguageModel.open(tiny_folder, context=256, threads=1, prefixes=tmp_path)
    first.prepare(chat[0])
    first.close()
    second = OnnxLanguageModel.open(tiny_folder, context=256, threads=1, prefixes=tmp_path)
    second.prepare(chat[0])
    came = second.generate(chat, grammar=FREE, max_tokens=25)
    assert expected.cached_tokens == 0
    assert came.cached_tokens > len("You guard the pumps")
    assert (came.text, came.log_probability) == (expected.text, expected.log_probability)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_prefix_that_the_model_would_read_otherwise_is_dropped(tiny_folder: Path, tmp_path: Path) -> None:
    chat = [Turn("system", "You guard the pumps of hall 3."), Turn("user", "speed 9")]
    first = OnnxLanguageModel.open(tiny_folder, context=256, threads=1, prefixes=tmp_path)
    expected = first.generate(chat, grammar=FREE, max_tokens=25).text
    first.close()
    (file,) = tmp_path.iterdir()
    swapped = PrefixCache(tmp_path, identity=first.prefix_identity, limit_bytes=10**9)
    tokens = tuple(json.loads(file.read_bytes()[: 64 * 1024])["tokens"])
    honest = swapped.load(tokens)
    assert honest is not None
    swapped.keep(replace(honest, state=honest.state * np.float32(1.01), mapped=None))
    swapped.settle()
    second = OnnxLanguageModel.open(tiny_folder, context=256, threads=1, prefixes=tmp_path)
    with capture_logs() as entries:
        came = second.generate(chat, grammar=FREE, max_tokens=25)
    second.close()
    assert came.text == expected
    assert came.cached_tokens == 0
    assert [entry["event"] for entry in entries] == ["prefix_dropped"]
    third = OnnxLanguageModel.open(tiny_folder, context=256, threads=1, prefixes=tmp_path)
    assert third.generate(chat, grammar=FREE, max_tokens=25).cached_tokens > 0


def test_what_a_position_comes_to_does_not_depend_on_how_the_text_was_cut(tiny_folder: Path) -> None:
    tokens = np.random.default_rng(6).integers(0, 200, 180)
    session = open_kv_session(tiny_folder / "model.onnx", threads=1, length=256)
    at_once = session.run(tokens, position=0).copy()
    for cut in (1, 2, 50, 128, 178, 179):
        session.run(tokens[:cut], position=0)
        assert np.array_equal(session.run(tokens[cut:], position=cut), at_once) or cut == 1
    several = session.run(tokens[170:], position=170, last=5).copy()
    for place in range(5):
        alone = session.run(tokens[175 + place : 176 + place], position=175 + place)
        np.testing.assert_array_equal(alone[0], several[place])


PHRASES = ("stop pump", "speed up", "user 7", "the stop", "pump", "42 percent", "é", "slow", "hall 3")


def written_prompts(count: int) -> Iterator[tuple[list[Turn], Grammar]]:
    """Yield prompts with repetitions, and grammars of free text, quotation, choice and JSON in turn."""
    random = Random(11)  # noqa: S311 - no secret
    for number in range(count):
        words = random.choices(PHRASES, k=random.randint(3, 9))
        said = " ".join(words + words[: random.randint(0, 6)])
        member = {"enum": sorted(set(words))}
        schema = {"type": "object", "properties": {"a": member, "b": member}, "required": ["a", "b"]}
        grammar = [
            FREE,
            Grammar(f"start: /[a-z ]*/ {json.dumps(said)} /[a-z ]*/", kind="lark"),
            Grammar("start: " + " | ".join(json.dumps(word) for word in sorted(set(words))), kind="lark"),
            Grammar(json.dumps({**schema, "additionalProperties": False})),
        ][number % 4]
        yield [Turn("system", f"You guard the {words[0]} here."), Turn("user", said)], grammar


def test_guesses_and_caches_change_no_token_of_500_answers(
    tiny_folder: Path, tiny_tokenizer: Tokenizer
) -> None:
    model = OnnxLanguageModel.open(tiny_folder, context=256, threads=1)
    plain = open_kv_session(tiny_folder / "model.onnx", threads=1, length=256)
    grammars, guessed = Grammars(tiny_tokenizer), 0
    for turns, grammar in written_prompts(500):
        came = model.generate(turns, grammar=grammar, max_tokens=24)
        expected = decode(
            plain,
            tiny_tokenizer.prompt(turns),
            cached=0,
            matcher=grammars.matcher(grammar),
            eos=tiny_tokenizer.eos,
            max_tokens=24,
            guesser=NoGuess(),
        )
        assert came.text == tiny_tokenizer.decode(expected.tokens)
        assert came.log_probability == pytest.approx(expected.log_probability, abs=1e-6)
        guessed += came.guessed_tokens
    assert guessed > 100


names = st.text(alphabet="abcdefgh<|>_ é", min_size=1, max_size=6)
values = st.one_of(
    st.builds(lambda choices: {"enum": choices}, st.lists(names, min_size=1, max_size=4, unique=True)),
    st.builds(
        lambda low, more: {"type": "integer", "minimum": low, "maximum": low + more},
        st.integers(-50, 50),
        st.integers(0, 60),
    ),
    st.just({"type": "boolean"}),
)
schemas = st.builds(
    lambda members: {
        "type": "object",
        "properties": members,
        "required": list(members),
        "additionalProperties": False,
    },
    st.dictionaries(names, values, min_size=1, max_size=3),
)


@settings(max_examples=40, deadline=None)
@given(schema=schemas, words=st.text(max_size=10))
def test_a_model_of_random_weights_still_writes_what_the_schema_says(
    kept_model: OnnxLanguageModel, schema: dict[str, object], words: str
) -> None:
    came = kept_model.generate([Turn("user", words)], grammar=Grammar(json.dumps(schema)), max_tokens=120)
    assert came.complete
    jsonschema.validate(json.loads(came.text), schema)
    assert came.text == json.dumps(json.loads(came.text), separators=(",", ":"), ensure_ascii=False)
    assert 0 < came.forced_tokens <= came.tokens
    assert came.log_probability <= 0


def test_an_answer_cut_by_the_limit_is_not_complete(model: OnnxLanguageModel) -> None:
    came = model.generate(HISTORY, grammar=ORDER, max_tokens=2)
    assert came.tokens == 2
    assert not came.complete


def test_prompt_and_answer_must_fit_together(model: OnnxLanguageModel) -> None:
    room = model.context - model.count(HISTORY)
    assert model.generate(HISTORY, grammar=FREE, max_tokens=room).tokens <= room
    with pytest.raises(ContextExceeded) as caught:
        model.generate(HISTORY, grammar=FREE, max_tokens=room + 1)
    assert (caught.value.tokens, caught.value.limit) == (model.count(HISTORY), model.count(HISTORY) - 1)


def test_the_context_is_never_longer_than_the_model_was_trained_for(tiny_folder: Path) -> None:
    assert OnnxLanguageModel.open(tiny_folder, context=100_000, threads=1).context == 256
    assert OnnxLanguageModel.open(tiny_folder, context=64, threads=1).context == 64


def test_the_digest_is_that_of_the_manifest(model: OnnxLanguageModel, tiny_folder: Path) -> None:
    assert model.digest == read_manifest(tiny_folder).digest
    assert len(model.digest) == 64


def test_two_threads_at_once_get_what_each_would_get_alone(model: OnnxLanguageModel) -> None:
    chats = [[Turn("user", "stop")], [Turn("user", "speed 9 up")]]
    expected = [model.generate(chat, grammar=FREE, max_tokens=15).text for chat in chats]
    came: dict[int, set[str]] = {0: set(), 1: set()}

    def ask(which: int) -> None:
        for _ in range(5):
            came[which].add(model.generate(chats[which], grammar=FREE, max_tokens=15).text)

    threads = [threading.Thread(target=ask, args=(which,)) for which in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert came == {0: {expected[0]}, 1: {expected[1]}}


def test_an_empty_folder_holds_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing):
        OnnxLanguageModel.open(tmp_path, context=64, threads=1)


def test_a_damaged_folder_is_not_opened(tiny_folder: Path, tmp_path: Path) -> None:
    for path in tiny_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "model.onnx.data").write_bytes(b"")
    with pytest.raises(ModelCorrupt, match=r"model\.onnx\.data"):
        OnnxLanguageModel.open(tmp_path, context=64, threads=1)


@pytest.mark.models
def test_the_default_model_turns_an_order_into_a_command() -> None:
    folder = models_folder() / "smollm2-135m-instruct" / "onnx"
    model = OnnxLanguageModel.open(folder, context=512, threads=2)
    schema = {
        "type": "object",
        "properties": {"pump": {"enum": ["pump-1", "pump-2"]}, "percent": {"type": "integer"}},
        "required": ["pump", "percent"],
        "additionalProperties": False,
    }
    turns = [Turn("system", "Answer with JSON."), Turn("user", "Slow pump-2 down to 40 percent.")]
    came = model.generate(turns, grammar=Grammar(json.dumps(schema)), max_tokens=40)
    assert json.loads(came.text) == {"pump": "pump-2", "percent": 40}


class Enough(Exception):
    """Raised by a check."""


@pytest.mark.parametrize("runs", [0, 1, 5])
def test_a_text_is_given_up_between_tokens_and_the_next_one_is_as_if_it_had_never_begun(
    tiny_folder: Path, model: OnnxLanguageModel, runs: int
) -> None:
    checked = []

    def check() -> None:
        if len(checked) == runs:
            raise Enough
        checked.append(1)

    with pytest.raises(Enough):
        model.generate(HISTORY, grammar=FREE, max_tokens=40, check=check)

    fresh = OnnxLanguageModel.open(tiny_folder, context=256, threads=1)
    for chat in (HISTORY, [*HISTORY, Turn("assistant", "stop"), Turn("user", "speed")]):
        expected = fresh.generate(chat, grammar=FREE, max_tokens=40)
        assert model.generate(chat, grammar=FREE, max_tokens=40).text == expected.text


def test_a_check_is_asked_before_each_run(model: OnnxLanguageModel) -> None:
    checked: list[int] = []

    came = model.generate(HISTORY, grammar=FREE, max_tokens=20, check=lambda: checked.append(1))

    assert len(checked) == came.runs > 1
