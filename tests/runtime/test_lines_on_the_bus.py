"""Lines of a log answer questions, and a person has the index brought up to date, over a real broker."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from edge_node.cli import edge_node
from edge_node.messages import Outgoing
from tests.running_edge import ANSWER_S, MANUAL, PRESS_NODE, running_edge

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.broker, pytest.mark.models]

NODE = {**PRESS_NODE, "knowledge": ["manual/*.md", {"log": "shop/+/log", "keep": "7d"}]}


def test_a_question_is_answered_from_the_log_with_its_place(tmp_path: Path) -> None:
    with running_edge(tmp_path, operators={"reload": ["ada"]}) as edge:
        (edge.folder / "nodes" / "press-shop" / "node.yaml").write_text(json.dumps(NODE))
        edge.start()
        line = b"The relief valve of press-1 opened at 180 bar."
        edge.publish(Outgoing("shop/press-1/log", line))
        reply = edge.client("ada").operate("reindex", timeout_s=ANSWER_S)
        while reply.data["files"] < 2:  # the line comes on another connection, maybe after the wish
            reply = edge.client("ada").operate("reindex", timeout_s=ANSWER_S)

        told = edge.last("At how many bar did the relief valve of press-1 open?")

        quoted = told["quotations"][0]
        assert quoted["file"].startswith("mqtt:shop/press-1/log/")
        assert "180 bar" in told["text"]
        assert edge.client("bob").operate("reindex", timeout_s=ANSWER_S).kind == "error"


def test_a_manual_that_changed_is_found_after_a_reindex(tmp_path: Path) -> None:
    with running_edge(tmp_path, operators={"reload": ["ada"]}) as edge:
        edge.start()
        manual = edge.folder / "nodes" / "press-shop" / "manual" / "press.md"
        manual.write_text(MANUAL + "\nThe die is warmed to 140 degrees before the first stroke.\n")

        done = CliRunner().invoke(edge_node, ["reindex", "--config", str(edge.config), "--user", "ada"])

        assert done.exit_code == 0, done.output
        assert "1 files with" in done.output
        assert "140 degrees" in edge.last("How warm must the die be before the first stroke?")["text"]
