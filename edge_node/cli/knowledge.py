"""`edge-node knowledge`: build and search the index of the manuals.

Knows the library and the terminal; knows nothing of how files are read or ranked.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from edge_node.cli.options import config_option, find_config, json_option
from edge_node.cli.progress import progress_bars
from edge_node.config.load import load
from edge_node.errors import KnowledgeError
from edge_node.observe.progress import LoggedProgress
from edge_node.runtime.wiring import load_embedder, open_library

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from edge_node.config.loaded import Configuration
    from edge_node.knowledge.building import BuildReport, Remark
    from edge_node.knowledge.library import Library
    from edge_node.messages import Passage


@click.group()
def knowledge() -> None:
    """Build and search the index of the manuals.

    \b
    Examples:
      edge-node knowledge build
      edge-node knowledge search "bearing temperature limit" --node pump-guard
    """


@knowledge.command()
@config_option
@click.option("--strict", is_flag=True, help="End with status 1 where a file could not be read.")
@json_option
def build(config: Path | None, *, strict: bool, as_json: bool) -> None:
    """Take up every manual that the nodes name; only what changed costs time.

    A file that cannot be read is named with its reason, and the others are indexed.

    \b
    Examples:
      edge-node knowledge build
      edge-node knowledge build --config plant/edge-node.yaml --strict
    """
    with _library(load(find_config(config))) as library, progress_bars() as progress:
        report = library.build(progress=progress)
    if as_json:
        click.echo(json.dumps(asdict(report), indent=2))
    else:
        _tell(report)
    if strict and report.unreadable:
        raise click.exceptions.Exit(1)


@knowledge.command()
@click.argument("words")
@config_option
@click.option("--node", default="", help="Only the manuals of this node.")
@click.option("--limit", type=click.IntRange(1, 100), default=4, show_default=True, help="Passages at most.")
@json_option
def search(words: str, config: Path | None, *, node: str, limit: int, as_json: bool) -> None:
    """Print the passages nearest to WORDS, best first, each with the place where it stands.

    \b
    Examples:
      edge-node knowledge search "how hot may the bearing get"
      edge-node knowledge search "error E07" --node pump-guard --limit 2 --json
    """
    configuration = load(find_config(config))
    known = [known.name for known in configuration.nodes]
    if node and node not in known:
        raise click.BadParameter(f"expected one of {', '.join(known)}, came {node!r}", param_hint="--node")
    with _library(configuration) as library:
        if not library.size:
            raise KnowledgeError("knowledge: expected an index, came none", hint="edge-node knowledge build")
        passages = library.passages(words, node=node, limit=limit)
    if as_json:
        click.echo(json.dumps([asdict(passage) for passage in passages], indent=2))
        return
    for passage in passages:
        _show(passage)
    if not passages:
        click.echo("nothing found", err=True)


@contextmanager
def _library(configuration: Configuration) -> Iterator[Library]:
    library = open_library(configuration, embedder=load_embedder(configuration, progress=LoggedProgress()))
    try:
        yield library
    finally:
        library.close()


def _tell(report: BuildReport) -> None:
    click.echo(
        f"{report.files} files, {report.chunks} passages in {report.elapsed_s:.1f} s: "
        f"{report.embedded} embedded, {report.reused} unchanged, {report.removed} files gone"
    )
    _warn("not read", report.unreadable)
    _warn("note", report.notes)
    _warn("pattern", report.unmatched)


def _warn(label: str, remarks: Iterable[Remark]) -> None:
    for remark in remarks:
        # The sentence of an unreadable file names it already.
        text = remark.text if remark.file in remark.text else f"{remark.file}: {remark.text}"
        click.echo(f"{label}: {remark.node}: {text}", err=True)


def _show(passage: Passage) -> None:
    click.secho(_place(passage), bold=True, nl=False)
    click.echo(f"  {passage.heading}" if passage.heading else "")
    click.echo(f"  score {passage.score:.3f}, similarity {passage.similarity:.3f}, node {passage.node}")
    for line in passage.text.split("\n"):
        click.echo(f"  | {line}")
    click.echo()


def _place(passage: Passage) -> str:
    lines = str(passage.first_line)
    if passage.last_line != passage.first_line:
        lines = f"{passage.first_line}-{passage.last_line}"
    page = f" page {passage.page}" if passage.page is not None else ""
    return f"{passage.file}{page}:{lines}"
