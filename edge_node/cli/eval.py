"""`edge-node eval`: retrieval, answers and orders measured against questions whose right answers are known.

Knows where models and kept indexes lie, and the terminal; knows nothing of how figures are reckoned.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from edge_node.cli.eval_commands import commands
from edge_node.cli.options import json_option
from edge_node.cli.progress import progress_bars
from edge_node.config.loaded import Configuration, Node
from edge_node.config.models import BusLogConfig, NodeConfig
from edge_node.config.runtime_file import RuntimeConfig
from edge_node.errors import MeasureInvalid
from edge_node.evaluation.answers import AnswerTrial, answer_figures
from edge_node.evaluation.cases import Manuals, read_cases
from edge_node.evaluation.collection import read_collection
from edge_node.evaluation.retrieval import measure_retrieval
from edge_node.knowledge.documents import SUFFIXES
from edge_node.paths import home
from edge_node.runtime.wiring import load_embedder, load_models, open_library
from edge_node.understand.answering import Answering

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edge_node.evaluation.answers import Outcome
    from edge_node.knowledge.library import Library
    from edge_node.protocols import Embedder

_NODE = "eval"
_SHARES = frozenset({"retrieved", "found", "first", "declined", "wrongly_declined"})
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.group(name="eval")
def evaluate() -> None:
    """Measure retrieval, answers and orders against cases whose right answers are known.

    The models are those of a runtime file that names none. What was indexed is kept under
    $EDGE_NODE_HOME/eval, so that only what changed costs time again.

    \b
    Examples:
      edge-node eval retrieval collections/cranfield
      edge-node eval answers questions.jsonl --manual manuals --json
      edge-node eval commands --tools tools.json --cases cases.jsonl --json
    """


evaluate.add_command(commands)


@evaluate.command()
@click.argument("folder", metavar="DIR", type=_FOLDER)
@json_option
def retrieval(folder: Path, *, as_json: bool) -> None:
    """Measure how well the documents of DIR are found.

    DIR has BEIR's layout: corpus.jsonl (_id, title, text), queries.jsonl (_id, text), and qrels.tsv or
    qrels/*.tsv (query, document, grade). Each document is indexed and searched as a text file of a manual.

    \b
    Examples:
      edge-node eval retrieval collections/cranfield
      edge-node eval retrieval collections/cranfield --json
    """
    collection = read_collection(folder)
    configuration = _configuration(folder)
    with progress_bars() as progress:
        embedder = load_embedder(configuration, progress=progress)
        figures = measure_retrieval(
            collection, folder=configuration.state / "knowledge", embedder=embedder, progress=progress
        )
    _print(asdict(figures), as_json=as_json)


@evaluate.command()
@click.argument("file", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--manual", metavar="DIR", type=_FOLDER, required=True, help="Folder with the manuals.")
@click.option("--verbose", is_flag=True, help="Print each question with what was quoted.")
@json_option
def answers(file: Path, *, manual: Path, verbose: bool, as_json: bool) -> None:
    """Measure how well the questions of FILE are answered from the manuals in DIR.

    Each line of FILE is a JSON object with `question` and `answerable`; where that is true, also with
    `gold_file`, a path in DIR, and `gold_start` and `gold_end`, offsets in characters; `also_in` may list
    files that say the same.

    \b
    Examples:
      edge-node eval answers questions.jsonl --manual manuals
      edge-node eval answers questions.jsonl --manual manuals --verbose
      edge-node eval answers questions.jsonl --manual manuals --json
    """
    manuals = Manuals(manual)
    cases = read_cases(file, manuals=manuals)
    configuration = _configuration(manual)
    with progress_bars() as progress:
        models = load_models(configuration, progress=progress)
        with _library(configuration, embedder=models.embedder) as library:
            if not library.build(progress=progress).files:
                kinds = ", ".join(sorted(SUFFIXES))
                raise MeasureInvalid(manual, expected=f"manuals: files with {kinds}", came="none")
            trial = AnswerTrial(
                library,
                answering=Answering(embedder=models.embedder, model=models.language),
                manuals=manuals,
                passages=configuration.runtime.knowledge.passages,
            )
            outcomes = trial.run(cases, progress=progress)
    figures = asdict(answer_figures(outcomes))
    told = [_told(outcome) for outcome in outcomes] if verbose else []
    if verbose and not as_json:
        for case in told:
            _show(case)
    _print({**figures, "outcomes": told} if verbose and as_json else figures, as_json=as_json)


def _configuration(folder: Path) -> Configuration:
    """Return what a runtime file that says nothing would, with the documents of `folder` as its one node."""
    place = folder.resolve()
    kept = home() / "eval" / sha256(str(place).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    runtime = RuntimeConfig(edge_node=1, edge=_NODE, state=str(kept))
    patterns: list[str | BusLogConfig] = [f"**/*{suffix}" for suffix in sorted(SUFFIXES)]
    node = Node(NodeConfig(edge_node=1, name=_NODE, knowledge=patterns), place)
    return Configuration(runtime, (node,), place / "edge-node.yaml")


@contextmanager
def _library(configuration: Configuration, *, embedder: Embedder) -> Iterator[Library]:
    library = open_library(configuration, embedder=embedder)
    try:
        yield library
    finally:
        library.close()


def _told(outcome: Outcome) -> dict[str, Any]:
    gold = outcome.case.gold
    return {
        "line": outcome.case.line,
        "question": outcome.case.question,
        "gold": f"{gold.file}: {' '.join(gold.text.split())}" if gold else "",
        "retrieved": outcome.retrieved,
        "ms": round(outcome.spent_ms, 1),
        "quotations": [
            {"hit": hit, **asdict(quotation)}
            for quotation, hit in zip(outcome.quotations, outcome.hits, strict=True)
        ],
    }


def _show(case: Mapping[str, Any]) -> None:
    click.secho(f"{case['line']}: {case['question']}", bold=True)
    if case["gold"]:
        click.echo(f"  right: {case['gold']}{'' if case['retrieved'] else '  (in no passage found)'}")
    for quotation in case["quotations"]:
        mark = "+" if quotation["hit"] else "-"
        click.echo(f"  {mark} {quotation['file']}:{quotation['first_line']}  {quotation['text']}")
    if not case["quotations"]:
        click.echo("  declined")


def _print(figures: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(figures, indent=2))
        return
    table = Table("figure", "value", show_header=False)
    for name, value in figures.items():
        table.add_row(name, _formatted(name, value))
    Console().print(table)


def _formatted(name: str, value: float) -> str:
    if isinstance(value, int):
        return str(value)
    if name in _SHARES:
        return f"{value:.1%}"
    return f"{value:.1f}" if "ms" in name or name.endswith("_s") else f"{value:.3f}"
