"""`edge-node devices`: what a running edge knows of its devices."""

from __future__ import annotations

import getpass
import json
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from edge_node.cli.options import config_option, find_config, json_option
from edge_node.client import Client
from edge_node.config.load import load, load_runtime
from edge_node.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400


@click.command()
@click.option("--node", default="", help="Devices of this node; of all where left out.")
@config_option
@click.option("--user", default=None, help="Who asks; the name you are logged in with where left out.")
@click.option("--timeout", "timeout_s", default=10.0, show_default=True, help="Longest wait, in seconds.")
@click.option("-v", "--verbose", is_flag=True, help="Also where each value came from.")
@json_option
def devices(
    *, node: str, config: Path | None, user: str | None, timeout_s: float, verbose: bool, as_json: bool
) -> None:
    """List the devices of a running edge: what each reported, how old that is, and what was ordered.

    A value in brackets is too old to be relied on: it counts as unknown, denies commands and fires no alarm.

    \b
    Examples:
      edge-node devices
      edge-node devices --node pump-guard -v
      edge-node devices --json
    """
    configuration = load(find_config(config)) if node else load_runtime(find_config(config))
    names = [each.name for each in configuration.nodes]
    if node and node not in names:
        raise ConfigurationError(
            f"--node: expected one of {', '.join(names)}, came {node!r}",
            hint="see `nodes` in the runtime file",
        )
    runtime = configuration.runtime
    with Client(runtime.broker, edge=runtime.edge, user=user or getpass.getuser()) as client:
        known = client.devices(node=node, timeout_s=timeout_s)
    if as_json:
        click.echo(json.dumps(known, ensure_ascii=False))
    elif known:
        Console().print(_table(known, verbose=verbose))
    else:
        click.echo("no device was heard yet")


def _table(known: list[dict[str, Any]], *, verbose: bool) -> Table:
    table = Table()
    for title in ("Device", "Node", "Online", "Field", "Value", "Age", "Desired"):
        table.add_column(title, overflow="fold")
    if verbose:
        table.add_column("Source", overflow="fold")
    for device in known:
        first = (device["device"], device["node"], "yes" if device["online"] else "no")
        for row in _rows(device["fields"]):
            table.add_row(*(_plain(cell) for cell in (*first, *(row if verbose else row[:-1]))))
            first = ("", "", "")
        if not device["fields"]:
            table.add_row(*(_plain(cell) for cell in first))
    return table


def _rows(fields: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    """Yield for each field its name, value, age, what is desired where that differs, and its source."""
    for name, field in fields.items():
        value = "" if field["value"] is None else _shown(field["value"])
        source = f"{field['topic']} (listen[{field['entry']}])" if field["topic"] else ""
        yield (
            name,
            value if field["fresh"] else f"[{value or 'unknown'}]",
            "" if field["age_s"] is None else age(field["age_s"]),
            _shown(field["desired"]["value"]) if "desired" in field else "",
            source,
        )


def age(seconds: float) -> str:
    """Return a time that has passed, as short as people say it."""
    if seconds < _MINUTE_S:
        return f"{seconds:.0f} s"
    if seconds < _HOUR_S:
        return f"{seconds / _MINUTE_S:.0f} min"
    return f"{seconds / _HOUR_S:.0f} h" if seconds < 2 * _DAY_S else f"{seconds / _DAY_S:.0f} d"


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _plain(cell: str) -> Text:
    """Return a cell as it is: what devices say neither colours nor moves anything on a terminal."""
    return Text("".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in cell))
