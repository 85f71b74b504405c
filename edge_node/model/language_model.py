"""The language model: chats to sentences of a grammar, on what it has already read.

Joins session, tokens, prefixes, grammars and decoding; knows nothing of commands, manuals or where models
come from.
"""

from __future__ import annotations

import hashlib
import threading
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import structlog

from edge_node.errors import ContextExceeded, ModelUnsupported
from edge_node.messages import Generation, Turn
from edge_node.model.decoding import NoGuess, decode
from edge_node.model.export_session import open_export_session
from edge_node.model.grammar import Grammars
from edge_node.model.lookup import PromptLookup
from edge_node.model.manifest import ADAPTABLE_FILE, GRAPH_FILE, read_manifest
from edge_node.model.memory import trim_heap
from edge_node.model.prefixes import Prefix, PrefixCache, shared
from edge_node.model.session import open_kv_session, read_adapter
from edge_node.model.tokens import TOKENIZER_FILE, Tokenizer, check_vocabulary
from edge_node.model.turned_base import TurnedBase, is_turned

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from edge_node.messages import Grammar
    from edge_node.model.decoding import Guesser
    from edge_node.model.export_session import ExportSession
    from edge_node.model.manifest import Manifest
    from edge_node.model.session import Adapter, KvSession

_log = structlog.get_logger(__name__)

PREFIX_BYTES = 256 * 1024 * 1024
_SHORTEST_PREFIX = 8  # tokens; less is read as fast as it is taken up
_BEGINNINGS = 64


