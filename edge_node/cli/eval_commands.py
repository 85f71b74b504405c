"""`edge-node eval commands`: orders measured against the right commands.

Knows files, models and the terminal; knows nothing of how figures are reckoned.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from edge_node.cli.options import json_option
from edge_node.cli.progress import progress_bars
from edge_node.config.loaded import Configuration, Node
from edge_node.config.models import LanguageModelConfig, NodeConfig, RuntimeConfig
from edge_node.config.node_file import NodeModelConfig
from edge_node.errors import MeasureInvalid
from edge_node.evaluation.command_cases import CommandFiles
from edge_node.evaluation.commands import TIERS, CommandTrial, command_figures
from edge_node.evaluation.tools import NODE
from edge_node.runtime.wiring import load_embedder, load_models

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_node.evaluation.commands import CommandFigures, CommandOutcome
    from edge_node.protocols import Embedder, LanguageModel, Progress

_NO_ADAPTER = "none"
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def _names(_context: click.Context, _option: click.Parameter, value: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in value.split(",") if name.strip())


def _tiers(context: click.Context, option: click.Parameter, value: str) -> tuple[str, ...]:
    names = _names(context, option, value)
    unknown = sorted(set(names) - set(TIERS))
    if unknown or not names:
        raise click.BadParameter(f"expected some of {', '.join(TIERS)}, came {', '.join(unknown) or 'none'}")
    return names


@click.command()
@click.option("--tools", metavar="FILE", type=_FILE, help="Tools; left out where each case has its own.")
@click.option("--examples", metavar="FILE", type=_FILE, help="Sentences that the node would be given.")
@click.option(
    "--cases",
    metavar="FILE",
    type=_FILE,
    required=True,
    help="Sentences to understand; `expected` is a call, a list of calls, or none.",
)
@click.option("--implied", metavar="NAMES", default="", callback=_names, help="Arguments not spoken.")
@click.option(
    "--tiers", metavar="NAMES", default=",".join(TIERS), callback=_tiers, help="Tiers that may propose."
)
@click.option(
    "--adapter",
    metavar="DIR",
    default="",
    help="Adapter of the language model: its file or folder, or `none`. Default: the one that ships, if any.",
)
@click.option("--limit", metavar="N", type=click.IntRange(min=1), help="Only the first N cases.")
@click.option("--verbose", is_flag=True, help="Print each sentence that came out wrong.")
@json_option
def commands(  # noqa: PLR0913 - an option each
    tools: Path | None,
    examples: Path | None,
    cases: Path,
    implied: tuple[str, ...],
    tiers: tuple[str, ...],
    adapter: str,
    limit: int | None,
    *,
    verbose: bool,
    as_json: bool,
) -> None:
    """Measure how well orders become the right commands with the right arguments.

    Each line of CASES is a JSON object with `utterance` and `expected`: {"name", "arguments"}, "none",
    or "any_call" where any command will do.
    It may bring `tools` and `catalogue`, or name files beside it as `tools_ref` and `catalogue_ref`;
    `context` holds what is known of where it is said, such as {"area": "Kitchen"}. Lines of EXAMPLES are
    the same; they stand for the node's own file of examples.

    \b
    Examples:
      edge-node eval commands --tools tools.json --cases cases.jsonl
      edge-node eval commands --tools tools.json --examples dev.jsonl --cases test.jsonl --json
      edge-node eval commands --cases cases.jsonl --tiers template,nearest --verbose
      edge-node eval commands --tools tools.json --cases held.jsonl --adapter nodes/pump-guard
    """
    files = CommandFiles(tools)
    given = files.examples(examples) if examples else ()
    said = files.cases(cases)[:limit]
    with progress_bars() as progress:
        embedder, model = _load(tiers, adapter=adapter, progress=progress)
        trial = CommandTrial(
            embedder=embedder,
            model=model,
            examples=given,
            tiers=tiers,
            implied=implied,
            folder=cases.parent,
        )
        outcomes = trial.run(said, progress=progress)
    figures = command_figures(outcomes)
    if as_json:
        wrong = [_told(outcome) for outcome in outcomes if not outcome.exact] if verbose else []
        click.echo(json.dumps({**figures.as_dict(), **({"wrong": wrong} if verbose else {})}, indent=2))
        return
    if verbose:
        for outcome in outcomes:
            _show(outcome)
    _print(figures)


def _load(
    tiers: tuple[str, ...], *, adapter: str, progress: Progress
) -> tuple[Embedder, LanguageModel | None]:
    shipped = RuntimeConfig(edge_node=1, edge=NODE, model=LanguageModelConfig(adapter=adapter != _NO_ADAPTER))
    if "slm" not in tiers:
        return load_embedder(Configuration(shipped, (), Path("edge-node.yaml")), progress=progress), None
    named = str(_adapter_file(Path(adapter))) if adapter not in ("", _NO_ADAPTER) else ""
    node = Node(NodeConfig(edge_node=1, name=NODE, model=NodeModelConfig(adapter=named)), Path.cwd())
    models = load_models(Configuration(shipped, (node,), Path("edge-node.yaml")), progress=progress)
    return models.embedder, models.adapted.get(NODE) or models.usual or models.language


def _adapter_file(path: Path) -> Path:
    """Return the adapter that a path names: a file, or the one in a folder."""
    found = sorted(path.glob("*.onnx_adapter")) if path.is_dir() else [path]
    if len(found) != 1 or not found[0].is_file():
        came = ", ".join(file.name for file in found) if path.is_dir() else "no file"
        raise MeasureInvalid(
            path, expected="an .onnx_adapter file, or a folder with one", came=came or "none"
        )
    return found[0].resolve()


def _told(outcome: CommandOutcome) -> dict[str, Any]:
    case = outcome.case
    return {
        "line": case.line,
        "utterance": case.utterance,
        "expected": _calls([(each.name, each.arguments) for each in case.calls]),
        "came": _calls(outcome.calls),
        "tier": outcome.tier,
        "reason": outcome.reason,
        "ms": round(outcome.spent_ms, 1),
    }


def _calls(calls: Sequence[tuple[str, Mapping[str, Any]]]) -> object:
    told = [{"name": name, "arguments": dict(arguments)} for name, arguments in calls]
    if not told:
        return "none"
    return told if len(told) > 1 else told[0]


def _show(outcome: CommandOutcome) -> None:
    if outcome.exact:
        return
    told = _told(outcome)
    click.secho(f"{told['line']}: {told['utterance']}", bold=True)
    click.echo(f"  right: {json.dumps(told['expected'], ensure_ascii=False)}")
    came = json.dumps(told["came"], ensure_ascii=False)
    click.echo(f"  came ({told['tier']}): {came} {told['reason']}".rstrip())


def _print(figures: CommandFigures) -> None:
    table = Table("figure", "value", show_header=False)
    for name, value in figures.as_dict().items():
        if name == "tiers":
            for tier, row in value.items():
                text = f"{row['share']:.1%} of the cases, {row['accuracy']:.1%} of them exact"
                table.add_row(f"tier {tier}", text)
        elif name == "cases":
            table.add_row(name, str(value))
        else:
            table.add_row(name, f"{value:.1f}" if name.startswith("ms") else f"{value:.1%}")
    Console().print(table)
