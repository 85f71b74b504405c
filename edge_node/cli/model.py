"""`edge-node model`: list, fetch, show and build models.

Knows the model store and the terminal; knows nothing of how a model is fetched or built.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from edge_node.cli.options import json_option
from edge_node.cli.progress import progress_bars
from edge_node.model.catalogue import DEFAULT_MODELS, Catalogue
from edge_node.model.store import ModelStore
from edge_node.paths import models_folder

if TYPE_CHECKING:
    from edge_node.model.report import BuildReport
    from edge_node.model.store import ModelStatus


@click.group()
def model() -> None:
    """List, fetch and build models.

    Models lie in $EDGE_NODE_HOME/models. Your own go into $EDGE_NODE_HOME/models.yaml, laid out like
    the catalogue that comes along; each file counts only with its sha256.

    \b
    Examples:
      edge-node model pull              both default models
      edge-node model list
      edge-node model show all-minilm-l6-v2
    """


@model.command(name="list")
@json_option
def list_models(*, as_json: bool) -> None:
    """Show every model of the catalogue and how far it has come on this machine.

    \b
    Examples:
      edge-node model list
      edge-node model list --json
    """
    statuses = _store().describe_all()
    if as_json:
        _print_json([_summary(status) for status in statuses])
        return
    table = Table("name", "kind", "state", "size", "on disk", "licence", box=None, pad_edge=False)
    for status in statuses:
        entry = status.entry
        table.add_row(
            status.name,
            entry.kind,
            status.state,
            decimal(entry.size_bytes),
            decimal(status.bytes_on_disk),
            entry.licence,
        )
    Console(soft_wrap=True).print(table)


@model.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@json_option
def pull(names: tuple[str, ...], *, as_json: bool) -> None:
    """Fetch models and make them ready to run; without a NAME, both default models.

    NAME is a name of the catalogue or a path to a GGUF file of your own. What is already here and
    whole is left alone; a file with wrong bytes is named and fetched again.

    \b
    Examples:
      edge-node model pull
      edge-node model pull all-minilm-l6-v2
      edge-node model pull ~/models/tiny-llama.Q8_0.gguf
    """
    store = _store()
    with progress_bars() as progress:
        folders = {name: store.ensure(name, progress=progress) for name in names or DEFAULT_MODELS}
    _print_folders(folders, as_json=as_json)


@model.command()
@click.argument("name")
@json_option
def show(name: str, *, as_json: bool) -> None:
    """Show where a model comes from, what its files hash to, where they lie, and what its build is worth.

    \b
    Examples:
      edge-node model show smollm2-135m-instruct
      edge-node model show all-minilm-l6-v2 --json
    """
    store = _store()
    status, report = store.describe(name), store.report(name)
    if as_json:
        measured = report.model_dump() if report else None
        _print_json({**_summary(status), "files": _files(status), "report": measured})
        return
    facts = {**_summary(status), "size": decimal(status.entry.size_bytes)}
    for key in ("name", "kind", "description", "licence", "size", "state", "detail", "folder"):
        if facts[key]:
            click.echo(f"{key:<12} {facts[key]}")
    for file in _files(status):
        click.echo(
            f"\n{file['path']}\n  {'sha256':<10} {file['sha256']}\n  {'size':<10} {file['size_bytes']} bytes"
        )
        for source in file["sources"]:
            click.echo(f"  {'source':<10} {source}")
    if report:
        _print_report(report)


@model.command()
@click.argument("name")
@click.option("--bits", type=click.Choice(["8", "4"]), help="Of the weights; see above for the default.")
@click.option("--report/--no-report", "measured", default=True, help="Whether to measure the build.")
@json_option
def build(name: str, *, bits: str | None, measured: bool, as_json: bool) -> None:
    """Build the ONNX files of a model anew from what was fetched, and measure a language model.

    8 bits read and write fastest. With 4, weights take less memory: those that come as Q4_0, Q4_1 or Q4_K are
    kept as they are, others lose most by it. The report sets size, memory and speed beside what was lost
    against float32; that takes 4 bytes for each weight on disk meanwhile.

    \b
    Examples:
      edge-node model build smollm2-135m-instruct
      edge-node model build smollm2-135m-instruct --bits 4
      edge-node model build all-minilm-l6-v2
      edge-node model build ~/models/tiny-llama.Q8_0.gguf --bits 4 --no-report
    """
    store = _store()
    with progress_bars() as progress:
        folder = store.rebuild(name, bits=int(bits) if bits else None, progress=progress)
        report = store.measure(name, threads=os.cpu_count() or 1, progress=progress) if measured else None
    if as_json:
        _print_json(
            [{"name": name, "folder": str(folder), "report": report.model_dump() if report else None}]
        )
        return
    _print_folders({name: folder}, as_json=False)
    if report:
        _print_report(report)


@model.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("output", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--base", default=DEFAULT_MODELS[0], show_default=True, help="Model that it was trained on.")
@json_option
def adapter(folder: Path, output: Path, *, base: str, as_json: bool) -> None:
    """Turn a LoRA adapter that PEFT left in FOLDER into OUTPUT, which a node can name.

    A node names it as `model: {adapter: PATH}`. It runs over the base that all nodes share, and belongs to
    that base alone, whatever bits it was built with.

    \b
    Examples:
      edge-node model adapter ~/training/pumps nodes/pump-guard/pumps.onnx_adapter
      edge-node model adapter ~/training/pumps pumps.onnx_adapter --base ~/models/tiny-llama.Q8_0.gguf
    """
    from edge_node.model.lora import convert_adapter  # noqa: PLC0415 - it loads what runs models

    convert_adapter(folder, output, base=_store().locate(base))
    if as_json:
        _print_json({"adapter": str(output), "base": base, "size_bytes": output.stat().st_size})
        return
    click.echo(f"{output} is an adapter of {base}")


def _print_report(report: BuildReport) -> None:
    lost = report.perplexity / report.float_perplexity - 1
    bits = f"{report.bits or 8} bits"
    click.echo(
        f"\nmeasured over {report.tokens} tokens of the ready nodes' manuals, {report.threads} threads"
    )
    for key, fact in (
        ("weights", bits),
        ("size", decimal(report.size_bytes)),
        ("memory", f"{decimal(report.rss_bytes)} at most"),
        ("reading", f"{report.read_per_s} tokens/s"),
        ("writing", f"{report.tokens_per_s} tokens/s"),
        (
            "perplexity",
            f"{report.perplexity:.3f}, {lost:+.2%} against {report.float_perplexity:.3f} in float32",
        ),
        ("agreement", f"{report.agreement:.1%} of the likeliest tokens are those of float32"),
    ):
        click.echo(f"  {key:<10} {fact}")


def _store() -> ModelStore:
    return ModelStore(models_folder(), catalogue=Catalogue.load())


def _summary(status: ModelStatus) -> dict[str, Any]:
    return {
        "name": status.name,
        "kind": status.entry.kind,
        "description": status.entry.description,
        "licence": status.entry.licence,
        "size_bytes": status.entry.size_bytes,
        "bytes_on_disk": status.bytes_on_disk,
        "state": status.state,
        "detail": status.detail,
        "folder": str(status.folder),
    }


def _files(status: ModelStatus) -> list[dict[str, Any]]:
    return [
        {
            "path": str(status.folder / file.name),
            "sha256": file.sha256,
            "size_bytes": file.size,
            "sources": [str(source) for source in file.sources],
        }
        for file in status.entry.files
    ]


def _print_folders(folders: dict[str, Path], *, as_json: bool) -> None:
    if as_json:
        _print_json([{"name": name, "folder": str(folder)} for name, folder in folders.items()])
        return
    for name, folder in folders.items():
        click.echo(f"{name} is ready in {folder}")


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2))
