"""`edge-node ask`: one question or order to a running edge."""

from __future__ import annotations

import getpass
import json
import sys
from typing import TYPE_CHECKING

import click

from edge_node.cli.options import config_option, find_config, json_option
from edge_node.client import Client, Reply
from edge_node.config.load import load_runtime

if TYPE_CHECKING:
    from pathlib import Path

_AWAITING = "awaiting_approval"
_WAITS = 75  # EX_TEMPFAIL of sysexits.h: not done yet, and not refused
_FAILED = frozenset({"denied", "unverified", "expired", "cancelled", "unknown"})


@click.command()
@click.argument("words", nargs=-1, required=True)
@config_option
@click.option("--user", default=None, help="Who asks; the name you are logged in with where left out.")
@click.option("--node", default="", help="The node that is to answer; the words tell where left out.")
@click.option("--timeout", "timeout_s", default=60.0, show_default=True, help="Longest wait, in seconds.")
@click.option(
    "--deadline",
    default="",
    help="How long the edge may take, such as 10s; then it drops the request. As configured where left out.",
)
@click.option("--stream", is_flag=True, help="Show what the answer will hold as it is found.")
@click.option("--area", default="", help="Where it is said, such as a room: 'the light' is the one there.")
@click.option("--wait", is_flag=True, help="Go on where the order waits for an approval, until it expires.")
@json_option
def ask(  # noqa: PLR0913 - an option each
    words: tuple[str, ...],
    *,
    config: Path | None,
    user: str | None,
    node: str,
    timeout_s: float,
    deadline: str,
    stream: bool,
    area: str,
    wait: bool,
    as_json: bool,
) -> None:
    """Ask a running edge, or give it an order, and print what it answers as it comes.

    The exit status is 0 where a question was answered or a command was carried out, and 1 where the manuals
    do not tell, the order was denied or nothing was understood; 75 says that the order waits for an approval.

    \b
    Examples:
      edge-node ask "how often is the bearing greased?"
      edge-node ask slow pump two down to forty percent
      edge-node ask --user ada --json "is the rover charging?"
    """
    runtime = load_runtime(find_config(config)).runtime
    with Client(runtime.broker, edge=runtime.group or runtime.edge, user=user or getpass.getuser()) as client:
        reply = Reply("nothing", "", final=False, data={})
        pieces: list[str] = []
        failed = False
        for reply in client.ask(
            " ".join(words),
            node=node,
            timeout_s=timeout_s,
            deadline=deadline,
            stream=stream,
            context={"area": area} if area else {},
        ):
            if as_json:
                click.echo(json.dumps({"type": reply.kind, **reply.data}, ensure_ascii=False))
            elif reply.text != "\n".join(pieces):
                # The pieces were found in their order; the answer may put another one first.
                click.echo(reply.text)
            pieces += [reply.text] if reply.kind == "piece" else []
            failed = failed or reply.data.get("state") in _FAILED
            if reply.data.get("state") == _AWAITING:
                click.echo(f"to approve it: edge-node approve {reply.data.get('command_id')}", err=True)
                if not wait:
                    sys.exit(_WAITS)
    if not as_json and reply.data.get("decision"):
        click.echo(f"why: edge-node explain {reply.data['decision']}", err=True)
    sys.exit(0 if _succeeded(reply) and not failed else 1)


def _succeeded(reply: Reply) -> bool:
    if reply.kind == "answer":
        return bool(reply.data.get("found"))
    return reply.kind in {"command", "task"} and reply.data.get("state") not in _FAILED
