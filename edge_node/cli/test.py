"""`edge-node test`: the scenarios of nodes, performed without a broker."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_node.cli.options import config_option, find_config, json_option
from edge_node.config.load import NODE_FILE, RUNTIME_FILE, load, load_node
from edge_node.config.loaded import Configuration
from edge_node.config.models import LogConfig, RuntimeConfig
from edge_node.config.scenario_check import SCENARIO_FILE, load_scenarios
from edge_node.config.wording import did_you_mean
from edge_node.errors import ConfigurationInvalid, Problem
from edge_node.observe.logs import configure
from edge_node.observe.progress import LoggedProgress
from edge_node.rehearsal import Props
from edge_node.rehearsal.trial import Finding, Trials, summary

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from edge_node.config.loaded import Node
    from edge_node.config.scenario_check import Scenarios
    from edge_node.rehearsal.trial import Trial

_EDGE = "rehearsal"
_FAILED = 1
_MARKS = {Finding.PASSED: "ok  ", Finding.FAILED: "FAIL", Finding.SKIPPED: "skip"}


@dataclass(slots=True)
class _Told:
    """What was told so far.

    Attributes:
        trials: Scenarios that were performed.
        without: Nodes that have no scenarios.
    """

    trials: list[Trial] = field(default_factory=list)
    without: list[Node] = field(default_factory=list)

    def count(self, finding: Finding) -> int:
        return sum(trial.finding == finding for trial in self.trials)


@click.command()
@click.argument("node", required=False)
@config_option
@json_option
@click.option("--require-models", is_flag=True, help="Fail where a model is missing, instead of skipping.")
def test(node: str | None, *, config: Path | None, as_json: bool, require_models: bool) -> None:
    """Perform the scenarios of NODE, or of all nodes; ends with 1 if one fails, with 78 for a bad file.

    NODE is the name of a node of the runtime file, or a folder with a node.yaml. What is in its
    scenarios.yaml is performed on a clock of its own, without a broker: what devices report, what people
    say, what must come of it.

    \b
    Examples:
      edge-node test
      edge-node test pump-guard
      edge-node test nodes/pump-guard --json
    """
    began_s = time.perf_counter()
    # What a scenario provokes is told as its outcome; a warning beside it would look like trouble.
    configure(LogConfig(level="error", format="console"))
    configuration, nodes = _find(node, config)
    found = [(each, load_scenarios(each)) for each in nodes]
    told = _Told(without=[each for each, scenarios in found if scenarios is None])
    pairs = [(each, scenarios) for each, scenarios in found if scenarios is not None]
    for trial in _perform(configuration, pairs, require_models=require_models):
        told.trials.append(trial)
        if not as_json:
            _print_trial(trial)
    elapsed_s = time.perf_counter() - began_s
    if as_json:
        _print_json(told, elapsed_s=elapsed_s)
    else:
        _print_sum(told, elapsed_s=elapsed_s)
    if told.count(Finding.FAILED):
        sys.exit(_FAILED)


def _find(named: str | None, config: Path | None) -> tuple[Configuration, Sequence[Node]]:
    """Return the settings to run with, and the nodes that are meant.

    Raises:
        ConfigurationInvalid: A file has problems, or there is no such node.
        ConfigurationMissing: A name was given or nothing, and no runtime file lies in the usual places.
    """
    place = Path(named) if named is not None else Path()
    if (place / NODE_FILE).is_file() or (place.name == NODE_FILE and place.is_file()):
        node = load_node(place)
        runtime = load(config).runtime if config else RuntimeConfig(edge_node=1, edge=_EDGE)
        return Configuration(runtime, (node,), node.folder / NODE_FILE), (node,)
    if named is not None and (place / RUNTIME_FILE).is_file():
        configuration = load(place)
        return configuration, configuration.nodes
    configuration = load(find_config(config))
    if named is None:
        return configuration, configuration.nodes
    chosen = [each for each in configuration.nodes if each.name == named]
    if not chosen:
        names = [each.name for each in configuration.nodes]
        expected = f"a folder with a {NODE_FILE}, or one of the nodes {', '.join(names) or '(none)'}"
        hint = did_you_mean(named, names)
        raise ConfigurationInvalid([Problem(str(configuration.file), 0, "", expected, repr(named), hint)])
    return configuration, chosen


def _perform(
    configuration: Configuration, pairs: Iterable[tuple[Node, Scenarios]], *, require_models: bool
) -> Iterator[Trial]:
    for node, scenarios in pairs:
        own = replace(configuration, nodes=(node,))
        props = Props(own, progress=LoggedProgress())
        trials = Trials(own, node=node, scenarios=scenarios, props=props, require_models=require_models)
        try:
            yield from trials.run()
        finally:
            props.close()


def _print_trial(trial: Trial) -> None:
    click.echo(f"{_MARKS[trial.finding]}  {trial.node}: {trial.name}  {trial.elapsed_ms:.0f} ms")
    if trial.reason:
        click.echo(f"      {trial.reason}")
    for difference in trial.differences:
        click.echo(f"      expected  {difference.expected}")
        for number, line in enumerate(difference.came or ("nothing of the kind",)):
            click.echo(f"      {'came' if number == 0 else '    '}      {line}")


def _print_sum(told: _Told, *, elapsed_s: float) -> None:
    for node in told.without:
        click.echo(f"----  {node.name}: no {SCENARIO_FILE} in {node.folder}")
    counts = ", ".join(f"{told.count(finding)} {finding.value}" for finding in Finding)
    click.echo(f"{counts} in {elapsed_s:.1f} s")


def _print_json(told: _Told, *, elapsed_s: float) -> None:
    by_node: dict[str, list[Any]] = {node.name: [] for node in told.without}
    for trial in told.trials:
        by_node.setdefault(trial.node, []).append(summary(trial))
    ok = not told.count(Finding.FAILED)
    body = {"ok": ok, "elapsed_s": round(elapsed_s, 3), "nodes": by_node}
    click.echo(json.dumps(body, indent=2, ensure_ascii=False))
