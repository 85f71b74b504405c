"""Options that several commands share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_node.errors import ConfigurationMissing
from edge_node.paths import home

if TYPE_CHECKING:
    from collections.abc import Callable

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def config_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--config FILE`; left out, the first that exists of the usual places is taken."""
    return click.option(
        "--config",
        "config",
        type=click.Path(path_type=Path),
        default=None,
        help="Runtime file. Default: $EDGE_NODE_CONFIG, ./edge-node.yaml, a running demo's, /etc/edge-node/.",
    )(command)


def demo_config() -> Path:
    """Return where the demo writes the runtime file that it runs with."""
    return home() / "demo" / "edge-node.yaml"


def find_config(named: Path | None) -> Path:
    """Return the runtime file to use.

    Raises:
        ConfigurationMissing: None was named, and none lies in the usual places.
    """
    if named is not None:
        return named
    if os.environ.get("EDGE_NODE_CONFIG"):
        return Path(os.environ["EDGE_NODE_CONFIG"])
    places = (Path("edge-node.yaml"), demo_config(), Path("/etc/edge-node/edge-node.yaml"))
    for place in places:
        if place.is_file():
            return place
    raise ConfigurationMissing(places)
