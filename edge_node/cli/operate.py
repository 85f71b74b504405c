"""What people ask of a running edge: approve or cancel a command that waits for them, take up the files."""

from __future__ import annotations

import getpass
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_node.cli.options import config_option, find_config, json_option
from edge_node.client import Client
from edge_node.config.load import load_runtime
from edge_node.signing import Statement, sign

if TYPE_CHECKING:
    from edge_node.client import Reply

_user_option = click.option(
    "--user", default=None, help="Who decides; the name you are logged in with where left out."
)
_timeout_option = click.option(
    "--timeout", "timeout_s", default=10.0, show_default=True, help="Longest wait, in seconds."
)


@click.command()
@click.argument("command_id")
@config_option
@_user_option
@click.option(
    "--key",
    "key_file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Your private key, where the approval must be signed; `edge-node key new` writes one.",
)
@_timeout_option
@json_option
def approve(
    command_id: str,
    *,
    config: Path | None,
    user: str | None,
    key_file: Path | None,
    timeout_s: float,
    as_json: bool,
) -> None:
    """Approve a command that waits for a person; its identifier stands in the reply to the order.

    The command is checked again as things are now, and sent if every rule holds. The runtime file names under
    operators.approve who may. The exit status is 1 where it was not sent.

    \b
    Example:
      edge-node approve 01990000-0000-7000-8000-000000000000
    """
    body = {"command_id": command_id}
    if key_file is not None:
        # Milliseconds since the epoch only grow, and need no file to count in.
        counter = time.time_ns() // 1_000_000
        edge = load_runtime(find_config(config)).runtime.edge
        said = Statement(edge, "approve", command_id, user or getpass.getuser(), counter)
        body |= {"counter": str(counter), "signature": sign(said, key_file=key_file)}
    _operate("approve", config=config, user=user, timeout_s=timeout_s, as_json=as_json, **body)


@click.command()
@click.argument("command_id", required=False, default="")
@config_option
@_user_option
@click.option(
    "--request", default="", help="Correlation of a question or an order of yours that is not decided yet."
)
@_timeout_option
@json_option
def cancel(
    command_id: str, *, config: Path | None, user: str | None, request: str, timeout_s: float, as_json: bool
) -> None:
    """Cancel a command that waits for a person: who ordered it may, and who may approve.

    With --request, take back what you asked and what still waits for the model or is being answered.

    \b
    Examples:
      edge-node cancel 01990000-0000-7000-8000-000000000000
      edge-node cancel --request c-17
    """
    if bool(command_id) == bool(request):
        raise click.UsageError("expected COMMAND_ID or --request, came both or neither")
    subject = {"command_id": command_id} if command_id else {"request": request}
    _operate("cancel", config=config, user=user, timeout_s=timeout_s, as_json=as_json, **subject)


@click.command()
@config_option
@_user_option
@click.option("--timeout", "timeout_s", default=60.0, show_default=True, help="Longest wait, in seconds.")
@json_option
def reload(*, config: Path | None, user: str | None, timeout_s: float, as_json: bool) -> None:
    """Have a running edge read its files again, and print what has changed or what is wrong.

    Saving a file is enough; this tells when it is in force. The runtime file names under operators.reload who
    may. The exit status is 1 where the files were refused, and the old configuration goes on.

    \b
    Example:
      edge-node reload
    """
    _operate("reload", config=config, user=user, timeout_s=timeout_s, as_json=as_json)


@click.command()
@config_option
@_user_option
@click.option("--timeout", "timeout_s", default=600.0, show_default=True, help="Longest wait, in seconds.")
@json_option
def reindex(*, config: Path | None, user: str | None, timeout_s: float, as_json: bool) -> None:
    """Have a running edge bring the index up to its manuals, and print what it holds then.

    Questions are answered from the old index meanwhile. Saving a manual is enough; this tells when it can be
    found. The runtime file names under operators.reload who may.

    \b
    Example:
      edge-node reindex
    """
    _operate("reindex", config=config, user=user, timeout_s=timeout_s, as_json=as_json)


def _operate(
    operation: str,
    *,
    config: Path | None,
    user: str | None,
    timeout_s: float,
    as_json: bool,
    **body: str,
) -> None:
    runtime = load_runtime(find_config(config)).runtime
    with Client(runtime.broker, edge=runtime.edge, user=user or getpass.getuser()) as client:
        reply = client.operate(operation, timeout_s=timeout_s, **body)
    show(reply, as_json=as_json)
    sys.exit(1 if reply.kind == "error" else 0)


def show(reply: Reply, *, as_json: bool) -> None:
    """Print an answer, and where it is an error the way out of it."""
    if as_json:
        click.echo(json.dumps({"type": reply.kind, **reply.data}, ensure_ascii=False))
        return
    error = reply.data.get("error")
    hint = error.get("hint") if isinstance(error, dict) else ""
    click.echo(f"{reply.text} ({hint})" if hint else reply.text, err=reply.kind == "error")
