"""`edge-node check`: every problem of a configuration, with file and line."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_node.cli.options import json_option
from edge_node.config.larger_model import leaves_the_network
from edge_node.config.load import NODE_FILE, RUNTIME_FILE, load, load_node
from edge_node.config.scenario_check import load_scenarios
from edge_node.config.schema import schemas
from edge_node.errors import ConfigurationInvalid
from edge_node.runtime.reading import check_keys, check_templates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_node.config.loaded import Configuration, Node
    from edge_node.errors import Problem


@click.command()
@click.argument("path", type=click.Path(path_type=Path), default=Path())
@json_option
@click.option(
    "--write-schemas",
    "schema_folder",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Write the JSON Schemas of all files into this folder, and check nothing.",
)
def check(path: Path, *, as_json: bool, schema_folder: Path | None) -> None:
    """Print every problem of PATH, with file and line; ends with 78 if there is one.

    PATH is a runtime file or its folder, a node file or its folder. Default: this folder.

    \b
    Examples:
      edge-node check plant
      edge-node check nodes/pump-guard
      edge-node check --json plant/edge-node.yaml
    """
    if schema_folder is not None:
        _write_schemas(schema_folder)
        return
    try:
        configuration, nodes = _read(path)
        check_templates(nodes)
        _check_scenarios(nodes)
        if configuration is not None:
            check_keys(configuration)
    except ConfigurationInvalid as error:
        _print_problems(error.problems, as_json=as_json)
        sys.exit(ConfigurationInvalid.exit_status)
    _print_found(configuration, nodes, as_json=as_json)


def _write_schemas(folder: Path) -> None:
    for name, text in schemas().items():
        (folder / name).write_text(text, encoding="utf-8")
        click.echo(folder / name)


def _read(path: Path) -> tuple[Configuration | None, tuple[Node, ...]]:
    """Return what lies at a path: a whole configuration, or one node."""
    is_node_folder = (path / NODE_FILE).is_file() and not (path / RUNTIME_FILE).is_file()
    if path.name == NODE_FILE or is_node_folder:
        return None, (load_node(path),)
    configuration = load(path)
    return configuration, configuration.nodes


def _check_scenarios(nodes: Sequence[Node]) -> None:
    """Let the scenarios beside the nodes be read.

    Raises:
        ConfigurationInvalid: It holds every problem of all scenario files.
    """
    problems: list[Problem] = []
    for node in nodes:
        try:
            load_scenarios(node)
        except ConfigurationInvalid as error:
            problems += error.problems
    if problems:
        raise ConfigurationInvalid(problems)


def _print_problems(problems: Sequence[Problem], *, as_json: bool) -> None:
    if as_json:
        _print_json({"ok": False, "problems": [asdict(problem) for problem in problems]})
        return
    for problem in problems:
        click.echo(problem)
    click.echo(f"{len(problems)} problem{'s' if len(problems) > 1 else ''}", err=True)


def _print_found(configuration: Configuration | None, nodes: Sequence[Node], *, as_json: bool) -> None:
    found = [_found(node) for node in nodes]
    if as_json:
        edge = configuration.runtime.edge if configuration else None
        _print_json({"ok": True, "edge": edge, "nodes": found})
        return
    if configuration:
        if host := leaves_the_network(configuration.runtime.larger_model):
            warning = (
                f"larger_model.url: {host} is not seen to be on your own network; what people say leaves it"
            )
            click.echo(f"{configuration.file}: warning: {warning}", err=True)
        click.echo(f"{configuration.file}: edge {configuration.runtime.edge}, {_count(len(nodes), 'node')}")
    for one in found:
        counts = ", ".join(
            _count(one[key], word)
            for key, word in (("commands", "command"), ("triggers", "trigger"), ("manuals", "manual file"))
        )
        click.echo(f"{one['file']}: node {one['name']}, {counts}")


def _found(node: Node) -> dict[str, Any]:
    manuals = {file for pattern in node.spec.manuals for file in node.folder.glob(pattern) if file.is_file()}
    return {
        "file": str(node.folder / NODE_FILE),
        "name": node.name,
        "commands": len(node.spec.commands),
        "triggers": len(node.spec.triggers),
        "manuals": len(manuals),
    }


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _print_json(value: dict[str, Any]) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))
