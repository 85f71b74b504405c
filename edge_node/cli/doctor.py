"""`edge-node doctor`: everything an edge needs, looked at one after the other."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from edge_node.checkup import Finding, Level
from edge_node.checkup.broker import check_broker
from edge_node.checkup.edge import (
    check_configuration,
    check_journal,
    check_models,
    check_state,
    check_stop,
)
from edge_node.checkup.machine import check_clock, check_memory, check_packages, check_python, check_unit
from edge_node.cli.options import config_option, find_config, json_option
from edge_node.config.load import load
from edge_node.errors import EdgeNodeError
from edge_node.runtime.state_lock import in_use

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_STYLES = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "red"}


@click.command()
@config_option
@json_option
def doctor(config: Path | None, *, as_json: bool) -> None:
    """Look at everything an edge needs, and say what is wrong and what to do; ends with 1 if anything fails.

    It may be run beside a running edge: nothing is changed, no device hears anything.

    \b
    Examples:
      edge-node doctor
      edge-node doctor --config /etc/edge-node/edge-node.yaml --json
    """
    found: list[Finding] = []
    for finding in _findings(config):
        found.append(finding)
        if not as_json:
            _print(finding)
    failed = any(finding.level is Level.FAIL for finding in found)
    if as_json:
        click.echo(json.dumps({"ok": not failed, "findings": [asdict(each) for each in found]}, indent=2))
    sys.exit(1 if failed else 0)


def _findings(config: Path | None) -> Iterator[Finding]:
    """Yield what is found, the nearest causes first; without a configuration the rest cannot be looked at."""
    yield check_python()
    yield check_packages()
    try:
        configuration = load(find_config(config))
    except EdgeNodeError as error:
        yield Finding.of("configuration", error)
        yield check_clock(latest_s=0.0)
        yield check_memory(runs=False)
        yield check_unit()
        return
    state = configuration.state
    yield check_configuration(configuration)
    yield from check_models(configuration)
    yield check_state(state)
    journal, latest_s = check_journal(state)
    yield journal
    yield check_stop(state)
    yield from check_broker(configuration.runtime)
    yield check_clock(latest_s=latest_s)
    yield check_memory(runs=in_use(state))
    yield check_unit()


def _print(finding: Finding) -> None:
    mark = click.style(f"{finding.level.value:4}", fg=_STYLES[finding.level])
    click.echo(f"{mark}  {finding.name}: {finding.text}")
    if finding.hint and finding.level is not Level.OK:
        click.echo(f"      → {finding.hint}")
