"""`edge-node run`: the service in the foreground."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import click

from edge_node.cli.options import config_option, find_config
from edge_node.config.load import load
from edge_node.observe.logs import configure
from edge_node.runtime.service import Service

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType


@click.command()
@config_option
def run(config: Path | None) -> None:
    """Run the service until it is told to stop (Ctrl-C, SIGTERM).

    \b
    Example:
      edge-node run --config /etc/edge-node/edge-node.yaml
    """
    configuration = load(find_config(config))
    configure(configuration.runtime.log)
    service = Service(configuration)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        service.request_stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    service.run()
