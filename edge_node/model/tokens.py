"""Text to tokens and back, and chats laid out as a model was trained to read them.

The only place that knows the `tokenizers` library. Knows nothing of models or grammars.

Special tokens come from the template's own text and from nowhere else: whatever stands in a turn is
encoded as plain text, also where it spells a special token.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers
from tokenizers import Tokenizer as Encoder

from edge_node.errors import ModelCorrupt, ModelUnsupported
from edge_node.model.chat_template import ChatTemplate
from edge_node.model.sentence_pieces import SPACE, byte_piece, bytes_of_piece, merges_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from edge_node.messages import Turn
    from edge_node.model.gguf_file import Vocabulary

TOKENIZER_FILE = "tokenizer.json"
ROLES = frozenset({"system", "user", "assistant"})
_LLAMA_3_PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN_2_PIECES = _LLAMA_3_PIECES.replace(r"\p{N}{1,3}", r"\p{N}")
_UNMERGED = "\x02"
_PLACEHOLDER = "\ue000{index}\ue001"
_PLACEHOLDERS = re.compile("\ue000(\\d+)\ue001")


def load_tokenizer(path: Path) -> Encoder:
    """Return the tokenizer that a tokenizer.json describes.

    Raises:
        ModelCorrupt: It cannot be read.
    """
    try:
        return Encoder.from_buffer(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ModelCorrupt(path, expected="a tokenizer.json", came=str(error)) from error


def write_tokenizer(vocabulary: Vocabulary, path: Path, *, source: Path) -> None:
    """Write the tokenizer.json of a model.

    Args:
        vocabulary: What it is built from.
        path: Where to write.
        source: The model file, for errors.

    Raises:
        ModelCorrupt: Tokens and merges do not fit each other.
        ModelUnsupported: It is of another kind, or splits text by a rule that is not known.
    """
    if vocabulary.model not in _ENCODERS:
        expected = "a tokenizer of byte-level BPE (gpt2) or SentencePiece (llama)"
        raise ModelUnsupported(source, expected=expected, came=vocabulary.model)
    vocab = {token: index for index, token in enumerate(vocabulary.tokens)}
    if len(vocab) < len(vocabulary.tokens):
        raise ModelCorrupt(source, expected="each token once", came="one that comes again")
    encoder = _ENCODERS[vocabulary.model](vocabulary, vocab, source)
    encoder.add_special_tokens(
        [
            AddedToken(vocabulary.tokens[index], special=True, normalized=False)
            for index in sorted(vocabulary.special)
        ]
    )
    encoder.save(str(path))


def _byte_level_encoder(vocabulary: Vocabulary, vocab: dict[str, int], source: Path) -> Encoder:
    if vocabulary.pre not in _SPLITS:
        raise ModelUnsupported(
            source, expected=f"a pre-tokenizer among {', '.join(sorted(_SPLITS))}", came=vocabulary.pre
        )
    encoder = Encoder(
        models.BPE(
            vocab=vocab,
            merges=_merges(vocabulary.merges, vocab=vocab, source=source),
            ignore_merges=vocabulary.pre in {"llama-bpe", "llama3"},
        )
    )
    encoder.pre_tokenizer = _SPLITS[vocabulary.pre]
    encoder.decoder = decoders.ByteLevel()
    return encoder


def _sentence_piece_encoder(vocabulary: Vocabulary, vocab: dict[str, int], source: Path) -> Encoder:
    if len(vocabulary.scores) != len(vocab):
        came = f"{len(vocabulary.scores)} of {len(vocab)}"
        raise ModelCorrupt(source, expected="a score for each token", came=came)
    if missing := {byte_piece(byte) for byte in range(0x100)} - vocab.keys():
        raise ModelUnsupported(source, expected="a token for each byte", came=f"none for {min(missing)}")
    merges = merges_of(vocabulary.tokens, scores=vocabulary.scores, special=vocabulary.special)
    encoder = Encoder(models.BPE(vocab=vocab, merges=merges, byte_fallback=True))
    before = [normalizers.Prepend(SPACE)] if vocabulary.spaced else []
    encoder.normalizer = normalizers.Sequence([*before, normalizers.Replace(" ", SPACE)])
    encoder.decoder = decoders.ByteFallback()
    return encoder


def _merges(merges: Sequence[str], *, vocab: Mapping[str, int], source: Path) -> list[tuple[str, str]]:
    """Return merges as pairs; the library ends with an error of no kind of its own on those it cannot use."""
    pairs = [(left, right) for left, _, right in (merge.partition(" ") for merge in merges)]
    for left, right in pairs:
        for text in (left, right, left + right):
            if text not in vocab:
                raise ModelCorrupt(
                    source, expected=f"a token {text!r} for the merge of {left!r} and {right!r}", came="none"
                )
    return pairs


def check_vocabulary(path: Path, *, tokenizer: Tokenizer, vocabulary: int, eos: Sequence[int]) -> None:
    """Make sure that a tokenizer belongs to a model.

    Args:
        path: The model, for errors.
        tokenizer: The tokenizer.
        vocabulary: Tokens that the model tells apart.
        eos: Tokens that end an answer.

    Raises:
        ModelUnsupported: The model does not know all its tokens, or it does not know how answers end.
    """
    if tokenizer.size > vocabulary:
        raise ModelUnsupported(
            path, expected=f"a tokenizer of at most {vocabulary} tokens", came=str(tokenizer.size)
        )
    if not eos or max(eos) >= tokenizer.size:
        expected = f"tokens that end an answer, below {tokenizer.size}"
        raise ModelUnsupported(path, expected=expected, came=", ".join(map(str, eos)) or "none")


class Tokenizer:
    """Text to tokens and back, for one model.

    Attributes:
        bos: Token that opens a text, or None.
        eos: Tokens that end an answer.
        special: Token to identifier of everything that never comes from plain text.
    """

    def __init__(
        self, encoder: Encoder, *, bos: int | None, eos: Sequence[int], chat_template: ChatTemplate
    ) -> None:
        self.bos = bos
        self.eos = tuple(eos)
        self.special = {
            token.content: index
            for index, token in encoder.get_added_tokens_decoder().items()
            if token.special
        }
        encoder.no_padding()
        encoder.no_truncation()
        encoder.encode_special_tokens = True  # in this library's words: as plain text
        self._encoder = encoder
        self._bytes_of = bytes_of_piece if _falls_back(encoder) else _bytes_of
        self._special_pattern = re.compile(
            "|".join(map(re.escape, sorted(self.special, key=len, reverse=True)))
        )
        self._template = chat_template

    @classmethod
    def open(cls, path: Path, *, bos: int | None, eos: Sequence[int], chat_template: str) -> Tokenizer:
        """Return the tokenizer that lies at `path`.

        Args:
            path: The tokenizer.json.
            bos: Token that opens a text, or None.
            eos: Tokens that end an answer.
            chat_template: Jinja source that lays out a chat.

        Raises:
            ModelCorrupt: The file cannot be read.
            ModelUnsupported: The chat template is missing or does not compile.
        """
        template = ChatTemplate(chat_template, of=path)
        encoder = load_tokenizer(path)
        if not isinstance(encoder.decoder, decoders.ByteLevel) and not _falls_back(encoder):
            came = type(encoder.decoder).__name__
            raise ModelUnsupported(path, expected="a tokenizer that can spell bytes", came=came)
        return cls(encoder, bos=bos, eos=eos, chat_template=template)

    @property
    def size(self) -> int:
        """Number of tokens."""
        return int(self._encoder.get_vocab_size(with_added_tokens=True))

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        """Return the tokens of a text.

        Args:
            text: Any text.
            special: Whether what spells a special token becomes one; never so for text from outside.
        """
        if not special or not self.special:
            return list(self._encoder.encode(text, add_special_tokens=False).ids)
        return self._joined((text,), (True,))

    def encode_on(self, text: str) -> list[int]:
        """Return the tokens of a text that goes on another: none of them spells a space before it."""
        if self._bytes_of is _bytes_of:
            return self.encode(text)
        # A control character has no piece but its byte, and so nothing merges with it.
        return self.encode(_UNMERGED + text)[len(self.encode(_UNMERGED)) :]

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens, special ones left out."""
        if self._bytes_of is _bytes_of:
            return str(self._encoder.decode(list(tokens), skip_special_tokens=True))
        # The library would drop a space before the first word, which a grammar may have asked for.
        special = set(self.special.values())
        spelled = (self._spell(token) for token in tokens if token not in special)
        return b"".join(spelled).decode(errors="replace")

    def token_bytes(self) -> list[bytes]:
        """Return the bytes of every token, by identifier; of special ones the bytes of their name."""
        special = set(self.special.values())
        found = []
        for index in range(self.size):
            token = str(self._encoder.id_to_token(index) or "")
            found.append(token.encode() if index in special else self._spell(index))
        return found

    def prompt(self, turns: Sequence[Turn]) -> list[int]:
        """Return the tokens of a chat, up to where the assistant's answer begins.

        Raises:
            ValueError: A turn has an unknown role.
            ModelUnsupported: The template refuses these turns.
        """
        if unknown := {turn.role for turn in turns} - ROLES:
            raise ValueError(f"roles: expected {', '.join(sorted(ROLES))}, came {', '.join(sorted(unknown))}")
        # The template sees a mark in place of each content: no content can pass for the template's own text.
        messages = [
            {"role": turn.role, "content": _PLACEHOLDER.format(index=index)}
            for index, turn in enumerate(turns)
        ]
        text = self._template.render(
            messages, bos=self._spelled(self.bos), eos=self._spelled(self.eos[0] if self.eos else None)
        )
        pieces = _PLACEHOLDERS.split(text)
        texts = [turns[int(piece)].content if place % 2 else piece for place, piece in enumerate(pieces)]
        return self._joined(texts, [place % 2 == 0 for place in range(len(pieces))])

    def _joined(self, texts: Sequence[str], trusted: Sequence[bool]) -> list[int]:
        """Encode texts as one: plain runs that touch are encoded together, as the model has seen them."""
        tokens: list[int] = []
        plain = ""
        for text, is_trusted in zip(texts, trusted, strict=True):
            for part, identifier in self._parts(text) if is_trusted else [(text, None)]:
                plain += part
                if identifier is not None:
                    tokens += [*self.encode(plain), identifier]
                    plain = ""
        return tokens + self.encode(plain)

    def _parts(self, text: str) -> Iterator[tuple[str, int | None]]:
        """Yield plain text with the special token that follows it, or None at the end."""
        end = 0
        for found in self._special_pattern.finditer(text) if self.special else ():
            yield text[end : found.start()], self.special[found[0]]
            end = found.end()
        yield text[end:], None

    def _spell(self, token: int) -> bytes:
        return self._bytes_of(str(self._encoder.id_to_token(token) or ""))

    def _spelled(self, token: int | None) -> str:
        return "" if token is None else str(self._encoder.id_to_token(token))


