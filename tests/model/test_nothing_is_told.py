"""ONNX Runtime's wheels hold a client that tells their maker of what is run; here it never starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import onnx
from onnx import TensorProto, helper

ROOT = Path(__file__).parents[2]
OPEN = "import sys; from pathlib import Path; from edge_node.model.session import open_session;"
RUN = "open_session(Path(sys.argv[1]), threads=1)"


def test_a_session_leaves_nothing_in_the_home_of_its_user(tmp_path: Path) -> None:
    shape = [TensorProto.FLOAT, [1]]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "same",
        [helper.make_tensor_value_info("x", *shape)],
        [helper.make_tensor_value_info("y", *shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "same.onnx")
    home = tmp_path / "home"
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environment = {**kept, "HOME": str(home), "XDG_CACHE_HOME": str(home), "PYTHONPATH": str(ROOT)}
    subprocess.run(
        [sys.executable, "-c", f"{OPEN} {RUN}", str(tmp_path / "same.onnx")],
        env=environment,
        check=True,
        timeout=60,
    )
    assert list(home.rglob("*")) == []
