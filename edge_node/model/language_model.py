"""The language model: chats to sentences of a grammar, on what it has already read.

Joins session, tokens, grammars and decoding; knows nothing of commands, manuals or where models come from.
"""

from __future__ import annotations

import threading
from itertools import takewhile
from typing import TYPE_CHECKING

import structlog

from edge_node.errors import ContextExceeded, ModelUnsupported
from edge_node.messages import Generation
from edge_node.model.decoding import decode
from edge_node.model.grammar import Grammars
from edge_node.model.manifest import GRAPH_FILE, read_manifest
from edge_node.model.session import open_kv_session
from edge_node.model.tokens import TOKENIZER_FILE, Tokenizer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edge_node.messages import Grammar, Turn
    from edge_node.model.session import KvSession

_log = structlog.get_logger(__name__)


class OnnxLanguageModel:
    """A decoder on ONNX Runtime; one text at a time.

    What the last prompt and this one begin with alike is not read again, so a prompt costs least where
    what changes stands last.
    """

    def __init__(self, session: KvSession, *, tokenizer: Tokenizer, digest: str) -> None:
        self._session = session
        self._tokenizer = tokenizer
        self._digest = digest
        self._grammars = Grammars(tokenizer)
        self._read: tuple[int, ...] = ()
        self._lock = threading.Lock()

    @classmethod
    def open(cls, folder: Path, *, context: int, threads: int) -> OnnxLanguageModel:
        """Return the model that was built into `folder`.

        Args:
            folder: Holds manifest, graph, weights and tokenizer.
            context: Tokens that prompt and answer may have together; at most what the model can read.
            threads: Threads for one run.

        Raises:
            ModelMissing: There is no built model.
            ModelCorrupt: A file is missing, cut short or cannot be read.
            ModelUnsupported: It is no language model, or its chat template or graph cannot be used.
        """
        manifest = read_manifest(folder)
        decoder = manifest.decoder
        if decoder is None:
            raise ModelUnsupported(folder, expected="a language model", came="another kind")
        if context > decoder.context:
            _log.warning("context_lowered", model=folder.name, asked=context, context=decoder.context)
        tokenizer = Tokenizer.open(
            folder / TOKENIZER_FILE, bos=decoder.bos, eos=decoder.eos, chat_template=decoder.chat_template
        )
        length = min(context, decoder.context)
        session = open_kv_session(folder / GRAPH_FILE, threads=threads, length=length)
        return cls(session, tokenizer=tokenizer, digest=manifest.digest)

    @property
    def context(self) -> int:
        """Tokens that prompt and answer may have together."""
        return self._session.length

    @property
    def digest(self) -> str:
        """Hash over everything that the model is, in hexadecimal."""
        return self._digest

    def count(self, turns: Sequence[Turn]) -> int:
        """Return how many tokens a prompt has."""
        return len(self._tokenizer.prompt(turns))

    def generate(self, turns: Sequence[Turn], *, grammar: Grammar, max_tokens: int) -> Generation:
        """Return the greedy continuation that is a sentence of `grammar`.

        Args:
            turns: The chat.
            grammar: What the answer must be a sentence of.
            max_tokens: Tokens to write at most.

        Raises:
            ContextExceeded: Prompt and `max_tokens` do not fit the context.
            GrammarInvalid: The grammar does not compile or cannot be followed.
            ModelError: The model cannot be run.
        """
        prompt = self._tokenizer.prompt(turns)
        if len(prompt) + max_tokens > self.context:
            raise ContextExceeded(tokens=len(prompt), limit=max(0, self.context - max_tokens))
        matcher = self._grammars.matcher(grammar)
        with self._lock:
            # At least one token is read anew: the logits after it are not kept.
            cached = min(_common(self._read, prompt), len(prompt) - 1)
            self._read = self._read[:cached]
            decoded = decode(
                self._session,
                prompt,
                cached=cached,
                matcher=matcher,
                eos=self._tokenizer.eos,
                max_tokens=max_tokens,
            )
            self._read = decoded.read
        return Generation(
            text=self._tokenizer.decode(decoded.tokens),
            prompt_tokens=len(prompt),
            cached_tokens=cached,
            tokens=len(decoded.tokens),
            forced_tokens=decoded.forced,
            complete=decoded.complete,
            log_probability=decoded.log_probability,
        )


def _common(left: Sequence[int], right: Sequence[int]) -> int:
    """Return how many tokens both begin with."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(left, right, strict=False)))
