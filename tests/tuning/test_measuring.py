"""When an adapter takes the place of what runs, and what is written down of it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from edge_node.evaluation.commands import CommandFigures
from edge_node.tuning.measuring import verdict
from edge_node.tuning.report import Report

if TYPE_CHECKING:
    from pathlib import Path

FIGURES = CommandFigures(
    cases=100,
    exact=0.8,
    exact_spoken=0.8,
    name=0.8,
    false_actions=0.01,
    missed=0.1,
    asked=0.1,
    tiers={},
    ms_p50=1.0,
    ms_p95=2.0,
)


@pytest.mark.parametrize(
    ("exact", "false_actions", "better"),
    [(0.81, 0.01, True), (0.8, 0.01, False), (0.79, 0.0, False), (0.95, 0.02, False), (0.9, 0.0, True)],
)
def test_an_adapter_must_get_more_right_and_do_no_more_wrong(
    exact: float,
    false_actions: float,
    better: bool,  # noqa: FBT001 - a parameter of the case
) -> None:
    tuned = replace(FIGURES, exact=exact, false_actions=false_actions)
    judged = verdict(FIGURES, tuned)
    assert judged.better is better
    assert "%" in judged.reason


def test_a_report_is_kept_as_json_and_as_text(tmp_path: Path) -> None:
    report = Report(
        node="pump-guard",
        installed="",
        reason="80.0% of the cases come out right, 80.0% with what runs now",
        base={"model.gguf": "ab12"},
        recipe={"rank": 8},
        training={"steps": 3},
        now=FIGURES.as_dict(),
        tuned=FIGURES.as_dict(),
    )
    report.save(tmp_path)
    assert json.loads((tmp_path / "report.json").read_text())["tuned"]["exact"] == 0.8
    text = (tmp_path / "report.txt").read_text()
    assert "installed: no" in text
    assert "80.0%" in text
    assert "model.gguf sha256 ab12" in text
