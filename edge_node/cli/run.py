"""`edge-node run`: the service in the foreground."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import click

from edge_node.cli.options import config_option, find_config
from edge_node.observe.logs import configure
from edge_node.runtime.reading import read_configuration
from edge_node.runtime.service import Service

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType


@click.command()
@config_option
def run(config: Path | None) -> None:
    """Run the service until it is told to stop (Ctrl-C, SIGTERM).

    Changed files are taken up while it runs, and at once with SIGHUP.

    \b
    Example:
      edge-node run --config /etc/edge-node/edge-node.yaml
    """
    configuration = read_configuration(find_config(config))
    configure(configuration.runtime.log)
    service = Service(configuration)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        service.request_stop()

    def reload(_signal: int, _frame: FrameType | None) -> None:
        service.request_reload()

    signal.signal(signal.SIGHUP, reload)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    service.run()
