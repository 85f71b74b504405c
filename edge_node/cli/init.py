"""`edge-node init`: a folder that runs as it is."""

from __future__ import annotations

import re
import shlex
import socket
from pathlib import Path

import click

from edge_node.config.load import RUNTIME_FILE
from edge_node.config.shipped import shipped_folder
from edge_node.topics import is_name

_EDGE_LINE = re.compile(r"^edge: \S+", re.MULTILINE)
_SCHEMA_LINE = "$schema=edge-node.schema.json"
_LEFT_OUT = frozenset({"__pycache__", ".DS_Store"})


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--force", is_flag=True, help="Write into a folder that is not empty; files in it stay as they are."
)
def init(folder: Path, *, force: bool) -> None:
    """Write a runtime file and the ready nodes into DIR.

    \b
    Example:
      edge-node init plant
    """
    if folder.is_dir() and any(folder.iterdir()) and not force:
        raise click.ClickException(
            f"{folder}: expected an empty folder, came one with files in it "
            "(name another, or add --force; files that are there are kept)"
        )
    contents = _contents(edge=_edge_name(socket.gethostname()))
    try:
        kept = [name for name, content in contents.items() if not _write(folder / name, content)]
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from error
    for name in kept:
        click.echo(f"kept {folder / name}")
    click.echo(f"{len(contents) - len(kept)} files written to {folder}; next:")
    click.echo(f"  edge-node check {shlex.quote(str(folder))}")
    click.echo(f"  edge-node test {shlex.quote(str(folder))}")
    click.echo(f"  edge-node run --config {shlex.quote(str(folder / RUNTIME_FILE))}")


def _contents(*, edge: str) -> dict[str, bytes]:
    """Return relative path to content of every file to write."""
    config, nodes = shipped_folder("config"), shipped_folder("nodes")
    runtime = (config / RUNTIME_FILE).read_text(encoding="utf-8")
    runtime = _EDGE_LINE.sub(f"edge: {edge}", runtime, count=1)
    runtime = runtime.replace(_SCHEMA_LINE, "$schema=config/edge-node.schema.json", 1)
    contents = {RUNTIME_FILE: runtime.encode()}
    for schema in sorted(config.glob("*.schema.json")):
        contents[f"config/{schema.name}"] = schema.read_bytes()
    for file in sorted(nodes.rglob("*")):
        if file.is_file() and not _LEFT_OUT & set(file.parts):
            contents[f"nodes/{file.relative_to(nodes).as_posix()}"] = file.read_bytes()
    return contents


def _edge_name(host: str) -> str:
    """Return a host name as the name of an edge: its first label, with only what may stand in a topic."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", host.partition(".")[0]).strip("-_")[:64]
    return name if is_name(name) else "edge-1"


def _write(file: Path, content: bytes) -> bool:
    """Return whether the file was written; one that is there is left alone."""
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with file.open("xb") as new:
            new.write(content)
    except FileExistsError:
        return False
    return True
