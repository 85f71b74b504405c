"""`edge-node history` and `edge-node explain`: what was decided, and why."""

from __future__ import annotations

import getpass
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edge_node.cli.operate import show
from edge_node.cli.options import config_option, find_config, json_option
from edge_node.client import Client
from edge_node.config.load import load_runtime
from edge_node.config.scalars import seconds
from edge_node.errors import BusError, NotPermitted
from edge_node.journal.archive import MAX_HISTORY, Archive
from edge_node.journal.journal import JOURNAL_FILE
from edge_node.journal.recording import recording
from edge_node.observe.explanation import explained, listed
from edge_node.runtime.state_lock import in_use

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edge_node.client import Reply
    from edge_node.config.loaded import Configuration
    from edge_node.messages import Message

_T = TypeVar("_T")


def _duration(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[str, float]:
    """Return a duration as it was said, and in seconds; nothing said means any time."""
    try:
        return (value, seconds(value)) if value else ("", 0.0)
    except ValueError as problem:
        raise click.BadParameter(f"expected {problem}, came {value!r}") from problem


_user_option = click.option(
    "--user", default=None, help="Who asks the running edge; the name you are logged in with where left out."
)
_timeout_option = click.option(
    "--timeout", "timeout_s", default=10.0, show_default=True, help="Longest wait, in seconds."
)


_export_option = click.option(
    "--export",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="Write the messages into this file instead, for `edge-node replay`; on the edge's own machine only.",
)


@click.command()
@click.argument("identifier")
@config_option
@_user_option
@_timeout_option
@json_option
@_export_option
@click.option(
    "--before",
    default="10m",
    show_default=True,
    callback=_duration,
    help="With --export: how much of the time before it is written.",
)
def explain(
    identifier: str,
    *,
    config: Path | None,
    user: str | None,
    timeout_s: float,
    as_json: bool,
    export: Path | None,
    before: tuple[str, float],
) -> None:
    """Tell why something was decided: from the message, through each rule, to what the device showed.

    IDENTIFIER is that of a decision, a command, a message or a reply; its beginning is enough where nothing
    else begins so. The running edge is asked, which answers those named under operators.explain; on the
    edge's own machine whoever may read the journal reads it there.

    \b
    Examples:
      edge-node explain 01990000-0000-7000-8000-000000000000
      edge-node explain 01990000-0000-7000-8000-000000000000 --export incident.jsonl
    """
    if export:
        _write(export, config, lambda archive: archive.incident(identifier, before_s=before[1]))
        return
    found = _asked(
        find_config(config),
        lambda client: client.operate("explain", timeout_s=timeout_s, id=identifier),
        lambda archive: {"found": archive.explain(identifier)},
        user=user,
    )["found"]
    if as_json:
        click.echo(json.dumps({"found": found}, ensure_ascii=False))
        return
    for number, document in enumerate(found):
        click.echo("\n" * (number > 0) + "\n".join(explained(document)))


@click.command()
@click.option(
    "--since", default=None, callback=_duration, help="Only what was decided in this time, such as 1h."
)
@click.option("--node", default="", help="Only what this node decided.")
@click.option("--device", default="", help="Only what is about this device.")
@click.option(
    "--limit", default=20, show_default=True, type=click.IntRange(1, MAX_HISTORY), help="Most decisions."
)
@config_option
@_user_option
@_timeout_option
@json_option
@_export_option
def history(  # noqa: PLR0913 - an option each
    *,
    since: tuple[str, float],
    node: str,
    device: str,
    limit: int,
    config: Path | None,
    user: str | None,
    timeout_s: float,
    as_json: bool,
    export: Path | None,
) -> None:
    """List what was decided, newest first; `edge-node explain` tells more of each.

    \b
    Examples:
      edge-node history --since 1h
      edge-node history --device pump-3 --limit 5
    """
    said, ago_s = since
    after = time.time() - ago_s if said else 0.0
    if export:
        _write(export, config, lambda archive: archive.received(since=after))
        return
    named = {"since": said, "node": node, "device": device, "limit": str(limit)}
    entries = _asked(
        find_config(config),
        lambda client: client.operate("history", timeout_s=timeout_s, **named),
        lambda archive: {"history": archive.history(since=after, node=node, device=device, limit=limit)},
        user=user,
    )["history"]
    if as_json:
        click.echo(json.dumps({"history": entries}, ensure_ascii=False))
        return
    for entry in entries:
        click.echo(listed(entry))


def _write(file: Path, config: Path | None, look: Callable[[Archive], Sequence[Message]]) -> None:
    """Write the messages that are found into a recording that only its owner may read."""
    messages = _read(load_runtime(find_config(config)).state / JOURNAL_FILE, look)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
        out.writelines(f"{line}\n" for line in recording(messages))
    click.echo(f"{file}: {len(messages)} messages; play them with `edge-node replay {file}`", err=True)


def _asked(
    config: Path,
    over_the_bus: Callable[[Client], Reply],
    from_the_file: Callable[[Archive], Mapping[str, Any]],
    *,
    user: str | None,
) -> Mapping[str, Any]:
    """Return what the running edge answers, or else what its journal holds where it may be read here."""
    configuration = load_runtime(config)
    journal = configuration.state / JOURNAL_FILE
    readable = os.access(journal, os.R_OK)
    if readable and not in_use(configuration.state):
        return _read(journal, from_the_file)
    try:
        reply = _reply(configuration, over_the_bus, user=user)
    except BusError as problem:
        if not readable:
            raise
        return _read(journal, from_the_file, instead_of=str(problem))
    if reply.kind != "error":
        return reply.data
    if readable and reply.data["error"].get("code") == NotPermitted.code:
        return _read(journal, from_the_file, instead_of=reply.text)
    show(reply, as_json=False)
    sys.exit(1)


def _reply(configuration: Configuration, ask: Callable[[Client], Reply], *, user: str | None) -> Reply:
    runtime = configuration.runtime
    with Client(runtime.broker, edge=runtime.edge, user=user or getpass.getuser()) as client:
        return ask(client)


def _read(journal: Path, look: Callable[[Archive], _T], *, instead_of: str = "") -> _T:
    if instead_of:
        click.echo(f"from {journal}, because the edge did not tell: {instead_of}", err=True)
    archive = Archive.open(journal)
    try:
        return look(archive)
    finally:
        archive.close()
