"""`edge-node key`: keys with which people sign what they approve."""

from __future__ import annotations

from pathlib import Path

import click

from edge_node.errors import TopicInvalid
from edge_node.signing import write_pair
from edge_node.topics import is_name


@click.group()
def key() -> None:
    """Make keys with which people sign what they approve."""


@key.command()
@click.argument("user")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=Path(),
    help="Where both files are written; this folder where left out.",
)
def new(user: str, *, folder: Path) -> None:
    """Write USER.key, which stays with USER, and USER.pub, which the runtime file names.

    \b
    Examples:
      edge-node key new anna
      edge-node approve 01990000-0000-7000-8000-000000000000 --user anna --key anna.key
    """
    if not is_name(user):
        raise TopicInvalid(user[:80], expected="a user of 1 to 64 letters, digits, '.', '_' or '-'")
    private, public = folder / f"{user}.key", folder / f"{user}.pub"
    write_pair(private, public_file=public)
    click.echo(f"{private}: keep it to yourself")
    click.echo(f"{public}: copy it to the edge, and name it there under operators.keys.{user}")
