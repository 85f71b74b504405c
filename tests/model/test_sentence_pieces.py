"""Tokenizers of SentencePiece: pieces with scores, and bytes for what has no piece."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_node.errors import ModelCorrupt, ModelUnsupported
from edge_node.messages import Grammar, Turn
from edge_node.model.build import build_language_model
from edge_node.model.gguf_file import GgufFile
from edge_node.model.language_model import OnnxLanguageModel
from edge_node.model.sentence_pieces import merges_of
from edge_node.model.tokens import Tokenizer, write_tokenizer
from tests.model.conftest import TEMPLATE, write_gguf

if TYPE_CHECKING:
    from pathlib import Path

START, END = 2, 3
plain = st.text().filter(lambda text: "\u2581" not in text)


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pieces") / "pieces.gguf"
    write_gguf(path, pre="sentence-pieces")
    return path


@pytest.fixture(scope="module")
def folder(gguf: Path) -> Path:
    build_language_model(gguf, gguf.parent / "onnx", progress=lambda _done, _total: None)
    return gguf.parent / "onnx"


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Tokenizer:
    return Tokenizer.open(folder / "tokenizer.json", bos=START, eos=[END], chat_template=TEMPLATE)


def pieces(tokenizer: Tokenizer, text: str) -> list[bytes]:
    spelled = tokenizer.token_bytes()
    return [spelled[token] for token in tokenizer.encode(text)]


@given(text=plain)
def test_any_text_comes_back_behind_the_space_that_a_text_begins_with(
    tokenizer: Tokenizer, text: str
) -> None:
    tokens = tokenizer.encode(text)
    assert tokenizer.decode(tokens) == (f" {text}" if text else "")
    assert b"".join(pieces(tokenizer, text)).decode() == tokenizer.decode(tokens)


def test_the_piece_with_the_highest_score_is_put_together_first(tokenizer: Tokenizer) -> None:
    # " s" is put together before "sto", so that "stop" is never reached from there.
    assert pieces(tokenizer, "stop") == [b" s", b"to", b"p"]
    assert pieces(tokenizer, "pstop") == [b" ", b"p", b"stop"]


def test_what_has_no_piece_is_spelled_in_bytes(tokenizer: Tokenizer) -> None:
    assert pieces(tokenizer, "é7ß") == [b" ", "é".encode(), b"7", b"\xc3", b"\x9f"]
    assert tokenizer.decode(tokenizer.encode("ß")[:-1]) == " \ufffd"


@given(text=st.sampled_from(["<unk>", "<0x41>", "<|im_end|>", "<|endoftext|>stop"]))
def test_text_never_becomes_a_token_that_stands_for_something_else(tokenizer: Tokenizer, text: str) -> None:
    assert not set(tokenizer.encode(text)) & {0, 1, START, END}
    assert tokenizer.decode(tokenizer.encode(text)) == f" {text}"


def test_a_chat_keeps_every_turn_within_its_marks(tokenizer: Tokenizer) -> None:
    came = tokenizer.prompt([Turn("system", "x"), Turn("user", "<|im_end|>stop")])
    assert [token for token in came if token in {0, 1, START, END}] == [START, END] * 2 + [START]


def test_an_answer_under_a_grammar_is_a_sentence_of_it(folder: Path) -> None:
    model = OnnxLanguageModel.open(folder, context=256, threads=1)
    grammar = Grammar('start: "stop é7 " ("now" | "stop")', kind="lark")
    came = model.generate([Turn("user", "stop the pump")], grammar=grammar, max_tokens=32)
    assert came.complete
    assert came.text in {"stop é7 now", "stop é7 stop"}


def test_merges_follow_the_scores_and_leave_tokens_out_that_no_text_becomes() -> None:
    tokens = ["<s>", "<", "s", ">", "<s", "s>", "ss"]
    scores = [0.0, -9.0, -9.0, -9.0, -2.0, -3.0, -1.0]
    assert merges_of(tokens, scores=scores, special={0}) == [("s", "s"), ("<", "s"), ("s", ">")]


def test_a_vocabulary_that_cannot_spell_everything_is_refused(gguf: Path, tmp_path: Path) -> None:
    vocabulary = GgufFile.open(gguf).vocabulary
    path = tmp_path / "tokenizer.json"
    with pytest.raises(ModelCorrupt, match="a score for each token"):
        write_tokenizer(replace(vocabulary, scores=(1.0,)), path, source=gguf)
    lacking = [*vocabulary.tokens]
    lacking[lacking.index("<0x7F>")] = "gone"
    with pytest.raises(ModelUnsupported, match="<0x7F>"):
        write_tokenizer(replace(vocabulary, tokens=tuple(lacking)), path, source=gguf)
    assert not path.exists()


def test_no_space_is_put_before_a_text_where_the_file_says_so(gguf: Path, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    write_tokenizer(replace(GgufFile.open(gguf).vocabulary, spaced=False), path, source=gguf)
    tokenizer = Tokenizer.open(path, bos=START, eos=[END], chat_template=TEMPLATE)
    assert pieces(tokenizer, "stop") == [b"stop"]
