"""This engine beside others: the same model, threads and prompts, in turns, each in a process of its own.

Knows what is asked and what becomes of the times; knows nothing of how an engine does it.
"""

from __future__ import annotations

import importlib.util
import os
import statistics
from collections import defaultdict
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from edge_node.bench.bandwidth import MemoryReading
from edge_node.bench.engine_process import EngineProcess
from edge_node.bench.engine_prompts import FRESH_TOKENS, PLAIN_TOKENS, Prompts
from edge_node.bench.machine import machine
from edge_node.errors import ModelUnsupported, Unavailable
from edge_node.model.manifest import GRAPH_FILE, read_manifest
from edge_node.model.tokens import TOKENIZER_FILE, Tokenizer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edge_node.bench.engine_prompts import Asked
    from edge_node.protocols import Progress

OWN = "edge-node"
GENAI = "onnxruntime-genai"
PEERS = {
    "llama.cpp": ("llama_cpp", "llama-cpp-python", "edge_node.bench.engine_llama"),
    GENAI: ("onnxruntime_genai", "onnxruntime-genai", "edge_node.bench.engine_genai"),
}
"""Name to library, its distribution, and what runs it."""
_OWN_MODULE = "edge_node.bench.engine_own"
_ORDERS = 3  # in a round, over one fixed part
_STEPS = 5


class EngineBench:
    """Reading, writing, orders, quotations, memory and loading, of this engine and of its peers.

    Args:
        model: Folder of the built model.
        gguf: The file it was built from, for the peers.
        peers: Names of the others, among `PEERS`.
        threads: Threads for one run.
        context: Tokens that fit.
        rounds: How often each takes its turn.
        scratch: An empty folder.
        progress: Told how far it is.

    Raises:
        Unavailable: The library of a peer is not installed.
        ModelUnsupported: The model is no language model.
    """

    def __init__(
        self,
        model: Path,
        *,
        gguf: Path | None,
        peers: Sequence[str],
        threads: int,
        context: int,
        rounds: int,
        scratch: Path,
        progress: Progress,
    ) -> None:
        decoder = read_manifest(model).decoder
        if decoder is None:
            raise ModelUnsupported(model, expected="a language model", came="another kind")
        if peers and gguf is None:
            raise ModelUnsupported(model, expected="a model built from a GGUF file", came="an ONNX export")
        for peer in peers:
            check_installed(peer)
        tokenizer = Tokenizer.open(
            model / TOKENIZER_FILE, bos=decoder.bos, eos=decoder.eos, chat_template=decoder.chat_template
        )
        self._prompts = Prompts(tokenizer)
        self._context = min(context, decoder.context)
        self._weight_bytes = sum(file.stat().st_size for file in model.glob(f"{GRAPH_FILE}.data*"))
        settings = {"threads": threads, "context": self._context}
        own = {**settings, "folder": str(model), "prefixes": str(scratch / "prefixes")}
        others = (
            {peer: _peer_settings(peer, gguf, scratch=scratch, **settings) for peer in peers} if gguf else {}
        )
        self._settings = {OWN: own, **others}
        self._threads, self._rounds, self._scratch, self._progress = threads, rounds, scratch, progress
        self._samples: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))

    def run(self) -> dict[str, Any]:
        """Return the ratios, what they come from, and what they depend on."""
        self._progress.start("engine", self._rounds * _STEPS)
        for name in self._settings:
            self._measure_memory(name)
        memory = MemoryReading(threads=self._threads)
        with ExitStack() as stack:
            engines = {name: stack.enter_context(self._start(name)) for name in self._settings}
            for round_ in range(self._rounds):
                names = list(engines) if round_ % 2 else list(reversed(engines))
                turn = {name: engines[name] for name in names}
                self._samples["machine"]["bytes_per_s"].append(memory.bytes_per_s())
                for step, measure in enumerate(
                    (self._read, self._write, self._order, self._quote, self._take_up), start=1
                ):
                    measure(turn, round_)
                    self._progress.advance(round_ * _STEPS + step)
        self._progress.finish()
        return self._result()

    def _read(self, engines: Mapping[str, EngineProcess], _round: int) -> None:
        asked = self._prompts.fresh(tokens=FRESH_TOKENS, max_tokens=1)
        for name, engine in engines.items():
            self._time(name, "prefill", self._ask(engine, asked))

    def _write(self, engines: Mapping[str, EngineProcess], _round: int) -> None:
        asked = self._prompts.plain()
        for name, engine in engines.items():
            made = self._ask(engine, asked, what="plain")
            self._note(name, "decode_per_s", made["tokens"] / made["s"])
            self._note(name, "decode_processor_s", made["processor_s"] / made["tokens"])

    def _order(self, engines: Mapping[str, EngineProcess], round_: int) -> None:
        orders = [self._prompts.command(round_ * (_ORDERS + 1) + place) for place in range(_ORDERS + 1)]
        for name, engine in engines.items():
            self._ask(engine, orders[0])  # reads the fixed part, which is warm from then on
            for order in orders[1:]:
                made = self._ask(engine, order)
                self._time(name, "command", made)
                self._note(name, "command_tokens", made["tokens"])

    def _quote(self, engines: Mapping[str, EngineProcess], _round: int) -> None:
        asked = self._prompts.quote()
        for name, engine in engines.items():
            made = self._ask(engine, asked)
            self._time(name, "quote", made)
            self._note(name, "quote_tokens", made["tokens"])

    def _take_up(self, engines: Mapping[str, EngineProcess], round_: int) -> None:
        """Measure the first token: with nothing read, over a fixed part that is kept, and after a restart."""
        own = engines[OWN]
        opening = self._prompts.opening()
        own.ask("keep", turns=[[opening.role, opening.content]])
        self._note(OWN, "cold_first_token_s", self._ask(own, self._prompts.cold())["s"])
        self._note(
            OWN, "warm_first_token_s", self._ask(own, self._prompts.over(opening, order=round_ + 10))["s"]
        )
        with self._start(OWN) as fresh:
            after = self._ask(fresh, self._prompts.over(opening, order=round_ + 40))
            self._note(OWN, "restored_first_token_s", after["s"])

    def _measure_memory(self, name: str) -> None:
        """Fill the context of an engine that does nothing else."""
        with self._start(name) as engine:
            full = self._prompts.fresh(tokens=self._context - PLAIN_TOKENS, max_tokens=PLAIN_TOKENS)
            self._ask(engine, full)
            self._note(name, "peak_rss_mb", engine.ask("memory")["peak_rss_mb"])

    def _start(self, name: str) -> EngineProcess:
        module = _OWN_MODULE if name == OWN else PEERS[name][2]
        engine = EngineProcess(module, settings=self._settings[name])
        self._note(name, "load_s", engine.loaded["load_s"])
        self._note(name, "ready_s", engine.ready_s)
        return engine

    def _ask(self, engine: EngineProcess, asked: Asked, *, what: str = "generate") -> dict[str, Any]:
        return engine.ask(
            what,
            turns=[[turn.role, turn.content] for turn in asked.turns],
            tokens=self._prompts.tokens(asked),
            schema=asked.schema,
            choices=asked.choices,
            max_tokens=asked.max_tokens,
        )

    def _note(self, name: str, what: str, value: float) -> None:
        self._samples[name][what].append(value)

    def _time(self, name: str, what: str, made: Mapping[str, Any]) -> None:
        self._note(name, f"{what}_s", made["s"])
        self._note(name, f"{what}_processor_s", made["processor_s"])

    def _result(self) -> dict[str, Any]:
        medians = {
            name: {what: statistics.median(values) for what, values in samples.items()}
            for name, samples in self._samples.items()
        }
        own, bytes_per_s = medians[OWN], medians["machine"]["bytes_per_s"]
        peers = [name for name in self._settings if name != OWN]
        ratios = {name: _ratios(own, medians[name]) for name in peers}
        first = ratios[peers[0]] if peers else dict.fromkeys(_ratios(own, own))
        return {
            **first,
            "warm_prefix_ratio": round(own["cold_first_token_s"] / own["warm_first_token_s"], 2),
            "restored_prefix_ratio": round(own["cold_first_token_s"] / own["restored_first_token_s"], 2),
            "rss_mb": round(own["peak_rss_mb"], 1),
            "peer_rss_mb": round(medians[peers[0]]["peak_rss_mb"], 1) if peers else None,
            "load_s": round(own["load_s"], 3),
            "bandwidth_share": round(own["decode_per_s"] * self._weight_bytes / bytes_per_s, 3),
            "peer": peers[0] if peers else None,
            **({} if peers else {"peer_reason": f"no peer was named; --peer {next(iter(PEERS))}"}),
            "ratios": ratios,
            "medians": {name: _rounded(values) for name, values in medians.items()},
            "weight_mb": round(self._weight_bytes / 1e6, 1),
            "threads": self._threads,
            "rounds": self._rounds,
            "load_average": round(os.getloadavg()[0], 1),
            **machine(self._scratch),
        }