def _falls_back(encoder: Encoder) -> bool:
    """Return whether it is of SentencePiece, and spells in bytes what no other token does."""
    return isinstance(encoder.model, models.BPE) and bool(encoder.model.byte_fallback)


def _byte_level() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.ByteLevel(add_prefix_space=False)


def _pieces(pattern: str) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


_SPLITS = {
    "default": _byte_level(),
    "gpt-2": _byte_level(),
    "smollm": pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), _byte_level()]),
    "llama-bpe": _pieces(_LLAMA_3_PIECES),
    "llama3": _pieces(_LLAMA_3_PIECES),
    "qwen2": _pieces(_QWEN_2_PIECES),
}


_ENCODERS = {"gpt2": _byte_level_encoder, "llama": _sentence_piece_encoder}


def _byte_alphabet() -> dict[str, int]:
    """Return the character that stands for each byte in a byte-level vocabulary.

    Source: Radford et al., GPT-2 (2019): printable Latin-1 stands for itself, the rest from U+0100 on.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [byte for byte in range(0x100) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {
        chr(0x100 + place): byte for place, byte in enumerate(rest)
    }


def _bytes_of(token: str) -> bytes:
    """Return the bytes that a token stands for; those of its own text where it is not of the alphabet."""
    try:
        return token.translate(_LATIN).encode("latin-1")
    except UnicodeEncodeError:
        return token.encode()


_BYTES = _byte_alphabet()
# What is not of the alphabet must not pass for the Latin-1 character that it is.
_LATIN = dict.fromkeys(range(0x100), 0xFFFD) | {ord(mark): byte for mark, byte in _BYTES.items()}
