"""The command line `edge-node`: one module for each command group, the only place that prints."""

from __future__ import annotations

import sys
from importlib import import_module

import click

from edge_node.config.models import LogConfig
from edge_node.errors import ConfigurationInvalid, EdgeNodeError
from edge_node.observe.logs import configure
from edge_node.version import __version__

_COMMANDS = {
    "init": ("edge_node.cli.init", "init", "Write a folder that runs as it is."),
    "check": ("edge_node.cli.check", "check", "Print every problem of a configuration."),
    "doctor": ("edge_node.cli.doctor", "doctor", "Look at everything an edge needs, and say what is wrong."),
    "test": ("edge_node.cli.test", "test", "Perform the scenarios of nodes, without a broker."),
    "run": ("edge_node.cli.run", "run", "Run the service."),
    "ask": ("edge_node.cli.ask", "ask", "Ask a running edge, or give it an order."),
    "approve": ("edge_node.cli.operate", "approve", "Approve a command that waits for a person."),
    "cancel": ("edge_node.cli.operate", "cancel", "Cancel a command that waits for a person."),
    "key": ("edge_node.cli.key", "key", "Make keys with which people sign what they approve."),
    "reload": ("edge_node.cli.operate", "reload", "Have a running edge take up its files."),
    "reindex": ("edge_node.cli.operate", "reindex", "Have a running edge index its manuals anew."),
    "devices": ("edge_node.cli.devices", "devices", "List the devices of a running edge."),
    "history": ("edge_node.cli.explain", "history", "List what was decided."),
    "explain": ("edge_node.cli.explain", "explain", "Tell why something was decided."),
    "replay": ("edge_node.cli.replay", "replay", "Play a recording of messages without a broker."),
    "stop": ("edge_node.cli.stop", "stop", "Stop an edge: no command leaves it until it is reset."),
    "demo": ("edge_node.cli.demo", "demo", "Show everything at work on this machine."),
    "model": ("edge_node.cli.model", "model", "List, fetch and build models."),
    "knowledge": ("edge_node.cli.knowledge", "knowledge", "Build and search the index of the manuals."),
    "acl": ("edge_node.cli.acl", "acl", "Print the broker's access list."),
    "eval": ("edge_node.cli.eval", "evaluate", "Measure retrieval and answers against known ones."),
    "tune": ("edge_node.cli.tune", "tune", "Train the language model on the commands of a node."),
    "bench": ("edge_node.cli.bench", "bench", "Measure on this machine."),
}


class _LazyGroup(click.Group):
    """A group that imports a command when it is called, so that `--help` answers at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's
        if cmd_name not in _COMMANDS:
            return None
        module, name, _ = _COMMANDS[cmd_name]
        command = getattr(import_module(module), name)
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, told) for name, (_, _, told) in _COMMANDS.items()])


@click.group(cls=_LazyGroup)
@click.version_option(__version__, prog_name="edge-node")
def edge_node() -> None:
    """A runtime on an MQTT bus: checked commands and cited answers from a small model on the device.

    \b
    Examples:
      edge-node demo                    see it work
      edge-node init plant              a folder to start from
      edge-node check plant             every problem, with file and line
      edge-node test plant              what the nodes do, shown by scenarios
      edge-node run --config plant/edge-node.yaml
      edge-node ask "slow pump two down to forty percent"
    """
    configure(LogConfig(level="warning", format="console"))


def main() -> None:
    """Run the command line; an error of edge_node ends it with one clear line and its exit status."""
    try:
        edge_node(standalone_mode=True)
    except EdgeNodeError as error:
        click.echo(_line(error), err=True)
        sys.exit(error.exit_status)


def _line(error: EdgeNodeError) -> str:
    if isinstance(error, ConfigurationInvalid):
        return str(error)
    hint = f" ({error.hint})" if error.hint else ""
    return f"edge-node: {error}{hint}"
