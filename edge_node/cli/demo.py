"""`edge-node demo`: everything at work on this machine, told in words."""

from __future__ import annotations

import itertools
import json
import shutil
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_node.cli.options import demo_config, json_option
from edge_node.cli.progress import progress_bars
from edge_node.config.shipped import shipped_folder
from edge_node.demo.fleet import Fleet, fleet
from edge_node.demo.narration import Narrator
from edge_node.demo.site import HOST, Site
from edge_node.demo.tour import Tour
from edge_node.model.catalogue import DEFAULT_MODELS, Catalogue
from edge_node.model.store import ModelStore
from edge_node.paths import models_folder

if TYPE_CHECKING:
    from edge_node.demo.tour import Step

_PACE = 4.0
_FAULT_S = 45.0


@click.command()
@click.option("--once", is_flag=True, help="Play the tour, check each step, and end.")
@click.option(
    "--nodes",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=None,
    help="Folder with the nodes to run; the ready ones where left out.",
)
@json_option
def demo(*, once: bool, nodes: Path | None, as_json: bool) -> None:
    """Show everything at work: a broker, the runtime with the ready nodes, and simulated devices.

    Fetches the models first where they are missing. Ctrl-C ends everything it started. With --once the exit
    status is 0 only if all six steps of the tour are ok.

    \b
    Examples:
      edge-node demo
      edge-node demo --once --json
    """
    _fetch_models()
    folder = demo_config().parent
    shutil.rmtree(folder / "state", ignore_errors=True)
    narrator = Narrator(click.echo) if not as_json else None
    _say("starting broker, runtime and devices ...")
    with (
        Site(
            folder, nodes=nodes or shipped_folder("nodes"), tell=narrator.hear if narrator else None
        ) as site,
        fleet(host=HOST, port=site.port, pace=_PACE) as devices,
        site.client("operator") as client,
    ):
        _say(f"ready after {site.ready_s:.1f} s; the runtime's log is {site.log_file}")
        good = True
        tour = Tour(site, fleet=devices, client=client, begin=_heading if not as_json else _quiet)
        for step in tour.steps():
            good = good and step.ok
            _show(step, as_json=as_json)
        if not once:
            _invite(site)
            _go_on(devices)
    if once:
        sys.exit(0 if good else 1)


def _fetch_models() -> None:
    store = ModelStore(models_folder(), catalogue=Catalogue.load())
    with progress_bars() as progress:
        for name in DEFAULT_MODELS:
            store.ensure(name, progress=progress)


def _show(step: Step, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(step.as_dict(), ensure_ascii=False))
        return
    mark = click.style("ok", fg="green") if step.ok else click.style("not ok", fg="red")
    click.echo(f"   {mark}, {step.ms / 1000:.1f} s\n")


def _heading(text: str) -> None:
    click.secho(text, bold=True)


def _quiet(_text: str) -> None:
    """Say nothing: JSON alone goes out."""


def _say(text: str) -> None:
    click.echo(text, err=True)


def _invite(site: Site) -> None:
    program = Path(sys.argv[0])
    name = str(program) if program.parent != Path() and shutil.which("edge-node") is None else "edge-node"
    click.echo(
        "\nIt goes on until Ctrl-C. Join in from a second terminal:\n"
        f'  {name} ask "how warm may the bearing get?"\n'
        f"  {name} ask stop pump three\n"
        f"  mosquitto_pub -V 5 -p {site.port} -t {site.topics.ask('me')} -m 'slow pump one to 20 percent'\n"
        f"  mosquitto_sub -V 5 -p {site.port} -v -t 'edge/#'\n"
    )


def _go_on(devices: Fleet) -> None:
    """Let one pump after the other fail and be mended, until Ctrl-C."""
    pause = threading.Event()
    try:
        for pump in itertools.cycle(devices.pumps.values()):
            for happens in (pump.fault, pump.repair):
                pause.wait(_FAULT_S)
                happens()
    except KeyboardInterrupt:
        _say("\nstopping ...")
