"""`edge-node stop`: the operational stop, and its reset."""

from __future__ import annotations

import getpass
import sys
import time
from typing import TYPE_CHECKING

import click

from edge_node.cli.operate import show
from edge_node.cli.options import config_option, find_config, json_option
from edge_node.client import Client, Reply
from edge_node.config.load import load_runtime
from edge_node.errors import ConfigurationError
from edge_node.runtime.state_lock import StateLock
from edge_node.stop.latch import told
from edge_node.stop.record import StopFile, reset_at_rest

if TYPE_CHECKING:
    from pathlib import Path

    from edge_node.config.loaded import Configuration


@click.command()
@click.option("--reason", default="", help="Why; kept with the stop.")
@click.option("--reset", is_flag=True, help="Let new commands leave again; nothing from before is replayed.")
@config_option
@click.option("--user", default=None, help="Who stops; the name you are logged in with where left out.")
@click.option("--timeout", "timeout_s", default=10.0, show_default=True, help="Longest wait, in seconds.")
@json_option
def stop(
    *, reason: str, reset: bool, config: Path | None, user: str | None, timeout_s: float, as_json: bool
) -> None:
    """Stop an edge: from now on no command leaves it, over a restart too, until a person resets it.

    It supplements a hard-wired emergency stop and never replaces one. --reset works on this machine where the
    service is not running; where it is running, it goes over the bus as --user, who must be named in the
    runtime file under stop.reset.

    \b
    Examples:
      edge-node stop --reason "someone is in the cell"
      edge-node stop --reset --user ada
    """
    configuration = load_runtime(find_config(config))
    name = user or getpass.getuser()
    reply = _reset_at_rest(configuration, user=name) if reset else None
    if reply is None:
        runtime = configuration.runtime
        with Client(runtime.broker, edge=runtime.edge, user=name) as client:
            reply = (
                client.reset_stop(timeout_s=timeout_s) if reset else client.stop(reason, timeout_s=timeout_s)
            )
    show(reply, as_json=as_json)
    sys.exit(1 if reply.kind == "error" else 0)


def _reset_at_rest(configuration: Configuration, *, user: str) -> Reply | None:
    """Return what a reset on the disk came to, or None where the service runs or its state is elsewhere."""
    if not configuration.state.is_dir():
        return None
    try:
        lock = StateLock.take(configuration.state)
    except ConfigurationError:
        return None
    try:
        record = reset_at_rest(StopFile(configuration.state), user=user, at=time.time())
    finally:
        lock.release()
    return Reply("stop", told(record), final=True, data={"state": record.state, "text": told(record)})
