"""`edge-node replay`: recorded messages played through a configuration, without a broker."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_node.cli.options import config_option, find_config, json_option
from edge_node.config.load import load
from edge_node.journal.archive import summary
from edge_node.journal.recording import read_recording
from edge_node.observe.explanation import listed
from edge_node.observe.progress import LoggedProgress
from edge_node.rehearsal import Props
from edge_node.rehearsal.replay import Replay

if TYPE_CHECKING:
    from collections.abc import Iterator


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@config_option
@json_option
def replay(file: Path, *, config: Path | None, as_json: bool) -> None:
    """Play the messages in FILE through the stages of the service, and print what each led to.

    Time is the recording's, nothing is sent to anybody, and the edge's own journal is not touched. FILE has
    one JSON object a line: t, topic, payload, and where they matter qos, retained and correlation. `edge-node
    explain ID --export FILE` writes one of what really happened.

    \b
    Examples:
      edge-node replay incident.jsonl
      edge-node replay incident.jsonl --config changed/edge-node.yaml --json
    """
    configuration = load(find_config(config))
    with closing(Props(configuration, progress=LoggedProgress())) as props:
        played = Replay(configuration, props=props)
        for happening in played.run(read_recording(file)):
            lines = [json.dumps(happening, ensure_ascii=False)] if as_json else _lines(happening)
            for line in lines:
                click.echo(line)
    heard = f"{played.played} messages played"
    unheard = f", {played.unheard} on topics that nobody here listens to" if played.unheard else ""
    click.echo(heard + unheard, err=True)


def _lines(happening: dict[str, Any]) -> Iterator[str]:
    at = f"{happening['at_s']:9.1f}s  "
    match happening["happening"]:
        case "decision":
            yield at + listed(summary(happening, at=happening["request"]["created_at"], state=""))
            verdict = happening["verdict"] or {}
            for rule in verdict.get("rules", ()):
                if not rule["passed"]:
                    yield f"{'':{len(at)}}{rule['rule']}: {rule['reason']}"
        case "command":
            detail = f": {happening['detail']}" if happening["detail"] else ""
            yield f"{at}{happening['id']} {happening['name']} {happening['state'].replace('_', ' ')}{detail}"
        case "leaves" if happening["to_device"]:
            yield f"{at}→ {happening['topic']} {happening['payload']}"
        case "leaves" if happening["type"] in {"answer", "nothing"}:
            yield f"{at}→ {happening['topic']} {happening['data']['text']}"
        case "operation":
            yield f"{at}{happening['operation']}: {happening['text']}"
        case "refused":
            yield f"{at}refused {happening['topic']}: {happening['error']['message']}"
