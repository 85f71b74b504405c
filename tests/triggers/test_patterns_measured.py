"""How well lines of real logs are told apart, against templates that people wrote down for them.

Reads the logs where they lie and skips where they do not. `pytest -s` shows the figures.
"""

from __future__ import annotations

import csv
import time
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

from edge_node.triggers.patterns import Patterns
from edge_node.triggers.series import Budget

if TYPE_CHECKING:
    from pathlib import Path

LEARNT = 500
"""Lines of a log that are only learnt from, of 2,000."""


def rows(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / "logs" / "loghub" / name / f"{name}_2k.log_structured.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def found(lines: list[str]) -> tuple[list[int], list[bool], float]:
    """Return the pattern of each line, whether it was new, and lines a second."""
    patterns, ids, fresh = Patterns(3600.0, Budget(1000)), [], []
    began = time.perf_counter()
    for place, line in enumerate(lines):
        patterns.see(line, float(place))
        ids.append(patterns.last.id if patterns.last else 0)
        fresh.append(patterns.fresh)
    return ids, fresh, len(lines) / (time.perf_counter() - began)


def grouping_accuracy(ids: list[int], truth: list[str]) -> float:
    """Return the share of lines whose pattern holds exactly the lines of their template.

    Source: J. Zhu et al., "Tools and Benchmarks for Automated Log Parsing", ICSE-SEIP 2019.
    """
    of_pattern, of_template = defaultdict(set), defaultdict(set)
    for place, (number, template) in enumerate(zip(ids, truth, strict=True)):
        of_pattern[number].add(place)
        of_template[template].add(place)
    right = sum(
        of_pattern[number] == of_template[template] for number, template in zip(ids, truth, strict=True)
    )
    return right / len(ids)


@pytest.mark.parametrize(("name", "least"), [("BGL", 0.95), ("OpenSSH", 0.9), ("Linux", 0.65)])
def test_lines_are_grouped_as_people_group_them(shared_eval: Path, name: str, least: float) -> None:
    lines = rows(shared_eval, name)
    ids, _, lines_per_s = found([row["Content"] for row in lines])

    accuracy = grouping_accuracy(ids, [row["EventId"] for row in lines])

    templates = len({row["EventId"] for row in lines})
    figures = f"{accuracy:.3f} of lines grouped rightly, {len(set(ids))} patterns for {templates} templates"
    print(f"\n{name}: {figures}, {lines_per_s:,.0f} lines/s")  # noqa: T201 - what it is measured for
    assert accuracy >= least


def test_what_was_never_seen_is_told_and_the_alerts_of_a_cluster_are_among_it(shared_eval: Path) -> None:
    lines = rows(shared_eval, "BGL")
    _, fresh, _ = found([row["Content"] for row in lines])
    seen: set[str] = set()
    firsts, alerts, told, told_alerts, known = 0, 0, 0, 0, 0
    for place, row in enumerate(lines):
        first = row["EventId"] not in seen
        seen.add(row["EventId"])
        if place < LEARNT:
            continue
        alert = row["Label"] != "-"
        firsts, alerts = firsts + first, alerts + (first and alert)
        told, told_alerts = told + (first and fresh[place]), told_alerts + (first and alert and fresh[place])
        known += fresh[place] and not first

    figures = f"{told} of {firsts} new templates told, {told_alerts} of {alerts} of those that are alerts"
    print(f"\nBGL behind {LEARNT} lines: {figures}, {known} lines of known ones too")  # noqa: T201 - as above
    assert told >= 0.85 * firsts
    assert told_alerts >= 0.8 * alerts
    assert known <= 0.01 * len(lines)
