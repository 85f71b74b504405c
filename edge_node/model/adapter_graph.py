"""A decoder's graph with room for an adapter: each product gets a side way of low rank.

Knows which nodes multiply by weights; knows nothing of files of adapters or of how a graph is run.

The two matrices of each side way are inputs that stay empty, rank 0, where nothing is bound to them. That
costs a few percent of each run, so the graph without them is kept beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_node.model.manifest import DOWN, UP
from edge_node.model.onnx_file import Kind, node, value

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from onnx import NodeProto, ValueInfoProto

    from edge_node.model.onnx_file import Weights


@dataclass(frozen=True, slots=True)
class Linear:
    """A product with weights.

    Attributes:
        name: What it is called, and its output.
        source: What is multiplied.
        rows: Outputs.
        columns: Inputs.
    """

    name: str
    source: str
    rows: int
    columns: int


def with_side_ways(nodes: Sequence[NodeProto], linears: Sequence[Linear]) -> list[NodeProto]:
    """Return nodes that add to each product what an adapter makes of its input; the given ones stay."""
    by_name = {linear.name: linear for linear in linears}
    found: list[NodeProto] = []
    for each in nodes:
        linear = by_name.get(each.output[0])
        if linear is None:
            found.append(each)
            continue
        alone = type(each)()
        alone.CopyFrom(each)
        alone.output[0] = f"{linear.name}.alone"
        alone.name = f"{alone.output[0]}/{each.op_type}"
        found += [alone, *_side_way(linear, alone=alone.output[0])]
    return found


def side_inputs(linears: Iterable[Linear], *, weights: Weights) -> list[ValueInfoProto]:
    """Return the inputs of the side ways, and let them be empty where nothing is bound."""
    inputs = []
    for linear in linears:
        down, up = linear.name + DOWN, linear.name + UP
        weights.small(down, np.zeros((linear.columns, 0), np.float32))
        weights.small(up, np.zeros((0, linear.rows), np.float32))
        inputs.append(value(down, Kind.FLOAT, [linear.columns, f"{linear.name}.rank"]))
        inputs.append(value(up, Kind.FLOAT, [f"{linear.name}.rank", linear.rows]))
    return inputs


def _side_way(linear: Linear, *, alone: str) -> list[NodeProto]:
    name = linear.name
    return [
        node("MatMul", [linear.source, name + DOWN], [f"{name}.low"]),
        node("MatMul", [f"{name}.low", name + UP], [f"{name}.aside"]),
        node("Add", [alone, f"{name}.aside"], [name]),
    ]