class OnnxLanguageModel:
    """A decoder on ONNX Runtime; one text at a time.

    The system turn that opens a chat is its fixed part: it is read once and kept, over restarts too, and
    comes back as a copy. Beyond it, what the last prompt and this one begin with alike is not read
    again, so a prompt costs least where what changes stands last.

    Attributes:
        prefix_identity: What the fixed parts that are kept depend on besides their words.
    """

    def __init__(
        self,
        session: KvSession | ExportSession,
        *,
        tokenizer: Tokenizer,
        digest: str,
        prefixes: Path | None = None,
        prefix_bytes: int = PREFIX_BYTES,
        adapters: Mapping[str, Adapter] | None = None,
    ) -> None:
        self._session = session
        self._adapters = dict(adapters or {})
        self._active = ""
        self._tokenizer = tokenizer
        self._digest = digest
        self._grammars = Grammars(tokenizer)
        self._guesser: Guesser = PromptLookup() if session.looks_ahead else NoGuess()
        self.prefix_identity = f"{digest} {session.layout}"
        self._prefixes = PrefixCache(prefixes, identity=self.prefix_identity, limit_bytes=prefix_bytes)
        # What an adapter makes of a beginning is its own, and is kept in memory alone.
        self._prefixes_of = {"": self._prefixes} | {
            name: PrefixCache(None, identity=f"{self.prefix_identity} {name}", limit_bytes=prefix_bytes)
            for name in self._adapters
        }
        self._beginning = lru_cache(maxsize=_BEGINNINGS)(self._read_beginning)
        self._read: tuple[int, ...] = ()
        self._lock = threading.Lock()

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        context: int,
        threads: int,
        prefixes: Path | None = None,
        prefix_bytes: int = PREFIX_BYTES,
        adapters: Mapping[str, Path] | None = None,
    ) -> OnnxLanguageModel:
        """Return the model that was built into `folder`.

        Args:
            folder: Holds manifest, graph, weights and tokenizer.
            context: Tokens that prompt and answer may have together; at most what the model can read.
            threads: Threads for one run.
            prefixes: Folder for what was read of prompts' beginnings; None keeps it in memory alone.
            prefix_bytes: Bytes that it may take.
            adapters: Adapters that requests may name, and their files.

        Raises:
            ModelMissing: There is no built model.
            ModelCorrupt: A file is missing, cut short or cannot be read.
            ModelUnsupported: It is no language model, its chat template or graph cannot be used, or an
                adapter is of another base.
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
        trim_heap()  # reading a tokenizer leaves as much behind as it keeps
        # The graph with room for adapters costs a few percent also where none is active.
        graph = folder / (ADAPTABLE_FILE if adapters and not decoder.exported else GRAPH_FILE)
        open_decoder = open_export_session if decoder.exported else open_kv_session
        session: KvSession | ExportSession = open_decoder(graph, threads=threads, length=length)
        check_vocabulary(folder, tokenizer=tokenizer, vocabulary=session.vocabulary, eos=decoder.eos)
        loaded = _adapters(adapters or {}, of=folder, manifest=manifest, session=session)
        model = cls(
            session,
            tokenizer=tokenizer,
            digest=manifest.digest,
            prefixes=prefixes,
            prefix_bytes=prefix_bytes,
            adapters=loaded,
        )
        trim_heap()  # and so does a grammar's table of all tokens
        return model

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

    def prepare(self, system: Turn, *, adapter: str = "") -> None:
        """Have the fixed part of chats ready: from the disk, or read now and written there.

        Args:
            system: The turn that opens these chats.
            adapter: Name of the adapter to run with; none where it is empty.

        Raises:
            ModelError: The model cannot be run, or refuses the turn.
        """
        with self._lock:
            self._switch(adapter)
            self._have(self._beginning(system))

    def close(self) -> None:
        """Return once what was read of prompts' beginnings lies on the disk."""
        for prefixes in self._prefixes_of.values():
            prefixes.settle()

    def generate(
        self,
        turns: Sequence[Turn],
        *,
        grammar: Grammar,
        max_tokens: int,
        adapter: str = "",
        check: Callable[[], None] | None = None,
    ) -> Generation:
        """Return the greedy continuation that is a sentence of `grammar`.

        Args:
            turns: The chat.
            grammar: What the answer must be a sentence of.
            max_tokens: Tokens to write at most.
            adapter: Name of the adapter to run with; none where it is empty.
            check: Called before each run of the model; what it raises ends the work there, and what was
                read by then stays read.

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
            self._switch(adapter)
            read = self._open_with(turns, prompt)
            cached = self._recall(prompt)
            decoded = decode(
                self._session,
                prompt,
                cached=cached,
                matcher=matcher,
                eos=self._tokenizer.eos,
                max_tokens=max_tokens,
                guesser=self._guesser,
                check=check,
            )
            self._read = decoded.read
        return Generation(
            text=self._tokenizer.decode(decoded.tokens),
            prompt_tokens=len(prompt),
            cached_tokens=max(0, cached - read),
            tokens=len(decoded.tokens),
            forced_tokens=decoded.forced,
            guessed_tokens=decoded.guessed,
            runs=decoded.runs,
            complete=decoded.complete,
            log_probability=decoded.log_probability,
        )

    def _switch(self, adapter: str) -> None:
        """Run with an adapter from now on; what was read without it, or with another, is forgotten."""
        if adapter == self._active:
            return
        if adapter and adapter not in self._adapters:
            raise ModelUnsupported(
                "adapter", expected=f"one among {', '.join(self._adapters) or 'none'}", came=adapter
            )
        self._read = ()
        self._session.adapt(self._adapters.get(adapter))
        self._prefixes, self._active = self._prefixes_of[adapter], adapter

    def _open_with(self, turns: Sequence[Turn], prompt: Sequence[int]) -> int:
        """Have the fixed part of a chat ready; return how many of its tokens had to be read for that."""
        if not turns or turns[0].role != "system":
            return 0
        beginning = self._beginning(turns[0])
        return self._have(beginning) if shared(beginning, prompt) == len(beginning) else 0

    def _recall(self, prompt: Sequence[int]) -> int:
        """Return how many tokens of a prompt need not be read, having taken up what is kept of them."""
        # At least one token is read anew: the logits after it are not kept.
        cached = min(shared(self._read, prompt), len(prompt) - 1)
        prefix, length = self._prefixes.longest(prompt[:-1])
        if prefix is not None and length > cached:
            self._take_up(prefix, length)
            cached = length
        self._read = self._read[:cached]
        return cached

    def _have(self, beginning: tuple[int, ...]) -> int:
        """Keep a beginning of prompts; return how many tokens the model had to read for that."""
        if len(beginning) < _SHORTEST_PREFIX or self._prefixes.longest(beginning)[1] == len(beginning):
            return 0
        prefix = self._prefixes.load(beginning)
        if prefix is not None:
            self._take_up(prefix, len(beginning))
            if self._proof(beginning) == prefix.proof:
                return 0
            _log.warning("prefix_dropped", reason="the model makes something else of it than it did")
            self._prefixes.drop(beginning)
            self._read = ()
        cached = min(shared(self._read, beginning), len(beginning) - 1)
        self._read = ()
        self._session.run(np.array(beginning[cached:], np.int64), position=cached)
        state = self._session.snapshot(len(beginning))
        self._prefixes.keep(Prefix(beginning, state, self._proof(beginning)))
        return len(beginning) - cached

    def _take_up(self, prefix: Prefix, length: int) -> None:
        self._session.restore(prefix.state, prefix.tokens[:length])
        prefix.forget_pages()
        self._read = prefix.tokens[:length]

    def _proof(self, beginning: tuple[int, ...]) -> str:
        """Return a hash of the logits after a beginning that was just read or taken up."""
        logits = self._session.run(np.array(beginning[-1:], np.int64), position=len(beginning) - 1)
        self._read = beginning
        return hashlib.sha256(logits.tobytes()).hexdigest()

    def _read_beginning(self, system: Turn) -> tuple[int, ...]:
        """Return the tokens that all prompts with this first turn begin with."""
        prompts = [self._tokenizer.prompt([system, Turn("user", word)]) for word in ("a", "1")]
        return tuple(prompts[0][: shared(*prompts)])


def _adapters(
    paths: Mapping[str, Path], *, of: Path, manifest: Manifest, session: KvSession | ExportSession
) -> dict[str, Adapter]:
    """Return adapters as they are over the base in the folder `of`, and let none of them be active."""
    loaded = {name: read_adapter(path) for name, path in paths.items()}
    for adapter in loaded.values():
        if adapter.base != manifest.base:
            expected = f"an adapter of {', '.join(manifest.sources)}, which has number {manifest.base}"
            raise ModelUnsupported(adapter.path, expected=expected, came=f"one of number {adapter.base}")
        session.check_adapter(adapter)
    if loaded and is_turned(of):
        base = TurnedBase(of)
        loaded = {name: adapter.changed(base.fitted) for name, adapter in loaded.items()}
    if loaded:
        session.adapt(None)
    return loaded
