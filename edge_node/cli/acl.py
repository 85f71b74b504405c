"""`edge-node acl`: the broker's access list for a configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edge_node.bus.access_list import mosquitto_access_list
from edge_node.cli.options import config_option, find_config
from edge_node.config.load import load

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@click.option(
    "--broker",
    type=click.Choice(["mosquitto"]),
    default="mosquitto",
    show_default=True,
    help="The broker whose notation is used.",
)
@click.option(
    "--operator",
    "operators",
    multiple=True,
    metavar="NAME",
    help="A person who may ask and order; may be given again. Left out: everyone who signs in.",
)
@config_option
def acl(*, broker: str, operators: tuple[str, ...], config: Path | None) -> None:  # noqa: ARG001 - one choice yet
    """Print who may publish and hear what on the broker, and nothing more than is needed.

    \b
    Examples:
      edge-node acl --config plant/edge-node.yaml > /etc/mosquitto/access
      edge-node acl --operator ada --operator bob
    """
    click.echo(mosquitto_access_list(load(find_config(config)), operators=operators), nl=False)
