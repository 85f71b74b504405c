"""`edge-node bench`: what the service takes on this machine, measured from outside."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from edge_node.cli.options import json_option
from edge_node.cli.progress import progress_bars
from edge_node.config.shipped import shipped_folder
from edge_node.demo.message_bench import MessageBench

if TYPE_CHECKING:
    from collections.abc import Mapping


@click.group()
def bench() -> None:
    """Measure on this machine.

    \b
    Example:
      edge-node bench message --json
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
