"""`edge-node bench`: what the service takes on this machine, measured from outside."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from edge_node.bench.bus import BusBench
from edge_node.bench.engine import PEERS, EngineBench
from edge_node.bench.message import MessageBench
from edge_node.bench.rules import RulesBench
from edge_node.cli.options import json_option
from edge_node.cli.progress import progress_bars
from edge_node.config.loaded import Configuration
from edge_node.config.runtime_file import RuntimeConfig
from edge_node.config.shipped import shipped_folder
from edge_node.model.catalogue import DEFAULT_MODELS, Catalogue
from edge_node.model.store import ModelStore
from edge_node.paths import models_folder

if TYPE_CHECKING:
    from collections.abc import Mapping


@click.group()
def bench() -> None:
    """Measure on this machine.

    \b
    Examples:
      edge-node bench message --json
      edge-node bench bus --json
      edge-node bench rules --json
      edge-node bench knowledge --json
      edge-node bench engine --peer llama.cpp --json
    """


@bench.command()
@click.option("--requests", default=50, show_default=True, help="Requests to each of the three ready nodes.")
@json_option
def message(*, requests: int, as_json: bool) -> None:
    """Measure the path of a message, stage by stage, over the three ready nodes.

    A broker, the runtime in a process of its own, and simulated devices; the second start is measured. The
    total is what the person who asks waits for the first reply.

    \b
    Example:
      edge-node bench message --json
    """
    with tempfile.TemporaryDirectory(prefix="edge-node-bench-") as folder, progress_bars() as progress:
        measured = MessageBench(
            Path(folder), nodes=shipped_folder("nodes"), requests=requests, progress=progress
        ).run()
    if as_json:
        click.echo(json.dumps(measured))
        return
    _show(measured)


@bench.command()
@click.option("--rounds", default=5, show_default=True, help="How often each side takes its turn.")
@click.option("--seconds", default=3.0, show_default=True, help="How long a turn takes.")
@click.option("--stops", default=200, show_default=True, help="Operational stops under full load.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="Where the journal is kept meanwhile; its disk is measured. Default: a temporary folder.",
)
@json_option
def bus(*, rounds: int, seconds: float, stops: int, folder: Path | None, as_json: bool) -> None:
    """Measure the bus side beside a bare paho client, in turns, on a mosquitto of its own.

    Both get JSON of 200 bytes as fast as they take it. durable_ratio: at QoS 1, this runtime with journal,
    acknowledgement, twin and triggers, against a client that acknowledges. telemetry_ratio: at QoS 0, through
    twin and triggers, against a client that parses the JSON. stop_p99_ms: from a stop until no command
    leaves, with model and queues busy; stop_told_p99_ms: until its retained state is heard. disk_bytes: what
    a message has written to the disk.

    \b
    Example:
      edge-node bench bus --json
    """
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="edge-node-bench-", dir=folder) as inside,
        progress_bars() as bars,
    ):
        measured = BusBench(
            Path(inside),
            nodes=shipped_folder("nodes"),
            rounds=rounds,
            seconds=seconds,
            stops=stops,
            progress=bars,
        ).run()
    if as_json:
        click.echo(json.dumps(measured))
        return
    _show_values(measured)


@bench.command()
@click.option("--triggers", default=100, show_default=True, help="How many triggers there are.")
@click.option("--devices", default=1000, show_default=True, help="How many devices speak.")
@click.option("--rounds", default=40, show_default=True, help="How often each device speaks.")
@json_option
def rules(*, triggers: int, devices: int, rounds: int, as_json: bool) -> None:
    """Measure telemetry through the twin and the triggers alone, on one core.

    No broker, no journal, no model. updates_per_s: messages for each second of processor time, their JSON
    read and the triggers asked. rss_mb_growth: what twins, windows and episodes take in memory.

    \b
    Example:
      edge-node bench rules --json
    """
    with progress_bars() as bars:
        measured = RulesBench(triggers=triggers, devices=devices, rounds=rounds, progress=bars).run()
    if as_json:
        click.echo(json.dumps(measured))
        return
    _show_values(measured)


@bench.command()
@click.option("--manuals", default=50, show_default=True, help="How many manuals, of ten sections each.")
@click.option("--queries", default=200, show_default=True, help="How many searches are measured.")
@json_option
def knowledge(*, manuals: int, queries: int, as_json: bool) -> None:
    """Measure the index of manuals: to build it, to bring it up to a change, and to search it.

    The manuals are made up, and the embedding model is that of a runtime file that names none.
    passages_per_s: read, cut, embedded and indexed. unchanged_ms, changed_ms: another build, with nothing
    new and with one manual written anew. line_ms: until a line of a log can be found. search_ms: from a
    question to its passages. open_ms: until the index can be searched after a start.

    \b
    Example:
      edge-node bench knowledge --json
    """
    from edge_node.bench.knowledge import KnowledgeBench  # noqa: PLC0415 - help needs no runtime of models
    from edge_node.runtime.wiring import load_embedder  # noqa: PLC0415 - the same

    with tempfile.TemporaryDirectory(prefix="edge-node-bench-") as folder, progress_bars() as progress:
        configuration = Configuration(RuntimeConfig(edge_node=1, edge="bench"), (), Path(folder))
        embedder = load_embedder(configuration, progress=progress)
        measured = KnowledgeBench(
            Path(folder), embedder=embedder, manuals=manuals, queries=queries, progress=progress
        ).run()
    if as_json:
        click.echo(json.dumps(measured))
        return
    _show_values(measured)


@bench.command()
@click.argument("name", default=DEFAULT_MODELS[0])
@click.option("--peer", "peers", multiple=True, type=click.Choice(tuple(PEERS)), help="Another engine.")
@click.option("--threads", default=2, show_default=True, help="Threads for one run of each engine.")
@click.option("--context", default=2048, show_default=True, help="Tokens that prompt and answer may have.")
@click.option("--rounds", default=5, show_default=True, help="How often each engine takes its turn.")
@json_option
def engine(
    name: str, *, peers: tuple[str, ...], threads: int, context: int, rounds: int, as_json: bool
) -> None:
    """Measure the engine of a language model, beside others on the same file if you name any.

    Each engine runs in a process of its own; they take turns with the same prompts. prefill_ratio,
    decode_ratio, command_ratio, quote_ratio: how many times as fast as the first peer this engine reads,
    writes token by token, takes an order and quotes. warm_prefix_ratio, restored_prefix_ratio: how many
    times as early the first token comes over a kept beginning, and after a restart. bandwidth_share:
    writing, as a share of what reading all weights for each token allows. Peers come with edge-node[peers].

    \b
    Examples:
      edge-node bench engine --json
      edge-node bench engine --peer llama.cpp --peer onnxruntime-genai --json
      edge-node bench engine ~/models/tiny-llama.Q8_0.gguf --threads 4
    """
    model = ModelStore(models_folder(), catalogue=Catalogue.load()).locate(name)
    with tempfile.TemporaryDirectory(prefix="edge-node-bench-") as folder, progress_bars() as bars:
        measured = EngineBench(
            model,
            gguf=_gguf(name, model),
            peers=list(dict.fromkeys(peers)),
            threads=threads,
            context=context,
            rounds=rounds,
            scratch=Path(folder),
            progress=bars,
        ).run()
    if as_json:
        click.echo(json.dumps(measured))
        return
    _show_values({key: value for key, value in measured.items() if not isinstance(value, dict)})
    for engine_name, medians in measured["medians"].items():
        _show_values({f"{engine_name} {key}": value for key, value in medians.items()})


def _gguf(name: str, model: Path) -> Path | None:
    """Return the GGUF file that a model was built from, if it was from one."""
    file = Path(name).expanduser() if name.endswith(".gguf") else model.parent / "model.gguf"
    return file if file.is_file() else None


def _show_values(measured: Mapping[str, Any]) -> None:
    table = Table("measured", "value")
    for name, value in measured.items():
        table.add_row(name, "-" if value is None else str(value))
    Console().print(table)


def _show(measured: Mapping[str, Any]) -> None:
    table = Table("stage", "p50 ms", "p95 ms", "requests")
    for stage, spent in measured["stages_ms"].items():
        table.add_row(stage, f"{spent['p50']:.2f}", f"{spent['p95']:.2f}", str(spent["count"]))
    total = measured["total_ms"]
    table.add_row("total", f"{total['p50']:.2f}", f"{total['p95']:.2f}", str(total["count"]))
    console = Console()
    console.print(table)
    console.print(f"memory {measured['rss_mb']:.0f} MB (peak {measured['peak_rss_mb']:.0f} MB)")
    console.print(f"ready in {measured['ready_s']:.1f} s after the start of the process")