def check_installed(peer: str) -> None:
    """Make sure that the library of a peer is there.

    Raises:
        Unavailable: It is not installed.
    """
    library, distribution, _ = PEERS[peer]
    if importlib.util.find_spec(library) is None:
        missing = distribution if distribution == peer else f"{distribution}, which runs {peer},"
        raise Unavailable(missing, hint="pip install 'edge-node[peers]'")


def _peer_settings(peer: str, gguf: Path, *, scratch: Path, threads: int, context: int) -> dict[str, Any]:
    """Return what a peer has to know; one that reads no GGUF file gets its own kind written first."""
    if peer != GENAI:
        return {"threads": threads, "context": context, "file": str(gguf)}
    folder = scratch / peer
    from edge_node.bench.genai_model import write_genai_model  # noqa: PLC0415 - help needs nothing that builds models

    write_genai_model(gguf, folder, threads=threads, context=context)
    return {"folder": str(folder)}


def _ratios(own: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float | None]:
    """Return how many times as fast this engine is."""
    return {
        "prefill_ratio": round(other["prefill_s"] / own["prefill_s"], 2),
        "decode_ratio": round(own["decode_per_s"] / other["decode_per_s"], 2),
        "command_ratio": round(other["command_s"] / own["command_s"], 2),
        "quote_ratio": round(other["quote_s"] / own["quote_s"], 2),
    }


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}
