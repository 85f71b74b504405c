"""From an empty folder to an answer, as the README tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_node.config.load import load
from edge_node.demo.site import Observer
from tests.brokers import mosquitto
from tests.integration.edges import QUESTION, Edge, edge_node

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.broker, pytest.mark.models]


def test_a_fresh_folder_checks_runs_and_answers(tmp_path: Path, home: Path) -> None:
    folder = tmp_path / "plant"
    assert edge_node("init", str(folder), home=home).returncode == 0
    checked = edge_node("check", str(folder), home=home)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "node pump-guard" in checked.stdout

    with mosquitto(tmp_path / "broker") as broker:
        file = folder / "edge-node.yaml"
        text = file.read_text(encoding="utf-8")
        assert text.count("port: 1883 ") == 1
        file.write_text(text.replace("port: 1883 ", f"port: {broker.port} "), encoding="utf-8")
        edge = Edge(file, home=home, name=load(file).runtime.edge, port=broker.port)
        try:
            with Observer(edge.broker) as observer:
                edge.start(observer)
            asked = edge_node("ask", QUESTION, home=home, folder=folder)
        finally:
            edge.close()
    assert asked.returncode == 0, asked.stderr
    assert asked.stderr.startswith("why: edge-node explain ")
    assert "2,000 operating hours" in asked.stdout
