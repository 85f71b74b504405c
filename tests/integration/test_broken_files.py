"""Files that cannot be used: configuration, manuals and models. Each is named, and what can go on goes on."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from pypdf import PdfWriter

from edge_node.demo.site import Observer
from edge_node.paths import models_folder
from tests.brokers import mosquitto
from tests.integration.edges import (
    QUESTION,
    Edge,
    copy_nodes,
    last_reply,
    link_models,
    small_nodes,
)

if TYPE_CHECKING:
    from pathlib import Path

LANGUAGE = "smollm2-135m-instruct"
WEIGHTS = f"{LANGUAGE}/onnx/model.onnx.data"


def test_a_mistake_in_a_file_ends_the_service_with_78_and_its_place(tmp_path: Path) -> None:
    nodes = small_nodes(tmp_path / "nodes")
    node_file = nodes / "pump-guard" / "node.yaml"
    text = node_file.read_text(encoding="utf-8").replace("stale: 30s", "stall: 30s")
    node_file.write_text(text, encoding="utf-8")
    line = text.splitlines().index(next(each for each in text.splitlines() if each.startswith("stall"))) + 1
    edge = Edge.make(tmp_path / "edge", port=1883, home=tmp_path / "home", nodes=nodes)
    edge.launch()
    assert edge.wait() == 78
    assert [each for each in edge.lines if f"{node_file}:{line}:" in each and "stall" in each]


def test_a_model_that_is_missing_ends_the_service_and_tells_how_to_get_it(tmp_path: Path) -> None:
    edge = Edge.make(
        tmp_path / "edge", port=1883, home=tmp_path / "home", nodes=small_nodes(tmp_path / "nodes")
    )
    edge.launch()
    assert edge.wait() == 1
    assert edge.lines[-1].startswith(f"edge-node: model {LANGUAGE}: not on this machine yet")
    assert f"edge-node model pull {LANGUAGE}" in edge.lines[-1]


@pytest.mark.broker
@pytest.mark.models
def test_damaged_files_are_named_and_mended_or_passed_over_and_the_service_answers(tmp_path: Path) -> None:
    home, nodes = tmp_path / "home", _damage_manuals(copy_nodes(tmp_path / "nodes", "pump-guard"))
    weights = _damage_weights(home)
    with mosquitto(tmp_path / "broker") as broker:
        edge = Edge.make(tmp_path / "edge", port=broker.port, home=home, nodes=nodes)
        try:
            with Observer(edge.broker) as observer:
                edge.start(observer)
            with edge.client("ada") as client:
                reply = last_reply(client, QUESTION)
        finally:
            edge.close()
    assert "2,000 operating hours" in reply.text
    assert str(weights) in edge.first("model_damaged")["reason"]
    assert any(line["event"] == "work_ends" and LANGUAGE in line["work"] for line in edge.log)
    warned = [line for line in edge.log if line["level"] == "warning"]
    for name in ("binary.md", "empty.md", "half.pdf"):
        assert any(name in str(line) for line in warned), name
    assert edge.first("knowledge_built")["unreadable"] == 3


def _damage_weights(home: Path) -> Path:
    """Give a home with all models, one bit of the language model's weights being another; return the file."""
    link_models(home, leave_out=[WEIGHTS])
    weights = home / "models" / WEIGHTS
    shutil.copyfile(models_folder() / WEIGHTS, weights)
    with weights.open("r+b") as file:
        file.seek(weights.stat().st_size // 2)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))
    return weights


def _damage_manuals(nodes: Path) -> Path:
    """Put three files that cannot be read next to the good ones of pump-guard."""
    node = nodes / "pump-guard"
    text = (node / "node.yaml").read_text(encoding="utf-8")
    both = text.replace("  - manual/**/*.md\n", "  - manual/**/*.md\n  - manual/**/*.pdf\n")
    assert both != text
    (node / "node.yaml").write_text(both, encoding="utf-8")
    manual = node / "manual"
    (manual / "operation.md").unlink()
    (manual / "binary.md").write_bytes(bytes(range(256)) * 16)
    (manual / "empty.md").touch()
    writer = PdfWriter()
    for _ in range(20):
        writer.add_blank_page(200, 200)
    writer.write(manual / "whole.pdf")
    whole = (manual / "whole.pdf").read_bytes()
    (manual / "whole.pdf").unlink()
    (manual / "half.pdf").write_bytes(whole[: len(whole) // 2])
    return nodes
