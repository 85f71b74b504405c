"""Which adapter the commands of a node run with: its own, the one tuned for it, or the one that ships."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_node.config.loaded import Node
from edge_node.config.models import NodeConfig
from edge_node.errors import ModelCorrupt
from edge_node.model import shipped
from edge_node.model.session import read_adapter, write_adapter
from edge_node.runtime import adapters
from edge_node.runtime.adapters import TUNED, adapters_of

if TYPE_CHECKING:
    from pathlib import Path

BASE, OTHER = 4711, 4712
COMMAND = {"description": "Stop.", "publish": {"topic": "x", "payload": {}}}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a folder of nodes, beside an adapter that ships for the base."""
    ships = tmp_path / "ships"
    ships.mkdir()
    write_adapter(ships / shipped.FILE, parameters={}, base=BASE)
    monkeypatch.setattr(adapters, "shipped_adapter", lambda base: shipped.shipped_adapter(base, folder=ships))
    return tmp_path


def node(folder: Path, name: str, *, adapter: str = "", commands: bool = True) -> Node:
    (folder / name).mkdir()
    told = {"edge_node": 1, "name": name, "model": {"adapter": adapter}}
    told["commands"] = {"stop": COMMAND} if commands else {}
    return Node(NodeConfig.model_validate(told), folder / name)


def test_a_node_without_an_adapter_gets_the_one_that_ships(folder: Path) -> None:
    found = adapters_of([node(folder, "plain")], base=BASE, shipped=True)
    assert found.files[found.of["plain"]] == folder / "ships" / shipped.FILE
    assert found.usual == found.of["plain"]


def test_the_one_that_ships_can_be_turned_off_and_is_for_its_own_base_alone(folder: Path) -> None:
    plain = node(folder, "plain")
    for base, wanted in ((BASE, False), (OTHER, True)):
        found = adapters_of([plain], base=base, shipped=wanted)
        assert (found.files, found.of, found.usual) == ({}, {}, "")


def test_a_tuned_adapter_beside_the_node_counts_and_a_named_one_counts_more(folder: Path) -> None:
    tuned, named = node(folder, "tuned"), node(folder, "named", adapter="mine.onnx_adapter")
    for each in (tuned, named):
        write_adapter(each.folder / TUNED, parameters={}, base=BASE)
    found = adapters_of([tuned, named], base=BASE, shipped=True)
    assert found.files[found.of["tuned"]] == tuned.folder / TUNED
    assert found.files[found.of["named"]] == named.folder / "mine.onnx_adapter"


def test_an_adapter_tuned_for_another_base_is_left_out(folder: Path) -> None:
    tuned = node(folder, "tuned")
    write_adapter(tuned.folder / TUNED, parameters={}, base=OTHER)
    found = adapters_of([tuned], base=BASE, shipped=True)
    assert found.of["tuned"] == found.usual


def test_a_broken_tuned_adapter_is_named(folder: Path) -> None:
    tuned = node(folder, "tuned")
    (tuned.folder / TUNED).write_bytes(b"no adapter")
    with pytest.raises(ModelCorrupt, match=r"tuned\.onnx_adapter"):
        adapters_of([tuned], base=BASE, shipped=True)


def test_the_record_of_what_decides_names_each_adapter_with_its_hash(folder: Path) -> None:
    ships = (folder / "ships" / shipped.FILE).read_bytes()
    told = adapters_of([node(folder, "plain")], base=BASE, shipped=True).told()
    assert told == f"adapter that ships sha256 {hashlib.sha256(ships).hexdigest()}"


def test_a_node_without_commands_needs_no_adapter(folder: Path) -> None:
    assert not adapters_of([node(folder, "mute", commands=False)], base=BASE, shipped=True).of


def test_an_adapter_in_16_bits_is_half_as_large_and_runs_in_32(tmp_path: Path) -> None:
    matrix = np.random.default_rng(1).normal(0, 0.1, (64, 64)).astype(np.float32)
    sizes = []
    for half in (False, True):
        path = tmp_path / f"{half}.onnx_adapter"
        write_adapter(path, parameters={"a.lora_a": matrix}, base=BASE, half=half)
        read = read_adapter(path).parameters["a.lora_a"]
        assert read.data_type() == "tensor(float)"
        assert np.allclose(read.numpy(), matrix, atol=1e-3)
        sizes.append(path.stat().st_size)
    assert sizes[1] < 0.6 * sizes[0]
