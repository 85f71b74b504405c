"""`edge-node tune`: the language model specialised on the commands of one node.

Knows files, options and the terminal; knows nothing of how cases are written or a model is trained.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_node.cli.options import json_option
from edge_node.cli.progress import progress_bars
from edge_node.config.load import load_node
from edge_node.config.loaded import Configuration
from edge_node.config.models import RuntimeConfig
from edge_node.errors import ModelUnsupported
from edge_node.evaluation.command_cases import CommandFiles
from edge_node.model.catalogue import Catalogue
from edge_node.model.store import ModelStore
from edge_node.paths import home, models_folder
from edge_node.runtime.wiring import load_embedder
from edge_node.tuning.default import DefaultTuner
from edge_node.tuning.training import Recipe, require_torch
from edge_node.tuning.tuner import Base, Tuner

if TYPE_CHECKING:
    from edge_node.protocols import Embedder, Progress
    from edge_node.tuning.report import Report

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_NODE = click.Path(exists=True, path_type=Path)
_SHORTEST, _LONGEST = 0.1, 24 * 60


def _names(_context: click.Context, _option: click.Parameter, value: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in value.split(",") if name.strip())


@click.command()
@click.argument("node", metavar="NODE", type=_NODE, required=False)
@click.option("--cases", metavar="FILE", type=_FILE, help="Cases of your own, as the node's examples are.")
@click.option("--names", default="", callback=_names, help="Devices that people speak of: pump-1,pump-2.")
@click.option(
    "--minutes",
    type=click.FloatRange(_SHORTEST, _LONGEST),
    default=20.0,
    show_default=True,
    help="Time for training; measuring takes a few minutes more.",
)
@click.option(
    "--orders", type=click.IntRange(4, 2000), default=60, show_default=True, help="For each command."
)
@click.option("--seed", type=int, default=1, show_default=True, help="What all chance starts from.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--threads", type=click.IntRange(0, 256), default=0, help="Threads of the CPU; 0 takes all.")
@click.option("--base", default="", help="Model, where the runtime file names another than the default.")
@click.option(
    "--output", metavar="DIR", type=click.Path(file_okay=False, path_type=Path), help="Put it here."
)
@click.option(
    "--default",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Make the adapter that ships, from invented worlds; without NODE.",
)
@json_option
def tune(  # noqa: PLR0913, PLR0917 - an option each
    node: Path | None,
    cases: Path | None,
    names: tuple[str, ...],
    minutes: float,
    orders: int,
    seed: int,
    device: str,
    threads: int,
    base: str,
    output: Path | None,
    default: Path | None,
    *,
    as_json: bool,
) -> None:
    """Train the language model on the commands of NODE, and install that only if it is better.

    NODE is the folder of a node or its node.yaml. Cases are written from its templates, values, devices and
    examples; a fifth is held back, and what runs now is measured on it beside what was trained. The adapter
    becomes NODE/tuned.onnx_adapter, or DIR/tuned.onnx_adapter to be copied there from another machine. A
    tuning that was broken off goes on where it was. Needs: pip install 'edge-node[tune]'.

    \b
    Examples:
      edge-node tune nodes/pump-guard
      edge-node tune nodes/rover --names rover-1,rover-2 --cases said.jsonl --minutes 30
      edge-node tune nodes/home --device cuda --output ~/adapters/home
      edge-node tune --default adapters/default --minutes 60
    """
    if (node is None) == (default is None):
        raise click.UsageError("name a NODE, or --default with a folder for the adapter that ships")
    require_torch()
    given = CommandFiles(None).examples(cases) if cases else ()
    runtime = RuntimeConfig(edge_node=1, edge="tune")
    recipe = Recipe(minutes=minutes, seed=seed, device="" if device == "auto" else device, threads=threads)
    with progress_bars() as progress:
        tuning = _Tuning(
            base=_base(base or runtime.model.name, context=runtime.model.context),
            embedder=load_embedder(Configuration(runtime, (), Path("edge-node.yaml")), progress=progress),
            recipe=recipe,
            progress=progress,
        )
        if default is not None:
            click.echo(json.dumps(tuning.default(default), indent=2))
            return
        report, folder = tuning.node(node, orders=orders, devices=names, given=given, output=output)
    if as_json:
        click.echo(json.dumps({**asdict(report), "folder": str(folder)}, indent=2))
        return
    click.echo(report.text())
    click.echo(f"cases, adapter and checkpoints: {folder}")


@dataclass(frozen=True, slots=True)
class _Tuning:
    """What both kinds of tuning need."""

    base: Base
    embedder: Embedder
    recipe: Recipe
    progress: Progress

    def default(self, folder: Path) -> dict[str, Any]:
        tuner = DefaultTuner(
            base=self.base, embedder=self.embedder, recipe=self.recipe, progress=self.progress
        )
        return tuner.make(folder)

    def node(self, path: Path | None, **told: Any) -> tuple[Report, Path]:
        tuner = Tuner(
            load_node(path or Path()),
            base=self.base,
            embedder=self.embedder,
            recipe=self.recipe,
            home=home() / "tuning",
            progress=self.progress,
        )
        return tuner.tune(**told)


def _base(name: str, *, context: int) -> Base:
    store = ModelStore(models_folder(), catalogue=Catalogue.load())
    folder = store.locate(name)
    gguf = store.gguf(name)
    if gguf is None or not gguf.is_file():
        raise ModelUnsupported(
            folder, expected="a base that is built from a GGUF file, which lies here", came="none"
        )
    return Base(folder, gguf, context=context, threads=2)
